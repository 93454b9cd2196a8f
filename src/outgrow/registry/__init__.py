"""Versions of models, and who follows which of them."""
