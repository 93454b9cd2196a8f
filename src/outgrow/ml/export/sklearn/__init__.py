"""Fitted models as fitted objects of scikit-learn, made from what it makes public."""
