"""What a model makes of its columns: scikit-learn's averages, the same shuffles on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError
from outgrow.inspection import permutation
from outgrow.testing import EngineCase

RNG = np.random.default_rng(4)
N = 400
ROWS = pd.DataFrame(
    {
        "age": RNG.normal(size=N),
        "visits": RNG.integers(0, 4, N).astype(float),
        "town": RNG.choice(["Bern", "Oslo", "Rome"], N),
        "member": RNG.random(N) < 0.5,
        "noise": RNG.normal(size=N),
    }
)
LATE = ROWS["age"] + 2 * (ROWS["town"] == "Oslo") + RNG.normal(size=N) * 0.3
ROWS["late"] = np.select([LATE > 1.5, LATE > 0], ["very", "some"], "no")
ROWS["minutes"] = 10 * LATE
ROWS["weight"] = RNG.integers(0, 3, N).astype(float)
COLUMNS = ["age", "visits", "town", "member", "noise"]


def pipeline(model: Any) -> og.Pipeline:
    return og.Pipeline([("codes", og.OneHotEncoder(columns=["town", "member"])), ("model", model)])


def fitted(model: Any, target: str) -> og.Pipeline:
    return pipeline(model).fit(ROWS[[*COLUMNS, target]], target)


CLASSES, NUMBERS = fitted(og.LogisticRegression(), "late"), fitted(og.Ridge(), "minutes")


@pytest.mark.parametrize("target", ["late", "minutes"])
def test_averages_are_scikit_learns(target: str) -> None:
    model = CLASSES if target == "late" else NUMBERS
    equal, X = model.to_sklearn(), ROWS[COLUMNS]
    weight = ROWS["weight"].to_numpy()
    for features in ("age", "visits", "town", "member", ("age", "town")):
        names = [features] if isinstance(features, str) else list(features)
        words = [name for name in names if name in ("town", "member")]
        for weights in (None, weight):
            expected = partial_dependence(
                equal,
                X,
                names,
                sample_weight=weights,
                categorical_features=words or None,
                grid_resolution=6,
            )
            found = og.inspection.partial_dependence(
                model, X, features, grid_resolution=6, sample_weight=weights
            )
            for values, others in zip(found.grid_values, expected["grid_values"], strict=True):
                assert [*values] == (
                    [*others] if words == names else pytest.approx([*others], abs=1e-12)
                ) or words
            np.testing.assert_allclose(found.average, expected["average"], rtol=0, atol=1e-11)


def test_single_rows_are_scikit_learns() -> None:
    found = og.inspection.partial_dependence(NUMBERS, ROWS[COLUMNS], "age", grid_resolution=4, individual=N)
    expected = partial_dependence(
        NUMBERS.to_sklearn(), ROWS[COLUMNS], ["age"], grid_resolution=4, kind="both"
    )
    np.testing.assert_allclose(found.individual.mean(axis=1), found.average, rtol=1e-10)
    np.testing.assert_allclose(
        np.sort(found.individual, axis=1), np.sort(expected["individual"], axis=1), rtol=0, atol=1e-9
    )
    error = expected["individual"].std(axis=1) / np.sqrt(N)
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-9)


def test_every_engine_agrees(engine: EngineCase) -> None:
    rows = engine.open(pa.Table.from_pandas(ROWS, preserve_index=False))
    for weight in (None, "weight"):
        here, there = (
            og.inspection.permutation_importance(CLASSES, data, "late", n_repeats=2, sample_weight=weight)
            for data in (ROWS, rows)
        )
        np.testing.assert_allclose(here.scores["log_loss"], there.scores["log_loss"], rtol=1e-9)
        np.testing.assert_array_equal(here.importances, there.importances)
    here, there = (
        og.inspection.partial_dependence(NUMBERS, data, ["age", ("town", "visits")], individual=7)
        for data in (ROWS, rows)
    )
    for name in here:
        np.testing.assert_allclose(here[name].average, there[name].average, rtol=1e-9)
        np.testing.assert_allclose(here[name].individual, there[name].individual, rtol=1e-9)


def test_importance_is_what_scikit_learn_estimates() -> None:
    found = og.inspection.permutation_importance(NUMBERS, ROWS, "minutes", n_repeats=15)
    expected = permutation_importance(
        NUMBERS.to_sklearn(), ROWS[COLUMNS], ROWS["minutes"], n_repeats=15, random_state=0
    )
    spread = np.hypot(found.standard_error, expected.importances_std / np.sqrt(15))
    assert (np.abs(found.importances_mean - expected.importances_mean) < 5 * spread + 1e-12).all()
    np.testing.assert_allclose(found.importances_std, expected.importances_std, rtol=0.5, atol=1e-3)
    assert found.baseline == pytest.approx(NUMBERS.score(ROWS, "minutes"))
    assert found.to_arrow()["column"].to_pylist()[:2] == ["age", "town"]
    assert found.of("mse").importances_mean[0] > 0  # which grows when a column is lost


def test_shuffled_values_are_those_of_the_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation where all rows are dealt out; where a sample is, the same up to its noise."""
    X = np.column_stack([np.arange(N, dtype=float), np.ones(N)])
    model = og.LinearRegression().fit(X, X[:, 0])
    whole = og.inspection.permutation_importance(model, X, X[:, 0], n_repeats=60, metric="mse")
    spread = 2 * X[:, 0].var() * N / (N - 1)
    assert whole.importances_mean[0] == pytest.approx(spread, abs=6 * whole.standard_error[0])
    assert whole.importances_mean[1] == pytest.approx(0, abs=1e-9)
    monkeypatch.setattr(permutation, "DONOR_ROWS", 300)
    sampled = og.inspection.permutation_importance(model, X, X[:, 0], n_repeats=60, metric="mse")
    assert sampled.importances_mean[0] == pytest.approx(spread, rel=0.15)


def test_equal_rows_get_different_values() -> None:
    """Few different rows: all copies of one would else get the same value."""
    X = np.repeat(np.array([[0.0], [1.0]]), 200, axis=0)
    model = og.LinearRegression().fit(X, X[:, 0])
    found = og.inspection.permutation_importance(model, X, X[:, 0], metric="mse")
    np.testing.assert_allclose(found.importances, 0.5, atol=0.12)


def test_many_scores_are_counted_in_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = og.inspection.permutation_importance(CLASSES, ROWS, "late", metric="roc_auc_ovr")
    monkeypatch.setattr(permutation, "EXACT_SCORES", 0)
    binned = og.inspection.permutation_importance(CLASSES, ROWS, "late", metric="roc_auc_ovr")
    np.testing.assert_allclose(binned.importances, exact.importances, atol=5e-3)
    np.testing.assert_array_equal(binned.of("accuracy").importances, exact.of("accuracy").importances)


def test_columns_of_vectors_and_dates() -> None:
    X = RNG.normal(size=(200, 3))
    when = pd.date_range("2026-01-01", periods=200, freq="h")
    table = pa.table(
        {
            "v": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3),
            "when": when,
            "y": X[:, 0] + np.arange(200) / 100,
        }
    )
    steps = [("times", og.DatetimeEncoder(columns=["when"])), ("model", og.Ridge())]
    model = og.Pipeline(steps).fit(table, "y")
    found = og.inspection.permutation_importance(model, table, "y")
    assert found.columns == ("v", "when")
    assert (found.importances_mean > 0.1).all()
    dates = og.inspection.partial_dependence(model, table, "when", custom_values={"when": when[[0, 199]]})
    assert dates.average[0, 1] > dates.average[0, 0]
    with pytest.raises(ParameterError, match="'v' holds vectors"):
        og.inspection.partial_dependence(model, table, "v")


def test_arrays_and_several_targets() -> None:
    X = RNG.normal(size=(100, 2))
    model = og.LinearRegression().fit(X, np.column_stack([X[:, 0], 5 * X[:, 1]]))
    found = og.inspection.partial_dependence(
        model, X, 1, custom_values={1: [0.0, 1.0]}, sample_weight=np.ones(100)
    )
    assert found.average.shape == (2, 2)
    np.testing.assert_allclose(np.diff(found.average, axis=1)[:, 0], [0, 5], atol=1e-9)
    assert og.inspection.permutation_importance(model, X, X * [1, 5]).importances.shape == (2, 5)


def test_isolation_and_clusters() -> None:
    X = RNG.normal(size=(200, 2))
    forest = og.IsolationForest(n_estimators=2).fit(X)
    assert og.inspection.partial_dependence(forest, X, 0, grid_resolution=3).average.shape == (1, 3)
    assert og.inspection.permutation_importance(forest, X).metric == "mean_score"
    clusters = og.KMeans(n_clusters=2).fit(X)
    assert (og.inspection.permutation_importance(clusters, X).importances_mean > 0).all()
    with pytest.raises(ParameterError, match="KMeans have no average"):
        og.inspection.partial_dependence(clusters, X, 0)


def test_what_cannot_be_is_refused() -> None:
    importance, dependence = og.inspection.permutation_importance, og.inspection.partial_dependence
    with pytest.raises(NotFittedError):
        importance(og.Ridge(), ROWS, "minutes")
    with pytest.raises(ColumnNotFoundError, match="'agee' is no column"):
        importance(CLASSES, ROWS, "late", columns=["agee"])
    with pytest.raises(ColumnNotFoundError, match="5 is no column"):
        dependence(CLASSES, ROWS, 5)
    with pytest.raises(ParameterError, match="metric='r2'"):
        importance(CLASSES, ROWS, "late", metric="r2")
    with pytest.raises(ParameterError, match="n_repeats"):
        importance(CLASSES, ROWS, "late", n_repeats=0)
    with pytest.raises(ParameterError, match="requires y"):
        importance(CLASSES, ROWS)
    with pytest.raises(ParameterError, match="pairs of two different"):
        dependence(CLASSES, ROWS, [("age", "age")])
    with pytest.raises(ParameterError, match="response_method='predict'"):
        dependence(CLASSES, ROWS, "age", response_method="predict")
    with pytest.raises(ParameterError, match="percentiles"):
        dependence(CLASSES, ROWS, "age", percentiles=(0.9, 0.1))
    with pytest.raises(ParameterError, match="are no values of"):
        dependence(CLASSES, ROWS, "age", custom_values={"age": ["old"]})
    mostly = ROWS.assign(age=np.where(np.arange(N) < 30, ROWS["age"], 0.0))
    with pytest.raises(ParameterError, match="are the same, 0"):
        dependence(CLASSES, mostly, "age", grid_resolution=5)
    with pytest.raises(DataError, match=r"no rows|has no value"):
        dependence(CLASSES, ROWS.iloc[:0], "age")


def test_moments_in_a_dependence_are_moments() -> None:
    days = pd.date_range("2020-01-01", periods=30)
    rows = pd.DataFrame({"day": days, "kind": np.where(np.arange(30) % 2, "a", "b")})
    steps = [og.DatetimeEncoder(columns="day"), og.OneHotEncoder(columns="kind"), og.LinearRegression()]
    model = og.Pipeline(steps).fit(rows, np.arange(30.0))
    found = og.inspection.partial_dependence(model, rows, "day").to_pandas()
    assert found["day"].tolist() == days.tolist()
    both = og.inspection.partial_dependence(model, rows, [("kind", "day")])[("kind", "day")].to_arrow()
    assert both["day"].to_pandas().tolist() == [*days, *days]
    assert both["kind"].to_pylist() == ["a"] * 30 + ["b"] * 30
