"""Every model, beside the best single-machine library of its kind and MLlib on Spark."""
