"""Choosing columns by what a model that learned from them makes of each."""
