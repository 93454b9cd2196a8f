"""Every transformer and statistic, beside scikit-learn here and MLlib on Spark."""
