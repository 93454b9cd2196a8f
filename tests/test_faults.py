"""Ranks that die or stand still, drivers that die, clusters that are too small: what a fit then does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.engine.events import Event
from outgrow.engine.shard import Shard
from outgrow.errors import EngineError, RankLostError, RankLostWarning, TooFewSlotsError
from outgrow.testing.clusters import Standalone, alive, kill, stop, wait_until

ROWS = 60_000
PASSES = 60


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rows in no clusters, so that every pass moves the centers of k-means."""
    X = np.random.default_rng(5).normal(size=(ROWS, 6))
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    table = pa.table({f"x{j}": X[:, j] for j in range(X.shape[1])})
    pq.write_table(table, path, row_group_size=ROWS // 8)
    return str(path)


@pytest.fixture
def note(tmp_path: Path) -> Callable[[Batch], Batch]:
    """Lets whoever reads rows leave its process id in `tmp_path / "readers"`."""
    folder = tmp_path / "readers"
    folder.mkdir()

    def note(batch: Batch) -> Batch:
        if batch.num_rows:
            (folder / str(os.getpid())).touch()
        return batch

    return note


def model() -> og.KMeans:
    return og.KMeans(n_clusters=5, max_iter=PASSES, tol=0, random_state=0)


def undisturbed(path: str) -> np.ndarray:
    return model().fit(og.read(path)).cluster_centers_


def readers(folder: Path) -> list[int]:
    """The processes of ranks that hold rows now, the oldest first."""
    found = sorted((folder / "readers").iterdir(), key=lambda path: path.stat().st_mtime)
    return [int(path.name) for path in found if alive(int(path.name))]


@contextmanager
def at_iteration(step: int, act: Callable[[], None], unit: str = "iteration") -> Iterator[list[Event]]:
    """Do something once when a fit reports that many iterations."""
    seen: list[Event] = []
    done = threading.Event()

    def listener(event: Event) -> None:
        seen.append(event)
        if event.unit == unit and event.step >= step and not done.is_set():
            done.set()
            act()

    with og.listen(listener):
        yield seen
    assert done.is_set(), "the fit ended before anything was done to it"


def lost_passes(seen: list[Event]) -> int:
    """How many iterations were reported more than once."""
    steps = [event.step for event in seen if event.unit == "iteration"]
    return len(steps) - len(set(steps))


def losses_told(told: Any) -> list[str]:
    """Warnings of lost ranks; PySpark 4.0 leaves sockets open where a job fails, and Python says so."""
    return [str(each.message) for each in told if issubclass(each.category, RankLostWarning)]


def engine(spark: Any, **more: Any) -> og.Spark:
    return og.Spark(spark, ranks=2, **more)


# ---- ranks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_costs_one_pass_at_most(
    spark: Any, path: str, tmp_path: Path, note: Any, rank: int
) -> None:
    data = og.read(path, engine=engine(spark)).map(note)
    act = lambda: kill(readers(tmp_path)[rank])  # noqa: E731
    with at_iteration(20, act) as seen, pytest.warns(RankLostWarning) as told:
        found = model().fit(data)
    np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)
    assert lost_passes(seen) <= 1
    assert "goes on after pass" in losses_told(told)[0]


def test_a_standing_rank_is_noticed(spark: Any, path: str, tmp_path: Path, note: Any) -> None:
    data = og.read(path, engine=engine(spark, deadline=2.0)).map(note)
    stopped: list[float] = []

    def act() -> None:
        stop(readers(tmp_path)[-1])
        stopped.append(time.monotonic())

    told = "did not answer within 2 s|has not been heard of for 3 s"  # by its neighbours, or by the driver
    with at_iteration(20, act) as seen, pytest.warns(RankLostWarning, match=told):
        found = model().fit(data)
    np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)
    assert lost_passes(seen) <= 1


def test_a_lone_rank_that_stands_still_is_noticed(spark: Any, path: str, tmp_path: Path, note: Any) -> None:
    data = og.read(path, engine=og.Spark(spark, ranks=1, deadline=2.0)).map(note)
    act = lambda: stop(readers(tmp_path)[-1])  # noqa: E731
    with at_iteration(20, act), pytest.warns(RankLostWarning, match="Rank 0 has not been heard of for 3 s"):
        found = model().fit(data)
    np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)


def test_a_killed_executor_is_survived(
    spark: Any, cluster: Standalone | None, path: str, tmp_path: Path, note: Any
) -> None:
    if cluster is None:
        data = og.read(path, engine=engine(spark)).map(note)
        victims: Callable[[], list[int]] = lambda: readers(tmp_path)  # noqa: E731  the ranks of one machine
    else:
        data = og.read(path, engine=engine(spark)).map(note)
        victims = lambda: cluster.executors()[:1]  # noqa: E731
    with at_iteration(20, lambda: [kill(pid) for pid in victims()]) as seen, pytest.warns(RankLostWarning):
        found = model().fit(data)
    np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)
    assert lost_passes(seen) <= 1


def test_a_stopped_executor_is_noticed(
    spark: Any, cluster: Standalone | None, path: str, tmp_path: Path, note: Any
) -> None:
    """Its rank beats and computes on, but nobody takes what it hands over."""
    if cluster is None:
        pytest.skip("only a cluster has executors beside the driver")
    data = og.read(path, engine=engine(spark, deadline=2.0)).map(note)
    stopped: list[int] = []

    def act() -> None:
        stopped.append(cluster.executors()[0])
        stop(stopped[0])

    try:
        with at_iteration(20, act), pytest.warns(RankLostWarning, match="executor has been stopped for 2 s"):
            found = model().fit(data)
        np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)
    finally:
        if alive(stopped[0]):
            kill(stopped[0])
        wait_until("two executors", lambda: len(set(cluster.executors()) - set(stopped)) == 2)


def test_a_rank_that_always_dies_ends_the_fit(spark: Any, path: str) -> None:
    data = og.read(path, engine=engine(spark))

    def fit(shard: Shard) -> int:
        if shard.run.comm.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return int(shard.reduce(count)[0])

    with pytest.warns(RankLostWarning) as told, pytest.raises(RankLostError, match=r"Rank 1 on \S+"):
        data.engine.fit(fit, data.scan)
    assert len(losses_told(told)) == 3


def count(batch: Batch) -> np.ndarray:
    return np.array([float(batch.num_rows)])


def test_an_error_stops_ranks_in_the_middle_of_a_pass(spark: Any, path: str) -> None:
    data = og.read(path, engine=engine(spark))

    def fit(shard: Shard) -> int:
        if shard.run.comm.rank == 0:
            raise RuntimeError("out of luck")

        def fold(batch: Batch) -> np.ndarray:
            time.sleep(10)
            return count(batch)

        return int(shard.reduce(fold)[0])

    data.count()  # the processes of the tasks have started
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"out of luck \(rank 0 on \S+, its partition 0, in pass 1\)"):
        data.engine.fit(fit, data.scan)
    assert time.monotonic() - began < 20  # the other rank had 40 s of work before it


def test_a_slow_pass_is_not_taken_for_a_lost_rank(spark: Any, path: str) -> None:
    data = og.read(path, engine=engine(spark, deadline=2.0))

    def fit(shard: Shard) -> int:
        if shard.run.comm.rank == 1:
            time.sleep(6)
        return int(shard.reduce(count)[0])

    assert data.engine.fit(fit, data.scan).result == ROWS


@pytest.mark.parametrize("fault", [stop, kill])
def test_ranks_that_grow_trees_are_watched_too(
    spark: Any, path: str, tmp_path: Path, note: Any, fault: Callable[[int], None]
) -> None:
    """XGBoost's own collective knows no deadline as short as ours."""

    def trees() -> og.GradientBoostingRegressor:
        return og.GradientBoostingRegressor(n_estimators=150, max_depth=3)

    data = og.read(path, engine=engine(spark, deadline=2.0)).map(note)
    act = lambda: fault(readers(tmp_path)[-1])  # noqa: E731
    with at_iteration(5, act, "round"), pytest.warns(RankLostWarning):
        found = trees().fit(data, "x5")
    rows = og.read(path).head(500)
    expected = trees().fit(og.read(path), "x5").predict(rows).column("prediction").to_numpy()
    np.testing.assert_allclose(found.predict(rows).column("prediction").to_numpy(), expected, atol=1e-4)


# ---- the driver ------------------------------------------------------------------------------------------

DRIVER = """
import os, sys, signal
import outgrow as og
path, folder, master, die = sys.argv[1:]
from sessions import classic_session
if master == "local":
    engine = og.Local(threads=1, checkpoint=folder)
else:
    engine = og.Spark(classic_session(master), checkpoint=folder)
steps = []
def listener(event):
    if event.unit == "iteration":
        steps.append(event.step)
        if event.step == 20 and die == "die":
            os.kill(os.getpid(), signal.SIGKILL)
with og.listen(listener):
    model = og.KMeans(n_clusters=5, max_iter=60, tol=0, random_state=0).fit(og.read(path, engine=engine))
print("steps", len(steps), "sum", repr(float(abs(model.cluster_centers_).sum())))
"""


def run_driver(*arguments: str, code: str = DRIVER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )


def killed_driver(path: str, folder: Path, master: str) -> Path:
    """The checkpoint that a driver leaves which is killed in its fit."""
    checkpoint = folder / "checkpoint"
    first = run_driver(path, str(checkpoint), master, "die")
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert len(list(checkpoint.glob("*/*.state"))) >= 20
    return checkpoint


@pytest.fixture(scope="module")
def left_here(path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return killed_driver(path, tmp_path_factory.mktemp("here"), "local")


def goes_on(path: str, checkpoint: Path) -> None:
    second = run_driver(path, str(checkpoint), "local", "live")
    assert second.returncode == 0, second.stderr
    total = float(second.stdout.split()[-1])
    assert total == pytest.approx(float(abs(undisturbed(path)).sum()), rel=1e-9)
    assert list(checkpoint.iterdir()) == []  # a fit that is done leaves nothing


def test_a_killed_driver_goes_on_from_the_checkpoint(path: str, tmp_path: Path, left_here: Path) -> None:
    goes_on(path, shutil.copytree(left_here, tmp_path / "copy"))


def test_a_killed_driver_of_spark_goes_on_from_the_checkpoint(
    path: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spark = request.getfixturevalue("spark")  # asked for here, so that one mode of the tests is enough
    checkpoint = killed_driver(path, tmp_path, "local[2]")
    found = model().fit(og.read(path, engine=og.Spark(spark, checkpoint=checkpoint)))
    np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)
    assert list(checkpoint.iterdir()) == []


def test_a_damaged_entry_is_not_replayed(path: str, tmp_path: Path, left_here: Path) -> None:
    checkpoint = shutil.copytree(left_here, tmp_path / "copy")
    entries = sorted(checkpoint.glob("*/*.state"))
    entries[10].write_bytes(entries[10].read_bytes()[:-1])
    goes_on(path, checkpoint)


def test_another_fit_does_not_take_the_checkpoint(path: str, tmp_path: Path, left_here: Path) -> None:
    checkpoint = shutil.copytree(left_here, tmp_path / "copy")
    other = og.KMeans(n_clusters=4, max_iter=5, tol=0, random_state=0)
    found = other.fit(og.read(path, engine=og.Local(checkpoint=str(checkpoint)))).cluster_centers_
    assert len(found) == 4
    assert len(list(checkpoint.iterdir())) == 1  # the first fit's is still there


# ---- slots -----------------------------------------------------------------------------------------------


def test_busy_slots_are_an_error_within_seconds(spark: Any, path: str) -> None:
    if og.Spark(spark).connect:
        pytest.skip("Connect does not tell what runs; the deadline of the slots is Classic's")

    def occupy() -> None:
        with pytest.raises(Exception, match="cancel"):
            spark.range(0, 2, 1, 2).mapInArrow(sleep, "id bigint").count()

    busy = threading.Thread(target=occupy)
    busy.start()
    tracker = spark.sparkContext.statusTracker()
    while sum(tracker.getStageInfo(stage).numActiveTasks for stage in tracker.getActiveStageIds()) < 2:
        time.sleep(0.1)
    data = og.read(path, engine=engine(spark, slot_timeout=5.0))
    began = time.monotonic()
    with pytest.raises(TooFewSlotsError, match=r"needs 2 tasks at once, and for \d+ s .* no free slots"):
        model().fit(data)
    assert time.monotonic() - began < 50  # the other job holds the slots for 60 s
    spark.sparkContext.cancelAllJobs()
    busy.join()


def sleep(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    time.sleep(60)
    yield from batches


# ---- the end ---------------------------------------------------------------------------------------------

OWN = """
import json, os, signal, sys, threading, time
import outgrow as og
from sessions import classic_session
path, folder = sys.argv[1:]
session = classic_session("local[4]")

# two fits at once
found = {}
def fit(alpha):
    data = og.read(path, engine=og.Spark(session, ranks=2, ports=(22_000, 22_010)))
    for _ in range(3):
        found.setdefault(alpha, []).append(float(og.Ridge(alpha=alpha).fit(data, "x5").coef_[0]))
threads = [threading.Thread(target=fit, args=(alpha,)) for alpha in (0.1, 1e5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(["together", list(found.items())]))

# Ctrl-C
def note(batch):
    if batch.num_rows:
        open(os.path.join(folder, str(os.getpid())), "w").close()
    return batch
def listener(event):
    if event.unit == "iteration" and event.step == 10:
        os.kill(os.getpid(), signal.SIGINT)
data = og.read(path, engine=og.Spark(session, ranks=2)).map(note)
try:
    with og.listen(listener):
        og.KMeans(n_clusters=5, max_iter=100_000, tol=0, random_state=0).fit(data)
except KeyboardInterrupt:
    until = time.monotonic() + 10
    tracker = session.sparkContext.statusTracker()
    while tracker.getActiveStageIds() and time.monotonic() < until:
        time.sleep(0.1)
    print(json.dumps(["active stages", len(tracker.getActiveStageIds())]))

# the end
session.stop()
try:
    og.KMeans(n_clusters=2).fit(data)
except og.errors.EngineError as error:
    print(json.dumps(["stopped", str(error)]))
"""


@pytest.fixture(scope="module")
def own(path: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happens in a session that is interrupted and stopped, and the folder of the ranks' numbers."""
    folder = tmp_path_factory.mktemp("readers")
    done = run_driver(path, str(folder), code=OWN)
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    return {"readers": folder, "errors": done.stderr, **found}


def test_two_fits_at_once_never_meet(path: str, own: dict[str, Any]) -> None:
    for alpha, slopes in own["together"]:
        expected = og.Ridge(alpha=alpha).fit(og.read(path), "x5").coef_[0]
        assert len(set(slopes)) == 1
        assert slopes[0] == pytest.approx(float(expected), abs=1e-12)


def test_ctrl_c_ends_the_job(own: dict[str, Any]) -> None:
    assert own["active stages"] == 0, own["errors"]
    ranks = [int(name) for name in os.listdir(own["readers"])]
    assert ranks
    wait_until("the ranks are gone", lambda: not any(alive(pid) for pid in ranks), 20)


def test_a_stopped_session_is_named(own: dict[str, Any]) -> None:
    assert "The Spark session has been stopped. Start another" in own["stopped"], own["errors"]


def test_nothing_is_said_when_nothing_happens(spark: Any, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)  # of jobs before it, see `losses_told`
        found = model().fit(og.read(path, engine=engine(spark)))
    np.testing.assert_allclose(found.cluster_centers_, undisturbed(path), rtol=1e-9)


# ---- trees -----------------------------------------------------------------------------------------------

TREES = """
import os, sys, signal
import numpy as np
import pyarrow as pa
import outgrow as og
from outgrow.ml.trees import callbacks
callbacks.SNAPSHOT_SECONDS = 0.0
folder, die = sys.argv[1:]
rounds = []
def listener(event):
    if event.unit == "round":
        rounds.append(event.step)
        if event.step == 12 and die == "die":
            os.kill(os.getpid(), signal.SIGKILL)
X = np.random.default_rng(0).normal(size=(5000, 5))
table = pa.table({**{f"x{j}": X[:, j] for j in range(5)}, "y": X[:, 0] * X[:, 1] + np.abs(X[:, 2])})
engine = og.Local(threads=1, checkpoint=folder)
with og.listen(listener):
    model = og.GradientBoostingRegressor(n_estimators=20, max_depth=3)
    model.fit(og.dataset(table, engine=engine), "y")
total = repr(float(model.predict(table.drop(["y"])).column("prediction").to_numpy().sum()))
print("rounds", rounds[0], rounds[-1], "losses", len(model.train_loss_), "sum", total)
"""


def test_boosting_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    def run(folder: str, die: str) -> subprocess.CompletedProcess[str]:
        return run_driver(str(tmp_path / folder), die, code=TREES)

    assert run("a", "die").returncode == -signal.SIGKILL
    resumed, whole = run("a", "live"), run("b", "live")
    assert resumed.returncode == 0, resumed.stderr
    words, expected = resumed.stdout.split(), whole.stdout.split()
    assert 12 <= int(words[1]) <= 13  # the first round that was grown anew
    assert words[2] == expected[2] == "20"
    assert words[4] == expected[4] == "20"
    assert float(words[6]) == pytest.approx(float(expected[6]), rel=1e-5)
