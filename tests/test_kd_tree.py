"""Trees and products of matrices say of neighbours and of chains of near rows what all distances say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

import outgrow as og
from outgrow.ml.neighbors.index import tree_of
from outgrow.ml.neighbors.kd_tree import KdTree
from outgrow.ml.neighbors.wide import AllPairs

METRICS = {1.0: "cityblock", 2.0: "euclidean", np.inf: "chebyshev", 3.0: "minkowski"}


def some_rows(seed: int, count: int, width: int, kind: str) -> np.ndarray:
    """Normal ones, whole numbers, that are often equal and as far from each other, or those far from zero."""
    random = np.random.default_rng(seed)
    if kind == "whole":
        return random.integers(-2, 3, (count, width)).astype(float)
    return random.normal(size=(count, width)) + (1e6 if kind == "far" else 0.0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 1000),
    st.sampled_from([1, 2, 31, 33, 300]),
    st.sampled_from([1, 2, 5, 40]),
    st.sampled_from(["normal", "whole", "far"]),
    st.sampled_from([1.0, 2.0, np.inf, 3.0]),
    st.integers(1, 12),
)
def test_a_tree_finds_what_all_distances_say(
    seed: int, count: int, width: int, kind: str, power: float, wanted: int
) -> None:
    rows, wanted = some_rows(seed, count, width, kind), min(wanted, count)
    tree = KdTree(rows, power)
    apart = cdist(rows, rows, METRICS[power], **({"p": 3} if power == 3 else {}))
    for queries, known in ((tree.rows, apart), (rows[:7].copy(), apart[:7])):
        keys, places = tree.nearest(queries, wanted)
        np.testing.assert_allclose(tree.lengths(keys), np.sort(known, axis=1)[:, :wanted], atol=1e-9)
        if kind == "whole":
            first = np.argsort(np.round(known, 9), axis=1, kind="stable")[:, :wanted]
            np.testing.assert_array_equal(places, first)
    radius = float(np.quantile(apart, 0.1)) * (1 + 1e-9)  # no pair is at the border
    weight = np.random.default_rng(seed).integers(1, 4, count).astype(float)
    check_radius(tree, weight, apart <= radius, radius)
    if power == 2:
        check_radius(AllPairs(rows), weight, apart <= radius, radius)


def check_radius(index: Any, weight: np.ndarray, near: np.ndarray, radius: float) -> None:
    heavy = (near * weight).sum(axis=1)
    np.testing.assert_allclose(index.weights_near(weight, radius, np.inf), heavy)
    enough = float(np.median(heavy))
    np.testing.assert_array_equal(index.weights_near(weight, radius, enough) >= enough, heavy >= enough)
    chains, labels = connected_components(near)[1], index.tied(radius)
    assert len({*zip(chains.tolist(), labels.tolist(), strict=True)}) == len({*chains.tolist()})
    assert len({*labels.tolist()}) == len({*chains.tolist()})


def test_a_tree_is_taken_where_it_looks_at_few_rows() -> None:
    random = np.random.default_rng(0)
    assert tree_of(random.normal(size=(255, 2)), 2.0) is None
    assert tree_of(random.normal(size=(3000, 2)), 2.0) is not None
    assert tree_of(random.normal(size=(3000, 60)), 2.0) is None
    assert tree_of(random.normal(size=(3000, 60)), 1.0) is not None  # products say nothing of sums
    few_directions = random.normal(size=(3000, 2)) @ random.normal(size=(2, 60))
    assert tree_of(few_directions, 2.0) is not None


@pytest.mark.parametrize(("width", "eps"), [(2, 0.3), (8, 2.2), (60, 9.5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_clusters_of_many_rows_are_scikit_learns(width: int, eps: float, weighted: bool) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(1500, width)) + 6 * random.integers(0, 3, 1500)[:, None]
    weight = random.integers(1, 3, 1500).astype(float) if weighted else None
    ours = og.DBSCAN(eps).fit(X, sample_weight=weight)
    theirs = sklearn.cluster.DBSCAN(eps=eps).fit(X, sample_weight=weight)
    cores = theirs.core_sample_indices_
    assert ours.n_clusters_ == theirs.labels_.max() + 1 > 1
    np.testing.assert_array_equal(ours.labels_ < 0, theirs.labels_ < 0)
    assert adjusted_rand_score(ours.labels_[cores], theirs.labels_[cores]) == 1
    if width > 2 and not weighted:
        hierarchy, known = og.HDBSCAN(10).fit(X), sklearn.cluster.HDBSCAN(10, copy=True).fit(X)
        assert adjusted_rand_score(hierarchy.labels_, known.labels_) > 0.99


def test_any_number_of_equal_rows() -> None:
    """Rows that are all alike make no tree deep, and no clusters of none (scikit-learn #26726)."""
    X = np.repeat(np.array([[0.0, 1.0], [5.0, 5.0]]), [5000, 20], axis=0)
    assert np.bincount(og.DBSCAN(0.5).fit(X).labels_).tolist() == [5000, 20]
    assert np.bincount(og.HDBSCAN(5).fit(X).labels_).tolist() == [5000, 20]
    found = og.NearestNeighbors(3).fit(X).kneighbors(X[-2:])
    assert isinstance(found, tuple)
    assert (found[0] == 0).all()
