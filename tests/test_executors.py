"""The processes of a session: the Python of the tasks, and the Java that starts with it."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.engine.spark.executor import spare_modules
from outgrow.testing.clusters import wait_until

HERE = Path(__file__).parent
PYTHONS = """
import json, sys
import outgrow as og
import pyarrow as pa
from sessions import classic_session
session = classic_session("local[2]", **{"spark.python.daemon.module": "pyspark.daemon"})
context = session.sparkContext
frame = session.createDataFrame([(1.0,), (3.0,)], "x double")
table = og.dataset(pa.table({"x": [1.0, 2.0]}), engine=og.Spark(session))
for kind, data in (("does not start", frame), ("is old", table), ("has no outgrow", table)):
    context.environment["KIND_OF_PYTHON"] = kind
    try:
        og.StandardScaler().fit(data)
    except og.errors.EngineError as error:
        print(json.dumps([kind, str(error)]))
    context.pythonExec = sys.executable  # the first had the python3 that Spark starts where nobody chose one
"""
CUSTOMIZED = """
import os, sys
kind = os.environ.get("KIND_OF_PYTHON")
if kind == "is old":  # PySpark compares versions before anything else
    class Version(tuple):
        major, minor = 3, 9
    sys.version_info = Version((3, 9, 0, "final", 0))
elif kind == "has no outgrow":
    sys.modules["outgrow"] = None
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a session says of each kind of Python on executors, with the daemon that users have."""
    folder = tmp_path_factory.mktemp("python")
    other = folder / "python3"
    other.write_text("#!/bin/sh\nexit 7\n")
    other.chmod(0o755)
    (folder / "sitecustomize.py").write_text(CUSTOMIZED)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYSPARK_PYTHON"},
        "PYTHONPATH": os.pathsep.join([str(folder), str(HERE), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PYTHONS], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("does not start", "Set PYSPARK_PYTHON before the session starts"),
        ("is old", "The executors run Python 3.9 and the driver 3.{}"),
        ("has no outgrow", "Install outgrow there"),
    ],
)
def test_a_python_on_executors_that_will_not_do_is_named(said: dict[str, str], kind: str, words: str) -> None:
    assert words.format(sys.version_info.minor) in said[kind]


def test_ctrl_c_while_spark_starts_leaves_no_java() -> None:
    code = (
        "import signal, time; from outgrow.engine.spark.session import open_session; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # whoever runs the tests may ignore it
        "open_session('local[1]'); time.sleep(600)"  # the signal may come when it has started
    )
    session = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    children = psutil.Process(session.pid).children
    wait_until("Java", lambda: any(child.name() in ("java", "bash") for child in children()))
    java = children(recursive=True)
    session.send_signal(signal.SIGINT)
    assert session.wait(120) == -signal.SIGINT
    wait_until("no Java", lambda: not any(_runs(process) for process in java))


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_garbage_is_not_sought_among_modules_and_rows_of_later_tasks_are_let_go() -> None:
    try:
        spare_modules()
        spared = gc.get_freeze_count()
        kept: list[object] = [[] for _ in range(1_000)]
        spare_modules()  # nothing was imported since
        assert gc.get_freeze_count() <= spared
        assert len(kept) == 1_000
        assert spared > 1_000
    finally:
        gc.unfreeze()


def test_cores_of_a_stage_where_there_are_none(spark: Any) -> None:
    engine = og.Spark(spark, cpus_per_rank=1)
    data = og.dataset(pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0]}), engine=engine)
    with pytest.raises(og.errors.EngineError, match="gives no resources to a stage alone") as caught:
        og.LinearRegression().fit(data, "y")
    assert "spark.task.cpus" in str(caught.value)
