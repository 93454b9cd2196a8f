"""Transformers that prepare columns."""
