"""Fits of one session on a standalone cluster: resources of a stage, memory, code of users, misuse, ports."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.engine.memory import parse_size
from outgrow.errors import EngineError
from outgrow.testing.clusters import LOOPBACK, Standalone
from sessions import classic_session


@pytest.fixture(scope="module")
def session(two_workers: Standalone) -> Iterator[Any]:
    memory = {"spark.executor.memory": "512m", "spark.executor.pyspark.memory": "3g"}
    found = classic_session(two_workers.url, **memory)
    yield found
    found.stop()


def rows_at(folder: Path, rows: int = 200, group: int = 50) -> str:
    path = folder / "rows.parquet"
    pq.write_table(
        pa.table({"x": np.arange(float(rows)), "y": 2 * np.arange(float(rows))}), path, row_group_size=group
    )
    return str(path)


def test_memory_is_predicted_and_a_hopeless_budget_refused(session: Any, tmp_path: Path) -> None:
    """The first of this module: a process remembers the most that it ever held."""
    X = np.random.default_rng(0).normal(size=(400_000, 20))
    table = pa.table({**{f"x{j}": X[:, j] for j in range(20)}, "y": X.sum(axis=1)})
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=25_000, use_dictionary=False)

    def fit(memory: str) -> Any:
        data = og.read(path, engine=og.Spark(session, memory_per_rank=memory))
        return og.Pipeline([og.StandardScaler(), og.Ridge()]).fit(data, "y").fit_record_

    roomy = fit("2GiB")
    assert 0.6 < roomy.measured_peak / roomy.predicted_peak < 1.5
    assert roomy.spilled == 0
    tight = fit("260MiB")
    assert tight.predicted_peak == parse_size("260MiB")
    assert tight.spilled > 0
    with pytest.raises(EngineError, match="Set memory_per_rank="):
        fit("64MiB")


def test_the_room_of_executors_is_known_before_the_fit(session: Any, tmp_path: Path) -> None:
    notes: list[Any] = []
    with og.listen(lambda event: notes.append(event.note)):
        og.Ridge().fit(og.read(rows_at(tmp_path), engine=og.Spark(session)), "y")
    assert any("of 3.0 GiB a rank" in str(note) for note in notes), notes


def test_cores_of_a_stage(session: Any) -> None:
    rows = session.range(0, 1000, 1, 4).selectExpr("double(id) AS x", "2.0 * id AS y")
    model = og.LinearRegression().fit(og.dataset(rows, engine=og.Spark(session, cpus_per_rank=1)), "y")
    assert round(float(model.coef_[0]), 6) == 2.0
    assert model.fit_record_.ranks == 2


def test_a_plan_that_fails_names_its_cause(session: Any) -> None:
    frame = session.range(0, 100).selectExpr("double(id) AS x", "1 / (id - 50) AS y")
    with pytest.raises(EngineError, match="DIVIDE_BY_ZERO") as caught:
        og.LinearRegression().fit(frame, "y")
    assert "at org.apache" not in str(caught.value)


def test_code_of_users_reaches_the_executors(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_own.py").write_text(
        "def doubled(batch):\n"
        "    import pyarrow.compute as pc\n"
        "    return batch.with_columns({'x': pc.multiply(batch['x'], 2.0)})\n"
    )
    session.addArtifact(str(tmp_path / "their_own.py"), pyfile=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_own

    data = og.read(rows_at(tmp_path), engine=og.Spark(session)).map(their_own.doubled)
    assert round(float(og.LinearRegression().fit(data, "y").coef_[0]), 6) == 1.0


def test_ports_that_are_taken_are_an_error_within_seconds(session: Any, tmp_path: Path) -> None:
    path = rows_at(tmp_path)
    og.Ridge().fit(og.read(path, engine=og.Spark(session)), "y")  # the processes of the tasks have started
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"is free on 127.0.0.1.*rank 0 on 127.0.0.1, .*in pass 1\)"):
            og.Ridge().fit(og.read(path, engine=og.Spark(session, ports=(port, port + 1))), "y")
        assert time.monotonic() - began < 15  # the other rank would look for it for 20 s


def test_nothing_listens_after_a_fit(session: Any, two_workers: Standalone, tmp_path: Path) -> None:
    def listening() -> set[int]:
        ours = [psutil.Process(pid) for pid in (os.getpid(), *(worker.pid for worker in two_workers.workers))]
        ours += [child for process in ours for child in process.children(recursive=True)]
        found: set[int] = set()
        for process in ours:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                lines = process.net_connections("tcp")
                found |= {line.laddr.port for line in lines if line.status == "LISTEN"}
        return found

    rows = session.range(0, 1000, 1, 4).selectExpr("double(id) AS x", "2.0 * id AS y")
    og.LinearRegression().fit(rows, "y")
    before = listening()
    data = og.read(rows_at(tmp_path, 100, 20), engine=og.Spark(session, ports=(21_000, 21_400)))
    og.KMeans(n_clusters=2, max_iter=5).fit(data)
    after = listening()
    assert len(before) > 3
    assert after <= before, [port for port in after if 21_000 <= port < 21_400]
