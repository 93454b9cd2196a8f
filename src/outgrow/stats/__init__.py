"""Mergeable states: what one pass folds batches into."""
