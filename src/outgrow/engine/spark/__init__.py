"""Apache Spark (Classic, Connect) through the public DataFrame API; the only folder that imports pyspark."""
