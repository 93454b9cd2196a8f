"""BisectingKMeans: splits are those that come one after the other, and no worse than scikit-learn's."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn.cluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import DataError
from outgrow.ml.cluster import bisecting, nearest
from outgrow.ml.cluster.halving import CenterTree, halves


def blobs(seed: int = 0, rows: int = 400) -> np.ndarray:
    random = np.random.default_rng(seed)
    middles = 20 * random.standard_normal((8, 3))
    return middles[random.integers(0, 8, rows)] + random.standard_normal((rows, 3))


def one_after_the_other(X: np.ndarray, tree: og.BisectingKMeans, clusters: int) -> list[int]:
    """The sizes of the clusters when the worst is always split as the tree says."""
    left, centers = tree.tree_left_, tree.tree_centers_
    members = {0: np.arange(len(X))}
    while len(members) < clusters:
        cost = {n: ((X[rows] - X[rows].mean(axis=0)) ** 2).sum() for n, rows in members.items()}
        worst = max(cost, key=lambda node: cost[node])
        rows, first = members.pop(worst), left[worst]
        assert first > 0, "the cluster with the largest inertia is one that was split"
        apart = [((X[rows] - centers[first + side]) ** 2).sum(axis=1) for side in (0, 1)]
        members[first], members[first + 1] = rows[apart[0] <= apart[1]], rows[apart[0] > apart[1]]
    return sorted(map(len, members.values()))


@pytest.mark.parametrize("clusters", [2, 5, 12])
def test_the_worst_cluster_is_split_next(clusters: int) -> None:
    X = blobs()
    model = og.BisectingKMeans(clusters, tol=0, random_state=0).fit(X)
    assert sorted(model.cluster_sizes_.tolist()) == one_after_the_other(X, model, clusters)
    np.testing.assert_array_equal(np.bincount(model.labels_), model.cluster_sizes_)
    for label, center in enumerate(model.cluster_centers_):
        np.testing.assert_allclose(center, X[model.labels_ == label].mean(axis=0), atol=1e-9)
    apart = X - model.cluster_centers_[model.labels_]
    assert model.inertia_ == pytest.approx((apart**2).sum())
    again = og.BisectingKMeans(clusters - 1 or 1, tol=0, random_state=0).fit(X)
    assert model.inertia_ < again.inertia_


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.booleans(), st.booleans())
def test_rows_that_cannot_go_over_change_nothing(seed: int, weighted: bool, compiled: bool) -> None:
    """With what is remembered of rows, and without room for it: the same trees."""
    X = blobs(seed, 300)
    weight = np.random.default_rng(seed).integers(0, 3, 300).astype(float) if weighted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "WORTH", 0 if compiled else 1 << 60)
        model = og.BisectingKMeans(9, tol=0, random_state=seed).fit(X, sample_weight=weight)
        patch.setattr(bisecting, "_Sides", None)
        patch.setattr(bisecting, "room_for", lambda view, bytes_a_row: bytes_a_row == bisecting._NODE_BYTES)
        plain = og.BisectingKMeans(9, tol=0, random_state=seed).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(model.tree_left_, plain.tree_left_)
    np.testing.assert_allclose(model.tree_centers_, plain.tree_centers_, atol=1e-9)
    np.testing.assert_array_equal(model.cluster_sizes_, plain.cluster_sizes_)
    assert model.inertia_ == pytest.approx(plain.inertia_)


def test_it_is_as_good_as_scikit_learn() -> None:
    X = blobs(1, 600)
    theirs = min(
        sklearn.cluster.BisectingKMeans(8, init="k-means++", n_init=3, random_state=seed).fit(X).inertia_
        for seed in range(3)
    )
    ours = og.BisectingKMeans(8, n_init=3, random_state=0).fit(X)
    assert ours.inertia_ <= theirs * 1.001
    np.testing.assert_array_equal(ours.to_sklearn().predict(X), ours.labels_)
    largest = og.BisectingKMeans(8, bisecting_strategy="largest_cluster", random_state=0).fit(X)
    assert largest.cluster_sizes_.max() <= ours.cluster_sizes_.max()


@pytest.mark.parametrize("weight", [[1, 2, 1, 3, 0, 1], [0.5, 4, 1, 1, 2, 0]])
def test_weights_are_repeated_rows(weight: list[float]) -> None:
    X = np.array([[0.0], [1.0], [5.0], [6.0], [20.0], [21.0]])
    weighted = og.BisectingKMeans(3, tol=0, random_state=0).fit(X, sample_weight=np.array(weight))
    double = np.repeat(X, (2 * np.array(weight)).astype(int), axis=0)
    repeated = og.BisectingKMeans(3, tol=0, random_state=0).fit(double)
    np.testing.assert_allclose(
        np.sort(weighted.cluster_centers_[:, 0]), np.sort(repeated.cluster_centers_[:, 0])
    )
    assert 2 * weighted.inertia_ == pytest.approx(repeated.inertia_)


def test_alike_rows_are_not_split() -> None:
    """Where a cluster without rows stopped Spark (SPARK-16473), and far from zero."""
    X = np.repeat(1e9 + np.array([[0.0, 1.0], [5.0, 1.0], [5.0, 7.0]]), 4, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"clusters \(3\) found smaller than n_clusters \(6\)"):
        model = og.BisectingKMeans(6, random_state=0).fit(X)
    assert model.cluster_centers_.shape == (3, 2)
    assert model.inertia_ == pytest.approx(0, abs=1e-6)
    assert model.cluster_sizes_.tolist() == [4, 4, 4]
    with pytest.raises(DataError, match="n_samples=2 should be >= n_clusters=3"):
        og.BisectingKMeans(3).fit(X[:2])


def test_few_rows_that_differ_among_many_alike_are_found() -> None:
    """Hashes may choose none of them."""
    X = np.zeros((9_000, 1))
    X[[17, 4_000]] = 5.0
    for seed in range(3):
        model = og.BisectingKMeans(2, random_state=seed).fit(X)
        assert sorted(model.cluster_sizes_.tolist()) == [2, 8_998]


def test_small_clusters_stay_whole() -> None:
    X = np.concatenate([np.zeros((90, 1)) + np.arange(90)[:, None] / 90, [[50.0], [70.0]]])
    assert og.BisectingKMeans(3, random_state=0).fit(X).cluster_sizes_.min() == 1
    for least in (10, 0.1):
        sizes = og.BisectingKMeans(3, min_divisible_cluster_size=least, random_state=0).fit(X).cluster_sizes_
        assert sorted(sizes.tolist())[0] == 2


@settings(
    deadline=None,
    max_examples=15,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 1000), st.sampled_from([1, 4]), st.sampled_from([0.0, 1e6]), st.booleans())
def test_compiled_code_does_what_numpy_does(
    monkeypatch: pytest.MonkeyPatch, seed: int, width: int, far: float, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    X = far + random.integers(-3, 4, (60, width)).astype(np.float64)
    tree = CenterTree(np.array([1, 3, -1, -1, -1], dtype=np.int32), X[:5].copy())
    pair = random.integers(-1, 2, 60).astype(np.int32)
    weight = random.uniform(0, 2, 60) if weighted else None
    found = []
    for numba in (True, False):
        monkeypatch.setattr(nearest, "WORTH", 0)
        with monkeypatch.context() as patch:
            if not numba:
                patch.setitem(sys.modules, "numba", None)
            found.append((tree.leaves(X), halves(X, pair, X[5:9].copy(), weight)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)
    if not far:
        np.testing.assert_array_equal(tree.leaves(sp.csr_array(X)), found[0][0])
        sparse = halves(sp.csr_array(X), pair, X[5:9].copy(), weight)
        np.testing.assert_allclose(sparse, found[0][1], atol=1e-9)


def test_any_cut_of_the_rows_gives_one_model() -> None:
    X = blobs(3)
    models = []
    for cut in (1, 100, 399):
        columns = [pa.chunked_array([column[:cut], column[cut:]]) for column in X.T]
        models.append(
            og.BisectingKMeans(6, random_state=2).fit(pa.table(dict(zip("abc", columns, strict=True))))
        )
    for other in models[1:]:
        np.testing.assert_allclose(other.cluster_centers_, models[0].cluster_centers_, rtol=1e-12)
        np.testing.assert_array_equal(other.tree_left_, models[0].tree_left_)
