"""A standalone cluster from outside: what `doctor` says of it, and sessions and executors of many kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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


SESSION = """
import sys
import outgrow as og
from sessions import classic_session
session = classic_session(sys.argv[1], **{"spark.executor.memory": "512m"})
"""
OWN_DAEMON = SESSION.replace('"512m"}', '"512m", "spark.python.daemon.module": "pyspark.daemon"}')
"""With the daemon that users have, which imports little before the processes of tasks do."""


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


def test_executors_of_another_python(tmp_path: Path) -> None:
    """A worker that says it is Python 3.9: PySpark compares before anything else."""
    shim = tmp_path / "sitecustomize.py"
    shim.write_text(
        "import sys\nif 'pyspark.daemon' in getattr(sys, 'orig_argv', []):\n"
        "    class Version(tuple):\n        major, minor = 3, 9\n"
        "    sys.version_info = Version((3, 9, 0, 'final', 0))\n"
    )
    code = (
        OWN_DAEMON
        + """
import pyarrow as pa
data = og.dataset(pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0]}), engine=og.Spark(session))
try:
    og.LinearRegression().fit(data, "y")
except og.errors.EngineError as error:
    print(error)
"""
    )
    found = run(code, "local[2]", PYTHONPATH=f"{tmp_path}{os.pathsep}{HERE}")
    assert "The executors run Python 3.9 and the driver 3.11" in found, found


def test_executors_without_outgrow(tmp_path: Path) -> None:
    """Python workers that cannot import outgrow."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'pyspark.daemon' in getattr(sys, 'orig_argv', []):\n"
        "    sys.modules['outgrow'] = None\n"
    )
    code = (
        OWN_DAEMON
        + """
import pyarrow as pa
data = og.dataset(pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0]}), engine=og.Spark(session))
try:
    og.LinearRegression().fit(data, "y")
except og.errors.EngineError as error:
    print(error)
"""
    )
    found = run(code, "local[2]", PYTHONPATH=f"{tmp_path}{os.pathsep}{HERE}")
    assert "Install outgrow there" in found, found


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


def test_two_fits_at_once_never_meet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rng = np.random.default_rng(0)
    pq.write_table(
        pa.table({"x": rng.normal(size=4000), "y": rng.normal(size=4000)}), path, row_group_size=500
    )
    code = """
import sys, threading
import outgrow as og
from sessions import classic_session
session = classic_session("local[4]")
found = {}
def fit(alpha):
    data = og.read(sys.argv[1], engine=og.Spark(session, ranks=2, ports=(22_000, 22_010)))
    for _ in range(3):
        found.setdefault(alpha, set()).add(float(og.Ridge(alpha=alpha).fit(data, "y").coef_[0]))
threads = [threading.Thread(target=fit, args=(alpha,)) for alpha in (0.1, 1e5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
here = og.read(sys.argv[1])
print(all(len(values) == 1 and abs(values.pop() - og.Ridge(alpha=alpha).fit(here, "y").coef_[0]) < 1e-12
          for alpha, values in found.items()), len(found))
"""
    assert "True 2" in run(code, str(path))
