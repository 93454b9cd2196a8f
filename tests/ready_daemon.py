"""PySpark's daemon, which has imported what the tasks need before it forks them.

Without it each process of a task imports it anew, which takes longer than most fits of the tests.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module


def forget_archives() -> None:
    """In the archives of PySpark nothing is compiled, and each task reads them anew; it is installed, too."""
    sys.path[:] = [path for path in sys.path if not path.endswith(".zip")]
    sys.path_importer_cache.clear()


def import_all() -> None:
    """What the daemon, or a task, would import in each process."""
    import_module("pyspark.worker")
    for name in ("engine.spark.task", "ml.trees.kernels", "ml.trees.forest_kernels"):
        import_module(f"outgrow.{name}")
    for name in import_module("outgrow.catalogue").ESTIMATORS:
        getattr(import_module("outgrow"), name)


if __name__ == "__main__":
    forget_archives()
    import_all()
    gc.freeze()  # each task ends with a collection of garbage, of which there is none among all these modules
    import_module("pyspark.daemon").manager()
