"""Several targets by the nearest rows, and the metrics of labels, beside scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics
from sklearn.neighbors import KNeighborsClassifier

import outgrow as og
from outgrow.errors import DataError
from outgrow.testing import EngineCase

RANDOM = np.random.default_rng(0)
X, QUERIES = RANDOM.normal(size=(150, 3)), RANDOM.normal(size=(40, 3))


def labels(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows[:, 0] > 0, rows[:, 1] + rows[:, 2] > 0.5, rows[:, 2] > 1]).astype(np.int64)


def table(rows: np.ndarray) -> pa.Table:
    colours = np.array(["blue", "green", "red"])[np.digitize(rows[:, 0], [-0.5, 0.5])]
    columns = {name: rows[:, j] for j, name in enumerate("abc")}
    return pa.table({**columns, "colour": colours, "large": labels(rows)[:, 1]})


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_votes_are_those_of_scikit_learn(weights: str) -> None:
    ours = og.KNeighborsClassifier(4, weights=weights).fit(X, labels(X))
    theirs = KNeighborsClassifier(4, weights=weights).fit(X, labels(X))
    np.testing.assert_array_equal(ours.predict(QUERIES), theirs.predict(QUERIES))
    for mine, other in zip(ours.predict_proba(QUERIES), theirs.predict_proba(QUERIES), strict=True):
        np.testing.assert_allclose(mine, other)
    np.testing.assert_array_equal(ours.to_sklearn().predict(QUERIES), ours.predict(QUERIES))


def test_metrics_of_labels_are_those_of_scikit_learn() -> None:
    model = og.KNeighborsClassifier(3).fit(X, labels(X))
    y, predicted = labels(QUERIES), model.predict(QUERIES)
    weight = RANDOM.uniform(0.5, 2, len(y))
    scores = model.evaluate(QUERIES, y, weight)
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted, sample_weight=weight))
    assert scores["hamming_loss"] == pytest.approx(metrics.hamming_loss(y, predicted, sample_weight=weight))
    for average in ("micro", "macro"):
        expected = metrics.f1_score(y, predicted, average=average, sample_weight=weight)
        assert scores[f"f1_{average}"] == pytest.approx(expected)


def test_several_columns_on_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    model = og.KNeighborsClassifier(3).fit(engine.open(table(X)), ["colour", "large"])
    assert [classes.tolist() for classes in model.classes_] == [["blue", "green", "red"], [0, 1]]
    alone = [og.KNeighborsClassifier(3).fit(X, table(X)[name].to_numpy()) for name in ("colour", "large")]
    model.save(tmp_path / "model")
    predicted = og.load(tmp_path / "model").predict(table(QUERIES))
    for name, one in zip(("colour", "large"), alone, strict=True):
        assert predicted[f"prediction_{name}"].to_pylist() == one.predict(QUERIES).tolist()
    scores = model.evaluate(engine.open(table(QUERIES)), ["colour", "large"])
    wrong = 1 - np.mean([scores["accuracy_colour"], scores["accuracy_large"]])
    assert scores["hamming_loss"] == pytest.approx(wrong)
    assert "f1_micro" not in scores  # colours are three


def test_bad_input() -> None:
    with pytest.raises(DataError, match="n_neighbors"):
        og.KNeighborsClassifier(200).fit(X, labels(X))
