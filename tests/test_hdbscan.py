"""HDBSCAN: scikit-learn's clusters where all rows are looked at, and nearly those where bubbles of them
are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse.csgraph as graphs
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

import outgrow as og
from outgrow.errors import DataError
from outgrow.ml.neighbors import index, reachability
from outgrow.ml.neighbors.condensed_tree import condensed
from outgrow.ml.neighbors.reachability import Space, core_distances, spanning_tree
from outgrow.testing import EngineCase

MOONS = np.concatenate(
    [
        make_moons(400, noise=0.05, random_state=0)[0] * 3,
        np.random.default_rng(0).normal([8, 8], 0.3, (200, 2)),
        np.random.default_rng(1).uniform(-5, 12, (60, 2)),
    ]
)


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"min_samples": 3},
        {"cluster_selection_method": "leaf"},
        {"cluster_selection_epsilon": 0.5},
        {"allow_single_cluster": True},
        {"max_cluster_size": 150},
        {"metric": "manhattan"},
        {"metric": "chebyshev", "alpha": 1.3},
    ],
    ids=str,
)
def test_clusters_are_scikit_learns(setting: dict[str, Any]) -> None:
    ours = og.HDBSCAN(10, **setting).fit(MOONS)
    theirs = sklearn.cluster.HDBSCAN(10, copy=True, **setting).fit(MOONS)
    # there, equal edges of a spanning tree part in some order, so a few rows may differ
    alike = 0.9 if "cluster_selection_method" in setting else 0.98  # small clusters part at such edges
    assert adjusted_rand_score(ours.labels_, theirs.labels_) > alike
    assert abs(ours.n_clusters_ - len({*theirs.labels_} - {-1})) <= (alike < 0.99)
    assert ((ours.labels_ < 0) == (theirs.labels_ < 0)).mean() > alike
    assert np.abs(ours.probabilities_ - theirs.probabilities_).mean() < 1 - alike
    sizes = np.bincount(ours.labels_[ours.labels_ >= 0])
    assert (np.diff(sizes) <= 0).all()


@settings(max_examples=25)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from([(1.0, "cityblock"), (2.0, "euclidean"), (np.inf, "chebyshev")]),
    st.sampled_from([1.0, 1.4]),
)
def test_spanning_trees_are_the_least(
    seed: int, width: int, least: int, how: tuple[float, str], alpha: float
) -> None:
    rows = np.random.default_rng(seed).normal(size=(40, width))
    apart = cdist(rows, rows, how[1])
    core = np.sort(apart, axis=1)[:, least - 1]
    reach = np.maximum(np.maximum(apart / alpha, core[:, None]), core)
    for tree_from, worth in ((0, 0), (100, 0), (100, 100)):  # by a tree, by kernels, and by NumPy
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index, "COMPILED_FROM", tree_from)
            patch.setattr(index, "_FEW_COLUMNS", 4)
            patch.setattr(reachability, "_WORTH", worth)
            space = Space(rows, np.ones(40), how[0])
            cores = core_distances(space, least)
            ends, sizes = spanning_tree(space, cores, alpha)
        assert (cores.keys is None) == (tree_from > 0)
        np.testing.assert_allclose(cores.distances, core, atol=1e-12)
        assert sizes.sum() == pytest.approx(graphs.minimum_spanning_tree(reach).sum(), rel=1e-9)
        np.testing.assert_allclose(reach[ends[:, 0], ends[:, 1]], sizes, atol=1e-12)


def test_weights_are_repeated_rows() -> None:
    random = np.random.default_rng(3)
    X, weight = MOONS[::3], random.integers(1, 4, len(MOONS[::3]))
    once = og.HDBSCAN(10).fit(X, sample_weight=weight.astype(float))
    repeated = og.HDBSCAN(10).fit(np.repeat(X, weight, axis=0))
    assert adjusted_rand_score(np.repeat(once.labels_, weight), repeated.labels_) > 0.99
    assert once.n_clusters_ == repeated.n_clusters_


def test_the_same_on_any_engine(engine: EngineCase) -> None:
    table = pa.table({"a": MOONS[:, 0], "b": MOONS[:, 1], "name": ["x"] * len(MOONS)})
    exact = og.HDBSCAN(20).fit(MOONS)
    model = og.HDBSCAN(20).fit(engine.open(table.drop(["name"])))
    assert model.exact_
    assert model.n_clusters_ == exact.n_clusters_ == 2
    np.testing.assert_array_equal(model.predict(table)["prediction"], exact.labels_)
    rough = og.HDBSCAN(20, max_rows=300).fit(engine.open(table.drop(["name"])))
    assert not rough.exact_
    assert rough.n_clusters_ == 2
    assert len(rough.rows_) == 300
    assert adjusted_rand_score(rough.predict(table)["prediction"].to_numpy(), exact.labels_) > 0.9


def test_bubbles_of_a_real_set() -> None:
    """Handwritten digits: how near bubbles come, which the documentation says; the hashes of turned rows draw
    others."""
    X = PCA(5, random_state=0).fit_transform(load_digits().data)
    exact = og.HDBSCAN(10).fit(X).labels_
    turned = [X * signs for signs in np.random.default_rng(0).choice([-1, 1], (9, 5))]

    def near(rows: int) -> float:
        found = [og.HDBSCAN(10, max_rows=rows).fit(X).labels_ for X in turned]
        return float(np.median([adjusted_rand_score(labels, exact) for labels in found]))

    assert near(600) > 0.4
    assert near(1500) > 0.7


def test_new_rows_join_where_they_lie() -> None:
    model = og.HDBSCAN(20).fit(MOONS)
    np.testing.assert_array_equal(model.predict(MOONS), model.labels_)
    np.testing.assert_array_equal(model.probabilities(MOONS), model.probabilities_)
    inside = MOONS[model.labels_ == 0][:50] + 1e-3
    assert (model.predict(inside) == 0).mean() > 0.9
    assert model.predict(np.array([[100.0, -100.0]])).tolist() == [-1]
    assert model.probabilities(np.array([[100.0, -100.0]])).tolist() == [0.0]


def test_rows_that_are_alike_are_one_cluster() -> None:
    """hdbscan and scikit-learn give NaN or split them where many rows have no distance at all."""
    X = np.repeat([[0.0, 0.0], [5.0, 5.0], [9.0, 0.0]], [30, 40, 20], axis=0)
    model = og.HDBSCAN(5).fit(X)
    assert model.labels_.tolist() == [1] * 30 + [0] * 40 + [2] * 20
    assert (model.probabilities_ == 1).all()
    assert og.HDBSCAN(5).fit(np.zeros((12, 2))).labels_.tolist() == [-1] * 12
    assert og.HDBSCAN(5, allow_single_cluster=True).fit(np.zeros((12, 2))).labels_.tolist() == [0] * 12


def test_far_from_zero_nothing_is_lost() -> None:
    near = og.HDBSCAN(10).fit(MOONS).labels_
    wide = np.column_stack([MOONS, np.zeros((len(MOONS), 20))])
    assert adjusted_rand_score(og.HDBSCAN(10).fit(MOONS + 1e7).labels_, near) > 0.98
    assert adjusted_rand_score(og.HDBSCAN(10).fit(wide + 1e7).labels_, near) > 0.98


def test_few_rows() -> None:
    assert og.HDBSCAN(2).fit(np.array([[0.0], [1.0]])).labels_.tolist() == [-1, -1]
    with pytest.raises(DataError, match="min_samples"):
        og.HDBSCAN(5).fit(np.zeros((3, 1)))
    tree = condensed(np.zeros((0, 2), dtype=np.int64), np.zeros(0), np.ones(1), np.zeros(1), 2.0)
    assert tree.parent.tolist() == [0]


@pytest.mark.parametrize("method", ["eom", "leaf"])
def test_distances_that_tie_part_at_once(method: str) -> None:
    """Neither the order of rows, nor their scale, nor repetitions in place of weights change a cluster."""
    random = np.random.default_rng(0)
    setting: dict[str, Any] = {"min_cluster_size": 5, "cluster_selection_method": method}
    for side in (4, 9, 16, 30):
        rows = random.integers(0, side, size=(120, 2)).astype(float)
        order, weight = random.permutation(120), random.integers(1, 3, 120)
        labels = og.HDBSCAN(**setting).fit(rows).labels_
        for other in (rows[order], rows[order] / 10, rows[order] * 7.3):
            assert adjusted_rand_score(labels[order], og.HDBSCAN(**setting).fit(other).labels_) == 1
        weighed = og.HDBSCAN(**setting).fit(rows, sample_weight=weight).labels_
        repeated = og.HDBSCAN(**setting).fit(np.repeat(rows, weight, axis=0)).labels_
        assert adjusted_rand_score(np.repeat(weighed, weight), repeated) == 1


def test_a_grid_is_no_clusters() -> None:
    rows = np.array([[x, y] for x in range(12) for y in range(12)], dtype=float)[:, ::-1]
    assert (og.HDBSCAN(5).fit(rows).labels_ == -1).all()
    two = np.concatenate([rows, rows + 100])
    assert sorted(np.bincount(og.HDBSCAN(5).fit(two).labels_, minlength=2)) == [144, 144]
