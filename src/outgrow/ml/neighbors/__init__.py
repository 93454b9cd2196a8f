"""Estimators that look at the nearest rows."""
