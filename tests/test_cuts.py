"""One model for any cut of the rows: pieces, order, engines, kinds of input, behind steps that round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.testing import EngineCase, pieces_case

ROWS = 4200
"""More than k-means reads for two clusters, so it samples."""
TREES = {"n_estimators": 8, "max_depth": 4, "random_state": 3}


def skewed(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Rows of every kind: skewed numbers, missing ones, a lattice with many ties, categories."""
    random = np.random.default_rng(seed)
    x = random.gamma(2.0, 3.0, (rows, 3))
    few = random.integers(0, 4, (rows, 2)).astype(float)
    holes = np.where(random.uniform(size=rows) < 0.1, np.nan, x[:, 0] * 1e3)
    y = x[:, 0] * np.sin(x[:, 1]) + few[:, 0] + random.normal(size=rows)
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "i": few[:, 0], "j": few[:, 1]}
    words = random.choice(["n", "e", "s"], rows)
    holes = pa.array(holes, from_pandas=True)
    return pa.table({**columns, "h": holes, "w": words, "y": y, "late": (y > 5).astype(int)})


def numeric(*steps: Any) -> og.Pipeline:
    imputer, scaler = og.SimpleImputer(columns=og.numeric()), og.StandardScaler(columns=og.numeric())
    return og.Pipeline([imputer, scaler, *steps])


def mixed(*steps: Any) -> og.Pipeline:
    return numeric(og.OneHotEncoder(columns=og.categorical()), *steps)


PIPELINES: dict[str, tuple[Callable[[], Any], str | None]] = {
    "k-means of a sample": (lambda: mixed(og.KMeans(2, random_state=3)), None),
    "k-means behind PCA": (lambda: mixed(og.PCA(3), og.KMeans(5)), None),
    "k-means, several starts": (lambda: mixed(og.KMeans(6, n_init=3, random_state=1)), None),
    "early stopping": (lambda: mixed(og.GradientBoostingRegressor(early_stopping=True, **TREES)), "y"),
    "sampled rows and columns": (
        lambda: mixed(og.GradientBoostingClassifier(subsample=0.5, max_features=0.5, **TREES)),
        "late",
    ),
    "absolute errors": (
        lambda: mixed(og.HistGradientBoostingRegressor(loss="absolute_error", max_iter=8, max_depth=4)),
        "y",
    ),
    "a quantile of sampled rows": (
        lambda: mixed(og.GradientBoostingRegressor(loss="quantile", alpha=0.8, subsample=0.5, **TREES)),
        "y",
    ),
    "forest": (lambda: mixed(og.RandomForestRegressor(**TREES)), "y"),
    "forest of classes": (lambda: mixed(og.RandomForestClassifier(**TREES)), "late"),
}


def features(table: pa.Table, target: str | None) -> pa.Table:
    gone = {"y", "late"} - {target}
    return table.drop_columns(list(gone))


def answers(model: Any, table: pa.Table) -> np.ndarray:
    rows = table.drop_columns(["y", "late"])
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows)["probability_1"].to_numpy()
    answers: np.ndarray = model.predict(rows)["prediction"].to_numpy()
    return answers


@pytest.fixture(scope="module")
def whole() -> dict[str, np.ndarray]:
    """What each pipeline answers that learned from one piece, in the order of the rows."""
    table = skewed()
    found = {}
    for name, (make, target) in PIPELINES.items():
        rows = pieces_case(1, threads=1).open(features(table, target))
        found[name] = answers(make().fit(rows, target), table)
    return found


@pytest.mark.parametrize("name", PIPELINES)
def test_one_model_on_every_engine(engine: EngineCase, name: str, whole: dict[str, np.ndarray]) -> None:
    table, (make, target) = skewed(), PIPELINES[name]
    other = features(table, target).take(np.random.default_rng(5).permutation(table.num_rows))
    model = make().fit(engine.open(other), target)
    assert np.allclose(answers(model, table), whole[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "last",
    [og.GradientBoostingRegressor(n_estimators=3), og.RandomForestRegressor(n_estimators=3, max_depth=4)],
)
def test_one_model_of_more_rows_than_decide_the_bins(last: Any) -> None:
    random = np.random.default_rng(1)
    x = random.gamma(2.0, 3.0, 210_000)
    table = pa.table({"x": x, "z": random.normal(size=len(x)), "y": np.sin(x)})
    few = table.slice(0, 5000).drop_columns(["y"])
    found = []
    for pieces, rows in ((1, table), (3, table.take(random.permutation(len(x))))):
        model = og.Pipeline([og.StandardScaler(), last]).fit(pieces_case(pieces).open(rows), "y")
        found.append(model.predict(few)["prediction"].to_numpy())
    assert np.allclose(*found, rtol=0, atol=1e-9)


def test_arrays_tables_and_sparse_matrices_are_clustered_alike() -> None:
    table = skewed().select(["a", "b", "c", "i", "j"])
    X = np.column_stack([column.to_numpy() for column in table.columns])
    inputs = (
        X,
        table,
        table.to_pandas(),
        sp.csr_array(X),
        pa.table({"x": pa.FixedSizeListArray.from_arrays(X.ravel(), 5)}),
    )
    centers = [og.KMeans(2, random_state=3).fit(rows).cluster_centers_ for rows in inputs]
    for other in centers[1:]:
        assert np.allclose(centers[0], other, rtol=0, atol=1e-9)


def test_arrays_and_tables_hold_out_the_same_rows() -> None:
    table = skewed()
    rows, y = table.select(["a", "b", "c", "i", "j"]), table["y"].to_numpy()
    X = np.column_stack([column.to_numpy() for column in rows.columns])
    model = og.GradientBoostingRegressor(early_stopping=True, **TREES)
    losses = [model.fit(X, y).validation_loss_, model.fit(rows, y).validation_loss_]
    assert np.allclose(*losses, rtol=0, atol=1e-9)


@given(
    st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=12, max_size=60),
    st.integers(1, 5),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_rows_on_a_lattice_have_one_clustering(
    rows: list[tuple[int, ...]], clusters: int, pieces: int, random: Any
) -> None:
    """On a lattice rows are as far from two centers, and starts cost the same: rounding must not choose."""
    X = np.array(rows, dtype=float) / 3
    shuffled = X[random.sample(range(len(X)), len(X))]
    names = ["a", "b", "c"]

    def centers(values: np.ndarray, pieces: int) -> np.ndarray:
        table = pa.table(dict(zip(names, values.T, strict=True)))
        model = og.Pipeline([og.StandardScaler(), og.KMeans(clusters, tol=0.0)])
        found: np.ndarray = model.fit(pieces_case(pieces).open(table))[-1].cluster_centers_
        return found

    assert np.allclose(centers(X, 1), centers(shuffled, pieces), rtol=0, atol=1e-7)
