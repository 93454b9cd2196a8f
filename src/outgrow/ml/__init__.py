"""Estimators: one file each. What they share is in `base`, `inputs`, `columns` and `parameters`."""
