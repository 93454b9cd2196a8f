"""The contract of estimators: their task, their columns, what users hand to them; it knows no estimator."""
