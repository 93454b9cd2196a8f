"""Trees, grown by XGBoost."""
