"""A saved model behind HTTP: rows of many requests meet in small batches, and no JVM is anywhere."""
