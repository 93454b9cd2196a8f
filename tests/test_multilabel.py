"""Rows with several labels are judged as scikit-learn judges them, on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics as peer
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.testing import EngineCase

NAMES = ["action", "drama", "noir", "war"]
AVERAGES = ("micro", "macro", "weighted", "samples")


def expected(y: Any, p: Any, scores: Any = None, weight: Any = None) -> dict[str, float]:
    how = {"sample_weight": weight}
    found = {"accuracy": peer.accuracy_score(y, p, **how), "hamming_loss": peer.hamming_loss(y, p, **how)}
    for name in ("precision", "recall", "f1", "jaccard"):
        score = getattr(peer, f"{name}_score")
        found |= {f"{name}_{a}": score(y, p, average=a, zero_division=0, **how) for a in AVERAGES}
    if scores is not None:
        found["lrap"] = peer.label_ranking_average_precision_score(y, scores, **how)
        found["coverage_error"] = peer.coverage_error(y, scores, **how)
        found["label_ranking_loss"] = peer.label_ranking_loss(y, scores, **how)
    return found


def made(seed: int, rows: int, labels: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = np.round(random.random((rows, labels)), 1)  # with ties
    y = (random.random((rows, labels)) < scores * random.choice([0.3, 1, 1.6])).astype(int)
    return y, (scores > 0.5).astype(int), scores


def table_of(y: np.ndarray, p: np.ndarray, scores: np.ndarray) -> pa.Table:
    parts = {"y": y, "p": p, "s": scores}
    return pa.table({f"{part}{j}": values[:, j] for part, values in parts.items() for j in range(y.shape[1])})


def columns(part: str, labels: int = 4) -> list[str]:
    return [f"{part}{j}" for j in range(labels)]


def lists(values: np.ndarray) -> pa.Array:
    return pa.array([[NAMES[j] for j in np.flatnonzero(row)] for row in values], pa.list_(pa.string()))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(2, 7), st.booleans())
def test_metrics_are_scikit_learns(seed: int, rows: int, labels: int, weighted: bool) -> None:
    y, p, scores = made(seed, rows, labels)
    weight = np.random.default_rng(seed).integers(1, 4, rows).astype(float) if weighted else None
    table = table_of(y, p, scores)
    report = og.metrics.multilabel_report(
        table, columns("y", labels), columns("p", labels), y_score=columns("s", labels), sample_weight=weight
    )
    for name, value in expected(y, p, scores, weight).items():
        assert report[name] == pytest.approx(value, abs=1e-12), name
    if weight is None:
        counts = peer.multilabel_confusion_matrix(y, p)
        np.testing.assert_array_equal(report.counts, counts[:, [1, 0, 1, 0], [1, 1, 0, 0]])


def test_groups_and_lists_on_every_engine(engine: EngineCase) -> None:
    y, p, scores = made(3, 90)
    shop = np.array(["north", "south", "west"])[np.arange(90) % 3]
    table = table_of(y, p, scores).append_column("shop", pa.array(shop))
    table = table.append_column("true", lists(y)).append_column("called", lists(p))
    rows = engine.open(table)
    by_lists = og.metrics.multilabel_report(rows, "true", "called", by="shop")
    by_columns = og.metrics.multilabel_report(rows, columns("y"), y_score=columns("s"), by="shop")
    assert by_lists.labels == NAMES
    assert by_columns.groups["shop"].to_pylist() == ["north", "south", "west"]
    for place, name in enumerate(["north", "south", "west"]):
        chosen = shop == name
        for metric, value in expected(y[chosen], p[chosen], scores[chosen]).items():
            assert by_columns[metric][place] == pytest.approx(value, abs=1e-12)
            if metric in by_lists:
                assert by_lists[metric][place] == pytest.approx(value, abs=1e-12)
    assert by_lists.by_label().num_rows == 12


def test_rows_that_lack_values_are_left_out() -> None:
    table = pa.table(
        {
            "true": [["war", "war"], None, [], ["noir", None]],
            "called": [["war"], ["war"], [], None],
            "war": [0.9, 0.2, 0.1, 0.3],
            "noir": [0.1, 0.2, 0.3, float("nan")],
        }
    )
    report = og.metrics.multilabel_report(table, "true", "called")
    assert (report.rows, report.missing, report["accuracy"]) == (2, 2, 1.0)
    scored = og.metrics.multilabel_report(table, "true", y_score={"noir": "noir", "war": "war"})
    assert (scored.rows, scored.labels, scored["lrap"]) == (2, ["noir", "war"], 1.0)
    few = og.metrics.multilabel_report(pa.table({"y": [["a"], ["b"]], "p": [["a"], ["a"]]}), "y", "p")
    assert few.interval("accuracy") == (0.0, 1.0)
    low, high = report.interval("hamming_loss")
    assert low == high == 0
    assert "MultilabelReport of 2 rows" in repr(report)


def test_what_cannot_be_is_refused() -> None:
    report = og.metrics.multilabel_report
    y, p, scores = made(1, 5)
    table = table_of(y, p, scores).append_column("true", lists(y))
    with pytest.raises(ParameterError, match="Give y_pred"):
        report(table, columns("y"))
    with pytest.raises(ParameterError, match="two columns of lists"):
        report(table, columns("y"), "true")
    with pytest.raises(ParameterError, match="3 scores a row"):
        report(table, columns("y"), y_score=columns("s", 3))
    with pytest.raises(SchemaError, match="y0 holds no lists"):
        report(table, "y0", "true")
    with pytest.raises(DataError, match="is 0 or 1"):
        report(table, columns("s"), columns("p"))
    with pytest.raises(DataError, match="without a column in y_score"):
        report(table, "true", y_score={"war": "s0"})
    with pytest.raises(DataError, match="no row"):
        report(table, columns("y"), columns("p"), sample_weight=np.zeros(5))
