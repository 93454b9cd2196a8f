"""A server that watches itself counts exactly what it was asked and answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.errors import ParameterError
from outgrow.job.watching import MOST_WAITING, recorder
from outgrow.serve import lean
from outgrow.serve.http.app import application
from outgrow.serve.http.cache import AnswerCache
from outgrow.serve.http.scoring import SLICE_ROWS, LoadedVersion, answer_all
from outgrow.serve.http.state import Model, Settings


@pytest.fixture
def model(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    rows = pandas.DataFrame({"x": rng.normal(size=2000), "place": rng.choice(["inn", "sea"], 2000)})
    rows["y"] = np.where(rows.x + rng.normal(size=2000) > 0, "yes", "no")
    fitted = og.Pipeline([og.OneHotEncoder(columns=["place"]), og.LogisticRegression()]).fit(rows, "y")
    fitted.save(tmp_path / "bare")
    fitted.save(tmp_path / "model", reference=rows)
    return str(tmp_path / "model")


def test_rows_of_all_requests_are_counted(model: str, tmp_path: Path) -> None:
    words = {"models": {"late": model}, "log": str(tmp_path / "ops.db"), "window": "1d"}
    settings = Settings({"late": Model(model)}, watchers={"outgrow.job.watching:recorder": words})
    rng = np.random.default_rng(1)
    asked = [{"x": float(x), "place": "inn"} for x in rng.normal(2, 1, 300)]
    with TestClient(application(settings)) as client:
        for start in range(0, 300, 20):
            body = {"rows": asked[start : start + 20], "probabilities": start % 40 == 0}
            answer = client.post("/predict", json=body)
            assert answer.status_code == 200, answer.text
    log = og.EventLog(tmp_path / "ops.db")
    folded = [record.body for record in log.since(0, kinds=("window.folded",))]
    assert sum(body["rows"] for body in folded) == 300
    assert {body["role"] for body in folded} == {"primary"}
    monitor = og.Monitor(model, tmp_path / "ops.db", window="1d", name="late")
    (counts,) = monitor.counts().values()
    by_hand = monitor.reference.coarse(monitor.reference.count(pandas.DataFrame(asked), og.load(model)))
    kinds = [entry.role for entry in monitor.reference.plan.entries]
    for index, kind in enumerate(kinds):
        if kind == "column":
            same = monitor.reference.vector(counts, index) == monitor.reference.vector(by_hand, index)
            assert same.all()
    (judged,) = monitor.judge(open_too=True)
    assert judged.verdict == "drift"
    assert {"x", "place"} <= set(judged.drifted)
    readings = {reading.labels["column"]: reading.value for reading in recorder(**words)()}
    assert readings["x"] > 0.3


def test_a_model_without_a_reference_is_refused_when_the_server_starts(model: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no reference"):
        recorder({"late": str(tmp_path / "bare")}, str(tmp_path / "ops.db"))


def test_rows_past_what_may_wait_are_passed_over_and_counted(model: str, tmp_path: Path) -> None:
    counting = recorder({"late": model}, str(tmp_path / "ops.db"))

    class Answers:
        predictions = ["no"] * (MOST_WAITING + 1)

    counting.add("late", "primary", [], Answers())
    counting.add("other", "primary", [], Answers())  # a model that is not watched
    assert counting.passed_over == MOST_WAITING + 1
    counting.close()
    assert list(og.EventLog(tmp_path / "ops.db").since(0)) == []


@dataclass(eq=False)
class _Asked:
    served: LoadedVersion
    rows: Any
    count: int
    abandoned: bool = False


def _counted_as(model: str, tmp_path: Path, places: list[str]) -> bool:
    """Whether the log has counts of rows with these places, and of no others."""
    monitor = og.Monitor(model, tmp_path / "ops.db", window="1d", name="late")
    (counts,) = monitor.counts().values()
    rows = pandas.DataFrame({"x": 0.0, "place": places})
    by_hand = monitor.reference.coarse(monitor.reference.count(rows, og.load(model)))
    (index,) = [n for n, entry in enumerate(monitor.reference.plan.entries) if entry.name == "place"]
    same = monitor.reference.vector(counts, index) == monitor.reference.vector(by_hand, index)
    return counts.rows == len(places) and bool(same.all())


@pytest.mark.parametrize("answered", [[0, 1, 2], [1], [0, 2]], ids=["all", "one", "not-the-middle"])
def test_of_a_shared_batch_those_rows_count_that_somebody_got(
    model: str, tmp_path: Path, answered: list[int]
) -> None:
    served = lean.load(model)._served
    words = {"models": {"late": model}, "log": str(tmp_path / "ops.db"), "window": "1d"}
    asked = [["inn"], ["sea", "sea"], ["inn", "sea", "inn"]]
    rows = [served.reader.checked([{"x": 0.0, "place": place} for place in one]) for one in asked]
    requests = [_Asked(served, read, len(read)) for read in rows]
    answers, _ = answer_all(requests)
    counting = recorder(**words)
    for number in answered:
        counting.add("late", "primary", requests[number].rows, answers[number])
    counting.close()
    got = [place for number in answered for place in asked[number]]
    assert _counted_as(model, tmp_path, got)


def test_remembered_answers_and_large_tables_are_counted(model: str, tmp_path: Path) -> None:
    served = lean.load(model)._served
    words = {"models": {"late": model}, "log": str(tmp_path / "ops.db"), "window": "1d"}
    counting = recorder(**words)
    read = served.reader.checked([{"x": 1.0, "place": "sea"}])
    (fresh,), _ = answer_all([_Asked(served, read, 1)])
    remembered = AnswerCache(10)
    remembered.keep(read, fresh)
    counting.add("late", "primary", read, remembered.find(served, read))
    size = SLICE_ROWS + 5
    table = Batch({"x": pa.array(np.zeros(size)), "place": pa.array(["inn"] * size)}, size)
    (large,), _ = answer_all([_Asked(served, table, size)])
    assert len(large.scored) == 2
    counting.add("late", "primary", table, large)
    counting.close()
    assert _counted_as(model, tmp_path, ["sea"] + ["inn"] * size)
