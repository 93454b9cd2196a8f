"""PySpark's daemon, which has imported what the tasks need before it forks them.

Without it each process of a task imports it anew, which takes longer than most fits of the tests.
"""

from __future__ import annotations

import gc
import sys

import pyspark.worker  # noqa: F401  what the daemon would import in each process
from pyspark.daemon import manager

import outgrow as og
import outgrow.engine.spark.task
import outgrow.ml.trees.forest_kernels
import outgrow.ml.trees.kernels
from outgrow.ml.catalogue import ESTIMATORS

for name in ESTIMATORS:
    getattr(og, name)

# PySpark is installed, too; each task lets Python forget what is in its archives, which is then read anew
sys.path[:] = [path for path in sys.path if not path.endswith(".zip")]
sys.path_importer_cache.clear()
gc.freeze()  # each task ends with a collection of garbage, of which there is none among all these modules

if __name__ == "__main__":
    manager()
