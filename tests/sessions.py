"""A Spark session in this process, for tests and for the processes they start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from outgrow.testing.clusters import PLAIN

DAEMON = {
    "spark.python.daemon.module": "ready_daemon",
    "spark.executorEnv.PYTHONPATH": str(Path(__file__).parent),
}
"""The daemon of tests, and where it is found."""


def classic_session(master: str, **confs: str) -> Any:
    """A Classic session."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master)
    java = {"spark.executor.extraJavaOptions": os.environ.get("SPARK_SUBMIT_OPTS", "")}
    for key, value in {**PLAIN, **DAEMON, **java, **confs}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session
