"""Estimators around estimators: calibration, thresholds, several classes from two, ensembles, chains."""
