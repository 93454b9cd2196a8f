"""Rows in: sources, batches, what is read of them, and how rows are chosen."""
