"""A standalone cluster from outside: what `doctor` says of it, resources of a stage, memory, misuse."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from outgrow.engine.memory import parse_size
from outgrow.testing.clusters import LOOPBACK, Standalone, standalone

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """Two workers of one core each, of this module alone."""
    os.environ["SPARK_LOCAL_IP"] = LOOPBACK
    with standalone(tmp_path_factory.mktemp("cluster")) as found:
        yield found


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


def test_doctor_looks_at_the_executors(cluster: Standalone) -> None:
    found = run(
        "import sys; from outgrow.cli import main; sys.argv = ['outgrow', *sys.argv[1:]]; main()",
        "doctor",
        "--engine",
        cluster.url,
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


def test_cores_of_a_stage(cluster: Standalone) -> None:
    code = (
        SESSION
        + """
engine = og.Spark(session, cpus_per_rank=1)
rows = session.range(0, 1000, 1, 4).selectExpr("id", "double(id) AS x", "2.0 * id AS y")
model = og.LinearRegression().fit(og.dataset(rows.drop("id"), engine=engine), "y")
print("coef", round(float(model.coef_[0]), 6), "ranks", model.fit_record_.ranks)
"""
    )
    assert "coef 2.0 ranks 2" in run(code, cluster.url)


def test_cores_of_a_stage_where_there_are_none() -> None:
    code = (
        SESSION
        + """
engine = og.Spark(session, cpus_per_rank=1)
import pyarrow as pa
data = og.dataset(pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0]}), engine=engine)
try:
    og.LinearRegression().fit(data, "y")
except og.errors.EngineError as error:
    print(error)
"""
    )
    found = run(code, "local[2]")
    assert "gives no resources to a stage alone" in found
    assert "spark.task.cpus" in found


def test_executors_of_another_python(tmp_path: Path) -> None:
    """A worker that says it is Python 3.9: PySpark compares before anything else."""
    shim = tmp_path / "sitecustomize.py"
    shim.write_text(
        "import sys\nif any('daemon' in word for word in getattr(sys, 'orig_argv', [])):\n"
        "    class Version(tuple):\n        major, minor = 3, 9\n"
        "    sys.version_info = Version((3, 9, 0, 'final', 0))\n"
    )
    code = (
        SESSION
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
        "import sys\nif any('daemon' in word for word in getattr(sys, 'orig_argv', [])):\n"
        "    sys.modules['outgrow'] = None\n"
    )
    code = (
        SESSION
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


def test_dynamic_allocation_is_named(cluster: Standalone) -> None:
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
    assert "spark.dynamicAllocation.enabled=false" in run(code, cluster.url)


def test_a_plan_that_fails_names_its_cause(cluster: Standalone) -> None:
    code = (
        SESSION
        + """
frame = session.range(0, 100).selectExpr("double(id) AS x", "1 / (id - 50) AS y")
try:
    og.LinearRegression().fit(frame, "y")
except og.errors.EngineError as error:
    print(error)
"""
    )
    found = run(code, cluster.url)
    assert "DIVIDE_BY_ZERO" in found
    assert "at org.apache" not in found


def test_memory_is_predicted_and_a_hopeless_budget_refused(cluster: Standalone, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400_000, 20))
    table = pa.table({**{f"x{j}": X[:, j] for j in range(20)}, "y": X.sum(axis=1)})
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=25_000, use_dictionary=False)
    code = (
        SESSION
        + """
def fit(memory):
    data = og.read(sys.argv[2], engine=og.Spark(session, memory_per_rank=memory))
    record = og.Pipeline([og.StandardScaler(), og.Ridge()]).fit(data, "y").fit_record_
    print(record.predicted_peak, record.measured_peak, record.spilled)
fit("2GiB")
fit("260MiB")
try:
    fit("64MiB")
except og.errors.EngineError as error:
    print(error)
"""
    )
    roomy, tight, refused = run(code, cluster.url, str(path)).splitlines()[-3:]
    predicted, measured, spilled = map(int, roomy.split())
    assert 0.6 < measured / predicted < 1.5
    assert spilled == 0
    predicted, measured, spilled = map(int, tight.split())
    assert predicted == parse_size("260MiB")
    assert spilled > 0
    assert "Set memory_per_rank=" in refused


def test_the_room_of_executors_is_known_before_the_fit(cluster: Standalone, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(2000.0), "y": np.arange(2000.0)}), path)
    code = (
        SESSION.replace('"512m"}', '"512m", "spark.executor.pyspark.memory": "3g"}')
        + """
notes = []
with og.listen(lambda event: notes.append(event.note)):
    og.Ridge().fit(og.read(sys.argv[2], engine=og.Spark(session)), "y")
print([note for note in notes if note])
"""
    )
    assert "of 3.0 GiB a rank" in run(code, cluster.url, str(path))


def test_code_of_users_reaches_the_executors(cluster: Standalone, tmp_path: Path) -> None:
    (tmp_path / "their_own.py").write_text(
        "def doubled(batch):\n"
        "    import pyarrow.compute as pc\n"
        "    return batch.with_columns({'x': pc.multiply(batch['x'], 2.0)})\n"
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(200.0), "y": 2 * np.arange(200.0)}), path, row_group_size=50)
    code = (
        SESSION
        + """
module = sys.argv[3]
session.addArtifact(module, pyfile=True)
sys.path.insert(0, module.rpartition("/")[0])
import their_own
data = og.read(sys.argv[2], engine=og.Spark(session)).map(their_own.doubled)
print("coef", round(float(og.LinearRegression().fit(data, "y").coef_[0]), 6))
"""
    )
    assert "coef 1.0" in run(code, cluster.url, str(path), str(tmp_path / "their_own.py"))


def test_ports_that_are_taken_are_an_error_within_seconds(cluster: Standalone, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(200.0), "y": np.arange(200.0)}), path, row_group_size=50)
    code = (
        SESSION
        + """
import time
og.Ridge().fit(og.read(sys.argv[2], engine=og.Spark(session)), "y")
port = int(sys.argv[3])
began = time.monotonic()
try:
    og.Ridge().fit(og.read(sys.argv[2], engine=og.Spark(session, ports=(port, port + 1))), "y")
except og.errors.EngineError as error:
    print(error, "after", time.monotonic() - began < 10)
"""
    )
    with socket.create_server((LOOPBACK, 0)) as taken:
        found = run(code, cluster.url, str(path), str(taken.getsockname()[1]))
    assert "is free on 127.0.0.1" in found
    assert "(rank 0 on 127.0.0.1, its partition 0, in pass 1) after True" in found


def test_nothing_listens_after_a_fit(cluster: Standalone, tmp_path: Path) -> None:
    code = (
        SESSION
        + """
import os
from contextlib import suppress
import psutil
def listening():
    ours = [psutil.Process(int(pid)) for pid in (os.getpid(), *sys.argv[3:])]
    ours += [child for process in ours for child in process.children(recursive=True)]
    found = set()
    for process in ours:
        with suppress(psutil.NoSuchProcess):  # it has just ended
            found |= {line.laddr.port for line in process.net_connections("tcp") if line.status == "LISTEN"}
    return found
engine = og.Spark(session, ports=(21_000, 21_400))
rows = session.range(0, 1000, 1, 4).selectExpr("double(id) AS x", "2.0 * id AS y")
og.LinearRegression().fit(rows, "y")
before = listening()
data = og.read(sys.argv[2], engine=engine)
og.KMeans(n_clusters=2, max_iter=5).fit(data)
after = listening()
ranks = [port for port in after if 21_000 <= port < 21_400]
print(len(before) > 3, "new", sorted(after - before), "of ranks", ranks)
"""
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(100.0)}), path, row_group_size=20)
    workers = [str(worker.pid) for worker in cluster.workers]
    assert "True new [] of ranks []" in run(code, cluster.url, str(path), *workers)


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
