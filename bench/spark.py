"""The one Spark session, and MLlib's way from Parquet to vectors."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from bench.data import FEATURES

CORES = 2
DRIVER_MEMORY = "8g"


@cache
def warm_session() -> Any:
    """A session on two cores that has run a job of its own and one of Python workers."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{CORES}]").config("spark.driver.memory", DRIVER_MEMORY)
    settings = {"ui.enabled": "false", "ui.showConsoleProgress": "false", "driver.host": "127.0.0.1"}
    for key, value in settings.items():
        builder = builder.config(f"spark.{key}", value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    session.range(1000).count()
    _trivial_fit(session)
    return session


def _trivial_fit(session: Any) -> None:
    import outgrow as og

    og.StandardScaler().fit(session.range(1000))


def computed(session: Any, path: Path) -> Any:
    """The rows of a file with a column that is computed, so that its ranks cannot read the file instead."""
    from pyspark.sql import functions

    name = FEATURES[0]
    return session.read.parquet(str(path)).withColumn(name, functions.col(name) * 1.0)


def vectors(session: Any, path: Path, columns: list[str] = FEATURES) -> Any:
    """The columns of a file as MLlib wants them: a column `features` of vectors."""
    return assembled(session.read.parquet(str(path)), columns)


def assembled(frame: Any, columns: list[str] = FEATURES) -> Any:
    """A DataFrame with some of its columns in a column `features` of vectors."""
    from pyspark.ml.feature import VectorAssembler

    return VectorAssembler(inputCols=columns, outputCol="features").transform(frame)


def cached(frame: Any, *columns: str) -> Any:
    """The columns, held in the JVM's memory from the first pass on, as MLlib's guide advises for passes."""
    return frame.select(*columns).cache()
