"""Deep learning: rows as batches of tensors in an exact order, and what is trained on them."""
