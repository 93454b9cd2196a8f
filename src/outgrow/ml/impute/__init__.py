"""Transformers that fill in missing values."""
