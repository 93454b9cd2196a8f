"""Discriminant analysis: classes as normal distributions."""
