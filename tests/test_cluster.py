"""A standalone cluster from outside: what `doctor` says of it, and of executors that come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from outgrow.testing.clusters import Standalone

HERE = Path(__file__).parent


def run(code: str, *arguments: str, **environment: str) -> str:
    """What a driver in a process of its own prints."""
    full = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(HERE), **environment}
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=HERE,
        env=full,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_doctor_looks_at_the_executors(two_workers: Standalone) -> None:
    found = run(
        "import sys; from outgrow.cli import main; sys.argv = ['outgrow', *sys.argv[1:]]; main()",
        "doctor",
        "--engine",
        two_workers.url,
        COLUMNS="200",
    )
    for line in (
        "executors",
        "2 tasks started together",
        "Python on executors",
        "outgrow on executors",
        "all tasks reached each other",
    ):
        assert line in found, found


def test_dynamic_allocation_is_named(two_workers: Standalone) -> None:
    code = """
import sys
import outgrow as og
import pyarrow as pa
from sessions import classic_session
session = classic_session(sys.argv[1], **{"spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true", "spark.executor.memory": "512m"})
data = og.dataset(pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0]}), engine=og.Spark(session, ranks=1))
try:
    og.LinearRegression().fit(data, "y")
except og.errors.EngineError as error:
    print(error)
"""
    assert "spark.dynamicAllocation.enabled=false" in run(code, two_workers.url)
