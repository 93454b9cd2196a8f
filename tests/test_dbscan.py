"""DBSCAN: cores and their clusters are scikit-learn's, and border rows go to the nearest core."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.datasets import make_moons

import outgrow as og
from outgrow.errors import DataError
from outgrow.ml.neighbors import density, index
from outgrow.testing import EngineCase


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 17]),
    st.sampled_from([("euclidean", 0.7), ("manhattan", 0.9), ("chebyshev", 0.5), ("cosine", 0.1)]),
    st.integers(1, 6),
    st.booleans(),
)
def test_cores_and_clusters_are_scikit_learns(
    seed: int, width: int, how: tuple[str, float], least: int, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    X = random.normal(size=(80, width)) * random.choice([0.1, 1.0])
    weight = random.integers(1, 4, 80).astype(float) if weighted else None
    metric, eps = how
    ours = og.DBSCAN(eps, min_samples=least, metric=metric).fit(X, sample_weight=weight)
    theirs = sklearn.cluster.DBSCAN(eps=eps, min_samples=least, metric=metric).fit(X, sample_weight=weight)
    cores = np.zeros(80, dtype=bool)
    cores[theirs.core_sample_indices_] = True
    assert len(ours.components_) == cores.sum()
    np.testing.assert_array_equal(ours.labels_ < 0, theirs.labels_ < 0)
    pairs = {*zip(ours.labels_[cores].tolist(), theirs.labels_[cores].tolist(), strict=True)}
    assert len(pairs) == len(set(theirs.labels_[cores])) == ours.n_clusters_
    if cores.any() and metric != "cosine":
        apart = cdist(X, X[cores], metric if metric != "manhattan" else "cityblock")
        inside = apart.min(axis=1) <= eps
        np.testing.assert_array_equal(ours.labels_[inside], ours.labels_[cores][apart.argmin(axis=1)][inside])
        np.testing.assert_allclose(ours.core_distances(X), apart.min(axis=1), atol=1e-9)


def test_any_shape_on_any_engine(engine: EngineCase) -> None:
    X, kind = make_moons(300, noise=0.05, random_state=0)
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "kind": kind})
    model = og.DBSCAN(0.2).fit(engine.open(table), "kind")
    assert model.n_clusters_ == 2
    assert og.stats.cluster_agreement(model.predict(table), "kind", "prediction").adjusted_rand == 1
    np.testing.assert_array_equal(model.components_, og.DBSCAN(0.2).fit(table, "kind").components_)


def test_near_pairs_are_never_held_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scikit-learn's memory grows with the square of the rows of a dense place (#17650)."""
    X = np.random.default_rng(0).normal(size=(400, 2))
    whole = og.DBSCAN(0.3).fit(X, sample_weight=np.full(400, 2.0))
    monkeypatch.setattr(index, "COMPILED_FROM", 1000)
    monkeypatch.setattr(density, "COMPILED_FROM", 1000)
    monkeypatch.setattr(density, "_PAIRS", 50)
    monkeypatch.setattr(density, "_ROWS", 7)
    parts = og.DBSCAN(0.3).fit(X, sample_weight=np.full(400, 2.0))
    np.testing.assert_array_equal(whole.labels_, parts.labels_)


def test_rows_alone_and_rows_alike() -> None:
    model = og.DBSCAN(0.5, min_samples=2).fit(np.array([[0.0], [10.0], [20.0]]))
    assert model.labels_.tolist() == [-1, -1, -1]
    assert np.isinf(model.core_distances(np.zeros((1, 1)))).all()
    far = og.DBSCAN(1e-3, min_samples=2).fit(1e9 + np.array([[0.0], [0.0], [0.01], [0.01]]))
    assert far.labels_.tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    with pytest.raises(DataError, match="nothing but zeros"):
        og.DBSCAN(metric="cosine").fit(np.zeros((3, 2)))


def test_rows_past_the_memory_are_refused() -> None:
    """Those who keep all rows say how much they need, before anything is brought together."""
    X = np.arange(400.0).reshape(100, 4)
    small = og.dataset(pa.table({f"x{j}": X[:, j] for j in range(4)}), engine=og.Local(memory=4000))
    with pytest.raises(
        DataError, match=r"DBSCAN keeps all rows of its fit: 100 of 5 columns need about 8 KiB"
    ):
        og.DBSCAN().fit(small)
    with pytest.raises(DataError, match=r"in each task, of a budget of 4 KiB"):
        og.NearestNeighbors().fit(small)
