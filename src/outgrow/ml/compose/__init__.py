"""Transformers side by side."""
