"""From rows to predictions and back: which version of which data made which model, and what it answered."""
