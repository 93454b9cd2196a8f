"""Transformers that scale numbers and encode categories."""
