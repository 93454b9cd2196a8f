"""The log of predictions: nothing is lost because a disk was full, and no column takes another's place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.registry.store import Follower
from outgrow.serve.http import record
from outgrow.serve.http.record import PredictionLog
from outgrow.serve.http.scoring import Answers, LoadedVersion

NAMES = ["time", "row", "model", "prediction", "probability_0", "x"]


@pytest.fixture
def served(tmp_path: Path) -> LoadedVersion:
    """A classifier whose columns are called as those of the log."""
    rng = np.random.default_rng(0)
    table = pa.table({**{name: rng.normal(size=50) for name in NAMES}, "y": np.arange(50) % 2})
    og.LogisticRegression().fit(table, "y").save(tmp_path / "model")
    version = Follower(tmp_path / "model").look()
    assert version is not None
    return LoadedVersion.of(version)


def answers(served: LoadedVersion, rows: int) -> Answers:
    return Answers([0] * rows, [[0.5, 0.5]] * rows, served, rows)


def rows(count: int, start: int = 0) -> list[tuple[Any, ...]]:
    return [tuple(float(start + number) for _ in NAMES) for number in range(count)]


def test_columns_of_the_model_that_are_called_as_those_of_the_log(
    tmp_path: Path, served: LoadedVersion
) -> None:
    kept = PredictionLog(tmp_path / "log")
    kept.add("a/b", "primary", "r1", rows(2, start=7), answers(served, 2))
    kept.flush()
    found = og.read(tmp_path / "log").to_arrow().to_pylist()[1]
    assert (found["request_id"], found["row"], found["model"], found["prediction"]) == ("r1", 1, "a/b", 0)
    assert [found[f"{name}_2"] for name in NAMES[:5]] == [8.0] * 5
    assert found["x"] == 8.0


def test_rows_wait_while_they_cannot_be_written(
    tmp_path: Path, served: LoadedVersion, caplog: pytest.LogCaptureFixture
) -> None:
    kept = PredictionLog(tmp_path / "log")
    (tmp_path / "log").rmdir()
    (tmp_path / "log").write_text("in the way, as a full disk is")
    with caplog.at_level(logging.ERROR):
        for request in range(3):
            kept.add("m", "primary", f"r{request}", rows(4), answers(served, 4))
            kept.flush()
    assert "12 rows of the prediction log wait" in caplog.text
    (tmp_path / "log").unlink()  # nor is the folder made again by anybody
    kept.flush()
    kept.flush()
    assert og.read(tmp_path / "log").count() == 12


def test_the_oldest_rows_are_given_up_and_counted(
    tmp_path: Path, served: LoadedVersion, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(record, "WAITING_BYTES", 20_000)
    lost: list[int] = []
    kept = PredictionLog(tmp_path / "log", lost=lost.append)
    with caplog.at_level(logging.ERROR):
        for request in range(30):
            kept.add("m", "primary", f"r{request}", rows(10), answers(served, 10))
    kept.flush()
    found = og.read(tmp_path / "log").to_arrow()
    assert sum(lost) > 0
    assert found.num_rows + sum(lost) == 300
    assert "r29" in found["request_id"].to_pylist()
    assert "given up" in caplog.text
