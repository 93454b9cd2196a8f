"""PySpark's daemon, which has imported what the tasks need before it forks them.

Without it each process of a task imports it anew, which takes longer than most fits of the tests.
"""

from __future__ import annotations

import pyspark.worker  # noqa: F401  what the daemon would import in each process
from pyspark.daemon import manager

import outgrow as og
import outgrow.engine.spark.task
from outgrow.ml.catalogue import ESTIMATORS

for name in ESTIMATORS:
    getattr(og, name)

if __name__ == "__main__":
    manager()
