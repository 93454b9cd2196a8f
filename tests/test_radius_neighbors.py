"""Rows within a radius, graphs of neighbours and models of them, beside scikit-learn's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import neighbors

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase


def some(rows: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(rows, width)), random.normal(size=rows), random.normal(size=(40, width))


def middling(X: np.ndarray, queries: np.ndarray, metric: str) -> float:
    """A radius in which many rows have neighbours, but not all."""
    known = neighbors.NearestNeighbors(metric=metric).fit(X)
    return float(np.quantile(known.kneighbors(queries, 2)[0][:, -1], 0.8))


@pytest.mark.parametrize(("rows", "width"), [(60, 2), (900, 2), (900, 30)])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_near_rows_and_graphs_are_scikit_learns(rows: int, width: int, metric: str) -> None:
    X, _, queries = some(rows, width)
    radius = middling(X, queries, metric)
    ours = og.NearestNeighbors(3, radius=radius, metric=metric).fit(X)
    theirs = neighbors.NearestNeighbors(n_neighbors=3, radius=radius, metric=metric).fit(X)
    for asked in (queries, None):
        found, wanted = ours.radius_neighbors(asked), theirs.radius_neighbors(asked, sort_results=True)
        for k in range(len(wanted[0])):
            np.testing.assert_allclose(found[0][k], wanted[0][k], atol=1e-9)
            assert {*found[1][k].tolist()} == {*wanted[1][k].tolist()}
        for mode in ("connectivity", "distance"):
            for name in ("kneighbors_graph", "radius_neighbors_graph"):
                one, other = (getattr(model, name)(asked, mode=mode) for model in (ours, theirs))
                np.testing.assert_allclose(one.toarray(), other.toarray(), atol=1e-9)
    edges, graph = ours.radius_edges(), theirs.radius_neighbors_graph()
    assert len(edges) * 2 == graph.nnz
    assert graph[edges["src"].to_numpy(), edges["dst"].to_numpy()].min() == 1


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda distances: np.exp(-distances)])
@pytest.mark.parametrize("rows", [60, 900])
def test_models_are_scikit_learns(weights: Any, rows: int) -> None:
    X, y, queries = some(rows, 2)
    X = np.concatenate([X, queries[:3]])  # at no distance
    y = np.concatenate([y, [0.0, 1.0, 2.0]])
    radius = middling(X, queries, "euclidean")

    def each(distances: Any) -> Any:
        made = np.empty(len(distances), dtype=object)
        made[:] = [weights(own) for own in distances]
        return made

    theirs = neighbors.RadiusNeighborsRegressor(radius, weights=each if callable(weights) else weights)
    ours = og.RadiusNeighborsRegressor(radius, weights=weights).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = theirs.fit(X, y).predict(queries)
    assert np.isnan(wanted).any()
    with pytest.warns(UserWarning, match="rows have no neighbour within radius"):
        np.testing.assert_allclose(ours.predict(queries), wanted)
    labels = np.where(y > 0.4, 2, np.where(y < -0.4, 0, 1))
    known = neighbors.RadiusNeighborsClassifier(
        radius, weights=each if callable(weights) else weights, outlier_label=1
    ).fit(X, labels)
    model = og.RadiusNeighborsClassifier(radius, weights=weights, outlier_label=1).fit(X, labels)
    np.testing.assert_allclose(model.predict_proba(queries), known.predict_proba(queries), atol=1e-12)


def test_rows_without_neighbours() -> None:
    """scikit-learn gives a label that is none of the classes no probability (#9629, #26828)."""
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array(["a", "b", "b"])
    far = np.array([[0.0], [50.0]])
    with pytest.raises(DataError, match=r"1 rows have no neighbour within radius=1.*those at \[1\]"):
        og.RadiusNeighborsClassifier().fit(X, y).predict(far)
    common = og.RadiusNeighborsClassifier(outlier_label="most_frequent").fit(X, y)
    assert common.predict_proba(far).tolist() == [[0.5, 0.5], [0.0, 1.0]]
    with pytest.raises(ParameterError, match="outlier_label='c' is none of the classes"):
        og.RadiusNeighborsClassifier(outlier_label="c").fit(X, y)
    with pytest.raises(ParameterError, match="radius"):
        og.NearestNeighbors(1).fit(X).radius_neighbors(X, -1.0)
    with pytest.raises(ParameterError, match="mode"):
        og.NearestNeighbors(1).fit(X).kneighbors_graph(mode="weights")


def test_models_call_rows_by_their_positions(engine: EngineCase) -> None:
    X, y, queries = some(50, 2)
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "y": y})
    weight = np.random.default_rng(1).integers(0, 2, 50).astype(float)
    for model in (og.KNeighborsRegressor(3), og.RadiusNeighborsRegressor(9.0)):
        np.testing.assert_array_equal(X[model.fit(table, "y").ids_], model.rows_)
        np.testing.assert_array_equal(X[model.fit(X, y, sample_weight=weight).ids_], model.rows_)
        assert model.n_samples_fit_ == weight.sum()
    wanted = neighbors.KNeighborsRegressor(3).fit(X, y)
    model = og.KNeighborsRegressor(3).fit(X, y)
    for asked in (queries, None):
        np.testing.assert_array_equal(model.kneighbors(asked)[1], wanted.kneighbors(asked)[1])
    spread = og.RadiusNeighborsRegressor(0.7).fit(engine.open(table), "y")
    near = og.RadiusNeighborsRegressor(0.7).fit(X, y)
    answers = spread.predict(table.slice(0, 20))["prediction"].to_numpy()
    np.testing.assert_allclose(answers, near.predict(X[:20]), rtol=1e-12)
