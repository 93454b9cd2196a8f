"""Fits on several processes of this machine: same models, and what happens to processes that end too soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow._process import usable_cores
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset
from outgrow.engine.ranks.parcel import Parcels, opened
from outgrow.engine.ranks.processes import end_idle, rank_processes
from outgrow.errors import DataError, EngineError, ParameterError, RankLostError, RankLostWarning
from outgrow.job.engines import open_engine
from outgrow.testing import ENGINE_CHECKS, EngineCase
from outgrow.testing.clusters import alive, wait_until

TWO = og.Local(threads=2, processes=2)
CASES = [
    og.StandardScaler(),
    og.QuantileTransformer(n_quantiles=10),
    og.PCA(n_components=2),
    og.OneHotEncoder(),
    og.LinearRegression(),
    og.LogisticRegression(),
    og.GaussianNB(),
    og.KMeans(n_clusters=2, random_state=0),
    og.GradientBoostingClassifier(**og.GradientBoostingClassifier.test_parameters),
    og.RandomForestClassifier(**og.RandomForestClassifier.test_parameters),
    og.KNeighborsClassifier(),
    og.Pipeline([og.StandardScaler(), og.PCA(n_components=2), og.Ridge()]),
]


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    end_idle()


def rows(count: int = 200) -> Dataset:
    values = np.arange(float(count))
    return og.dataset(pa.table({"a": values, "b": values % 7, "y": values * 2}), engine=TWO)


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", CASES, ids=lambda e: type(e).__name__)
def test_same_models(estimator: Any, check: Any) -> None:
    case = EngineCase("processes", lambda table: Dataset(Scan(TableSource(table)), TWO))
    check(clone(estimator), case)


def test_more_ranks_than_rows() -> None:
    few = og.dataset(pa.table({"a": [1.0, 2.0], "y": [2.0, 4.0]}), engine=og.Local(processes=3))
    model = og.LinearRegression().fit(few, "y")
    assert model.fit_record_.ranks == 3
    assert model.coef_[0] == pytest.approx(2.0)


def test_files_are_shared_out(tmp_path: Path) -> None:
    pq.write_table(rows().to_arrow(), tmp_path / "rows.parquet", row_group_size=50)
    paths = og.read(str(tmp_path / "rows.parquet"), engine=TWO)

    def counted(shard: Any) -> Any:
        own = shard.run.comm.rank
        return shard.reduce(lambda batch: np.eye(2)[own] * batch.num_rows)

    for scan in (paths.scan, rows().scan):
        assert TWO.fit(counted, scan).result.tolist() == [100.0, 100.0]


def test_drift_is_that_of_one_process() -> None:
    rng = np.random.default_rng(0)
    before = pa.table({"a": rng.normal(size=900), "b": rng.choice(["x", "y"], 900)})
    after = pa.table({"a": rng.normal(0.5, 1, size=700), "b": rng.choice(["x", "y", "z"], 700)})
    here, there = (
        og.drift(before, after),
        og.drift(og.dataset(before, engine=TWO), og.dataset(after, engine=TWO)),
    )
    assert there.drifted == here.drifted
    assert set(here.drifted) == {"a", "b"}
    assert there.findings == here.findings  # to the bit
    reference = og.Reference.of(before)
    assert (reference.count(og.dataset(after, engine=TWO)).counts == reference.count(after).counts).all()


def test_pandas_text_target_in_a_search() -> None:
    """As a newcomer would: a frame with text, a pipeline, folds, and the model saved and loaded."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"hour": rng.normal(size=300), "city": rng.choice(["Bonn", "Rom"], 300)})
    frame["late"] = np.where(frame.hour + rng.normal(size=300) > 0, "yes", "no")
    pipe = og.Pipeline([og.ColumnTransformer([("c", og.OneHotEncoder(), ["city"])]), og.LogisticRegression()])
    found = og.cross_validate(pipe, og.dataset(frame, engine=TWO), "late", cv=3)
    alone = og.cross_validate(pipe, og.dataset(frame), "late", cv=3)
    assert str(found) == str(alone)


def test_what_a_fit_says_arrives() -> None:
    events: list[Any] = []
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    table = pa.table({"a": X[:, 0] * 1e4, "b": X[:, 1], "y": (X[:, 0] + X[:, 1] > 0).astype(int)})
    with og.listen(events.append), pytest.warns(ConvergenceWarning):
        og.LogisticRegression(max_iter=1, C=1e6).fit(og.dataset(table, engine=TWO), "y")
    passes = [event for event in events if event.unit == "pass"]
    assert passes
    assert passes[-1].slowest.startswith("rank ")


def test_errors_name_the_rank() -> None:
    holes = pa.table({"a": [1.0] * 50 + [float("nan")] * 50, "y": np.arange(100.0)})
    with pytest.raises(DataError, match=r"contains NaN.*\(rank 1, process \d+ of this machine, in pass"):
        og.LinearRegression().fit(og.dataset(holes, engine=TWO), "y")

    def divided(shard: Any) -> Any:
        return shard.reduce(lambda batch: np.ones(1) * (1 // shard.run.comm.rank))

    with pytest.raises(EngineError, match=r"ZeroDivisionError: .*\(rank 0, process"):
        TWO.fit(divided, rows().scan)


def test_what_cannot_be_sent_is_said() -> None:
    lock = threading.Lock()
    with pytest.raises(EngineError, match="cannot be sent to other processes"):
        TWO.fit(lambda shard: shard.reduce(lambda batch: np.ones(1) * lock.locked()), rows().scan)


def test_command_lines_name_them() -> None:
    assert open_engine("processes[3]") == og.Local(processes=3)


def test_parameters() -> None:
    with pytest.raises(ParameterError, match="processes=0"):
        og.Local(processes=0)


def troubled(marker: Path, trouble: int) -> Any:
    """A fit of two passes; in the second, the first time, rank 1 gets a signal."""

    def fit(shard: Any) -> Any:
        first = shard.reduce(lambda batch: batch.matrix(["a"]).sum(axis=0))

        def fold(batch: Any) -> np.ndarray:
            if shard.run.comm.rank == 1 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), trouble)
            return batch.matrix(["a"]).sum(axis=0)

        return [first, shard.reduce(fold)]

    return fit


@pytest.mark.parametrize(
    ("trouble", "named"), [(signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGSTOP, "was stopped")]
)
def test_a_lost_rank_is_named_and_replaced(trouble: int, named: str, tmp_path: Path) -> None:
    with pytest.warns(RankLostWarning, match=rf"rank 1, .* {named}.* Attempt 2 of 4 goes on after pass 1"):
        fitted = TWO.fit(troubled(tmp_path / "marker", trouble), rows().scan)
    assert [found.tolist() for found in fitted.result] == [[19900.0], [19900.0]]
    assert fitted.record.attempts == 2


def test_a_rank_that_is_lost_each_time_ends_the_fit() -> None:
    def fit(shard: Any) -> Any:
        return shard.reduce(lambda batch: np.ones(1) * (os._exit(3) if shard.run.comm.rank else 1))

    with pytest.warns(RankLostWarning), pytest.raises(RankLostError, match=r"rank 1, .* code 3") as lost:
        TWO.fit(fit, rows().scan)
    assert lost.value.rank == 1


def test_fits_on_two_threads_have_processes_of_their_own() -> None:
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(og.LinearRegression().fit(rows(), "y").coef_))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(*results)


def test_processes_that_died_between_fits_are_not_used() -> None:
    with rank_processes(2, 1) as processes:
        pids = [process.pid for process in processes]
    os.kill(pids[0], signal.SIGKILL)
    wait_until("the process is gone", lambda: not alive(pids[0]))
    with rank_processes(2, 1) as others:
        assert others.alive
        assert not {process.pid for process in others} & set(pids)


def test_arrays_are_written_once_and_mapped() -> None:
    array, table = np.arange(100_000.0), pa.table({"a": np.arange(50_000)})
    with Parcels([[array, "x"], [array[:1000], array], [table.slice(0, 9), table]], "/tmp") as sent:
        messages = [sent.message(number) for number in range(3)]
        found = [opened(message) for message in messages]
    assert messages[0]["size"] < 1.6 * (array.nbytes + table.nbytes)
    np.testing.assert_array_equal(found[1][1], array)
    assert not found[0][0].flags.writeable
    assert found[2][1] == table
    assert found[2][0] == table.slice(0, 9)


SCRIPT = """
import os, signal, sys, time
import numpy as np, pyarrow as pa
import outgrow as og
from outgrow.ml.base import Transformer

class Shift(Transformer):
    def __init__(self, columns=None):
        self.columns = columns
    def _fit(self, shard, names, task):
        def fold(batch):
            if len(sys.argv) > 1:
                open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
                time.sleep(60)
            return batch.matrix(names).max(axis=0, initial=0)
        self.largest_ = shard.reduce(fold)
    def _transform_columns(self, batch, names):
        return batch

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
rows = og.dataset(pa.table({"a": np.arange(100.0)}), engine=og.Local(processes=2))
model = Shift().fit(rows)
print("ranks", model.fit_record_.ranks)
"""


def started(script: Path, *arguments: str, shell: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, str(script), *arguments]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_script_without_a_guard_and_without_standard_input(tmp_path: Path) -> None:
    """Its class is its own, nothing of it runs twice, and the closed stream hides no connection."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    out, err = started(script, shell="0<&-").communicate(timeout=120)
    assert out == "ranks 2\n", err


@pytest.mark.parametrize("trouble", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left(trouble: int, tmp_path: Path) -> None:
    script, pids = tmp_path / "train.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    pids.mkdir()
    with started(script, str(pids)) as process:
        wait_until("both ranks work", lambda: len(list(pids.iterdir())) == 2)
        process.send_signal(trouble)
        _, err = process.communicate(timeout=120)
    assert ("KeyboardInterrupt" in err) == (trouble == signal.SIGINT)
    until = time.monotonic() + 60
    while any(alive(int(path.name)) for path in pids.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_quota_of_time_counts_as_cores(files: dict[str, str], cores: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    bound = len(os.sched_getaffinity(0))
    assert usable_cores(str(tmp_path)) == (bound if cores is None else min(bound, cores))
