"""Lloyd's algorithm with bounds is Lloyd's algorithm: rows are looked at anew only where that can matter."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

import outgrow as og
from outgrow.ml.cluster import nearest
from outgrow.ml.cluster.centers import Centers
from outgrow.ml.cluster.nearest import closest


@pytest.fixture(params=["compiled", "NumPy"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with compiled code, and without Numba."""
    monkeypatch.setattr(nearest, "WORTH", 0)
    if request.param == "NumPy":
        monkeypatch.setitem(sys.modules, "numba", None)
    return str(request.param)


def plain(X: np.ndarray, centers: np.ndarray, weight: np.ndarray, steps: int) -> np.ndarray:
    """So many steps of the algorithm, in the most obvious way; no cluster may lose all its rows."""
    for _ in range(steps):
        labels = ((X[:, None, :] - centers) ** 2).sum(axis=2).argmin(axis=1)
        totals = np.bincount(labels, weight, len(centers))
        assert (totals > 0).all()
        sums = np.stack([np.bincount(labels, weight * column, len(centers)) for column in X.T], axis=1)
        centers = sums / totals[:, None]
    return centers


@settings(
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 5, 24, 40]),
    st.sampled_from([1, 3, 120]),
    st.sampled_from([0.0, 1e3, -1e6]),
    st.booleans(),
)
def test_steps_are_those_of_the_plain_algorithm(
    seed: int, clusters: int, width: int, offset: float, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    middles = 3 * random.standard_normal((clusters, width))
    X = np.repeat(middles, 12, axis=0) + random.standard_normal((12 * clusters, width)) + offset
    weight = random.uniform(0.1, 3.0, len(X)) if weighted else np.ones(len(X))
    start, steps = X[::12], 7
    wanted = plain(X, start, weight, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = og.KMeans(clusters, init=start, max_iter=steps, tol=0).fit(X, sample_weight=weight)
    np.testing.assert_allclose(model.cluster_centers_ - offset, wanted - offset, rtol=1e-9, atol=1e-9)
    squares = ((X[:, None, :] - model.cluster_centers_) ** 2).sum(axis=2)
    assert model.inertia_ == pytest.approx(weight @ squares.min(axis=1), rel=1e-9)
    np.testing.assert_array_equal(model.labels_, squares.argmin(axis=1))


@pytest.mark.parametrize("clusters", [3, 24, 60])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e30])
def test_the_first_of_equal_centers_wins(clusters: int, sparse: bool, scale: float) -> None:
    """Also where single precision could not hold the rows, or tell the centers apart."""
    random = np.random.default_rng(0)
    centers = scale * random.standard_normal((clusters, 4))
    centers[-1] = centers[0]
    X = scale * random.standard_normal((300, 4))
    X[:50] = centers[0]
    found = closest(Centers.of(centers, np.zeros(4)), sp.csr_array(X) if sparse else X)
    wanted = (((X / scale)[:, None, :] - centers / scale) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found, wanted)
    assert (found[:50] == 0).all()


def test_centers_that_single_precision_cannot_tell_apart_are_told_apart() -> None:
    centers = np.concatenate([np.arange(30.0)[:, None], 5 + 1e-3 * np.arange(1, 11)[:, None]])
    X = np.concatenate([centers - 2e-4, centers + 2e-4])
    found = closest(Centers.of(centers, np.array([10.0])), X)
    np.testing.assert_array_equal(found, np.abs(X - centers.T).argmin(axis=1))


def test_sparse_and_dense_rows_give_one_model() -> None:
    X = sp.random_array((400, 30), density=0.2, rng=np.random.default_rng(1), format="csr")
    start = X[:6].toarray()
    sparse, dense = (og.KMeans(6, init=start, max_iter=10, tol=0).fit(rows) for rows in (X, X.toarray()))
    np.testing.assert_allclose(sparse.cluster_centers_, dense.cluster_centers_, atol=1e-12)
    peer = KMeans(6, init=start, n_init=1, max_iter=10, tol=0).fit(X.toarray())
    assert sparse.inertia_ == pytest.approx(peer.inertia_, rel=1e-9)
