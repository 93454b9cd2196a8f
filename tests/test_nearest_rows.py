"""Neighbours beside scikit-learn's exact search; ties, weights, and what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn import neighbors

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.ml.neighbors.search import Search
from outgrow.testing import EngineCase


def points(width: int = 3, rows: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width))


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine", "minkowski"])
@pytest.mark.parametrize("width", [3, 20])
def test_neighbours_are_scikit_learns(metric: str, width: int) -> None:
    X, queries = points(width), points(width, 40, 1)
    ours = og.NearestNeighbors(4, metric=metric, p=3).fit(X)
    theirs = neighbors.NearestNeighbors(n_neighbors=4, metric=metric, p=3).fit(X)
    for given_rows in (queries, None):
        found, wanted = ours.kneighbors(given_rows), theirs.kneighbors(given_rows)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_array_equal(
        ours.kneighbors(queries, 2, return_distance=False), found_places(ours, queries)
    )


def found_places(model: og.NearestNeighbors, queries: np.ndarray) -> np.ndarray:
    places: np.ndarray = model.transform(queries)[:, :2].astype(int)
    return places


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 16]), st.integers(1, 30), st.sampled_from([0.0, 1e7]))
def test_of_rows_as_far_the_first_are_found(seed: int, width: int, count: int, far: float) -> None:
    """Whole numbers lie on spheres about each other; so it is for any number of queries at once."""
    random = np.random.default_rng(seed)
    rows = far + random.integers(-2, 3, (60, width)).astype(float)
    queries = far + random.integers(-2, 3, (7, width)).astype(float)
    search = Search(rows, "euclidean", 2)
    wanted = np.argsort(cdist(queries - far, rows - far), axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(search.nearest(queries, count)[1], wanted)
    np.testing.assert_array_equal(search.nearest(queries[:1], count)[1], wanted[:1])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_models_are_scikit_learns(weights: str, metric: str) -> None:
    X, y = points(), points(1, 200, 2)[:, 0]
    labels = np.where(y > 0.4, "high", np.where(y < -0.4, "low", "middle"))
    queries = np.concatenate([points(3, 50, 3), X[:5]])
    how: dict[str, Any] = {"n_neighbors": 6, "weights": weights, "metric": metric}
    ours = og.KNeighborsClassifier(**how).fit(X, labels)
    theirs = neighbors.KNeighborsClassifier(**how).fit(X, labels)
    np.testing.assert_allclose(ours.predict_proba(queries), theirs.predict_proba(queries), atol=1e-9)
    np.testing.assert_array_equal(ours.to_sklearn().predict(queries), ours.predict(queries))
    values = og.KNeighborsRegressor(**how).fit(X, y).predict(queries)
    np.testing.assert_allclose(values, neighbors.KNeighborsRegressor(**how).fit(X, y).predict(queries))


def test_engines_agree_and_rows_keep_their_keys(engine: EngineCase) -> None:
    X = np.random.default_rng(4).integers(0, 3, (80, 2)).astype(float)
    table = pa.table({"shop": np.arange(80) + 100, "a": X[:, 0], "b": X[:, 1]})
    local = og.NearestNeighbors(3, id="shop").fit(table)
    model = og.NearestNeighbors(3, id="shop").fit(engine.open(table))
    np.testing.assert_array_equal(local.ids_, model.ids_)
    people = pa.table({"name": ["Ann", "Bob"], "a": [0.4, 2.0], "b": [1.0, 1.9]})
    found = model.transform(engine.open(people)).to_arrow().sort_by("name")
    assert found.column_names == [
        "name",
        *(f"neighbor{k}" for k in range(3)),
        *(f"distance{k}" for k in range(3)),
    ]
    assert found.to_pylist() == local.transform(people).to_pylist()
    with pytest.raises(ParameterError, match=r"id='store'.*no such column"):
        og.NearestNeighbors(1, id="store").fit(engine.open(table))


def test_weights_count_in_votes_and_nothing_is_no_neighbour() -> None:
    X, y = np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([0.0, 1.0, 2.0, 9.0])
    model = og.KNeighborsRegressor(2).fit(X, y, sample_weight=np.array([3.0, 1.0, 0.0, 1.0]))
    assert model.n_samples_fit_ == 3
    assert model.predict(np.array([[1.9]])).tolist() == [0.25]
    classes = og.KNeighborsClassifier(2).fit(X, y > 1.5, sample_weight=np.array([3.0, 1.0, 0.0, 1.0]))
    assert classes.predict_proba(np.array([[6.0]])).tolist() == [[0.5, 0.5]]
    with pytest.raises(ExportError, match="its rows have weights"):
        model.to_sklearn()
    nearest = og.KNeighborsRegressor(2, weights="distance").fit(X, y)
    assert nearest.predict(np.array([[1.0]])).tolist() == [1.0]


def test_what_cannot_be_is_said() -> None:
    for model in (og.KNeighborsRegressor(4), og.KNeighborsClassifier(4)):
        with pytest.raises(DataError, match="n_neighbors = 4, n_samples = 3"):
            model.fit(np.eye(3), [0, 1, 1])
    with pytest.raises(DataError, match="n_neighbors = 4, n_samples = 3"):
        og.NearestNeighbors(4).fit(np.eye(3)).transform(np.eye(3))
    few = og.NearestNeighbors(4, radius=2.0).fit(np.eye(3))  # who asks for radii alone never meets the rest
    assert [len(near) for near in few.radius_neighbors(return_distance=False)] == [2, 2, 2]
    with pytest.raises(DataError, match="n_neighbors = 4, n_samples = 3"):
        few.kneighbors(np.eye(3))
    known = og.NearestNeighbors(1).fit(np.eye(3))
    with pytest.raises(DataError, match="n_neighbors = 3, n_samples = 2"):
        known.kneighbors(n_neighbors=3)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        og.KNeighborsRegressor(1).fit(sp.csr_array(np.eye(9)), np.arange(9.0))
    repeated = og.NearestNeighbors(2).fit(np.zeros((4, 1)))
    assert all(k not in row for k, row in enumerate(repeated.kneighbors()[1].tolist()))
