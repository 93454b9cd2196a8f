"""Folds, cross-validation, and fits of many settings that share passes."""
