"""Forests by kernels of our own: against scikit-learn, whatever cut of the rows, and beside XGBoost's."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import outgrow as og
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.shard import Shard
from outgrow.ml.core.task import Task
from outgrow.ml.trees.quantised import cut_points

ONE = {"n_estimators": 1, "bootstrap": False, "max_features": None, "random_state": 0}


def table_of(X: np.ndarray, y: np.ndarray) -> pa.Table:
    return pa.table({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "y": y})


@pytest.mark.parametrize("classes", [0, 2, 5])
@pytest.mark.parametrize(
    "limits", [{}, {"max_depth": 3}, {"min_samples_leaf": 7}, {"max_leaf_nodes": 6}], ids=str
)
def test_a_tree_on_all_rows_is_as_good_as_scikit_learns(classes: int, limits: dict[str, Any]) -> None:
    random = np.random.default_rng(classes)
    X = random.normal(size=(400, 4))
    signal = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2])
    if classes:
        y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes))
        ours = og.RandomForestClassifier(**ONE, **limits).fit(X, y).predict_proba(X)
        theirs = DecisionTreeClassifier(random_state=0, **limits).fit(X, y).predict_proba(X)
        target = np.eye(classes)[y]
    else:
        ours = og.RandomForestRegressor(**ONE, **limits).fit(X, signal).predict(X)
        theirs = DecisionTreeRegressor(random_state=0, **limits).fit(X, signal).predict(X)
        target = signal
    mine, other = (((found - target) ** 2).mean() for found in (ours, theirs))
    assert mine == pytest.approx(other, rel=1e-3, abs=1e-9)  # equally good splits may differ below


def test_what_no_single_split_improves_is_learned() -> None:
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 5)
    y = (X[:, 0] != X[:, 1]).astype(int)
    assert og.RandomForestClassifier(**ONE).fit(X, y).score(X, y) == 1.0


@given(
    classes=st.sampled_from([0, 2, 3]),
    rows=st.integers(2, 80),
    seed=st.integers(0, 2**32 - 1),
    lattice=st.booleans(),
    missing=st.booleans(),
    weighted=st.booleans(),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_order_of_rows_changes_nothing(
    classes: int, rows: int, seed: int, lattice: bool, missing: bool, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, 3))
    X = X.round() if lattice else X
    if missing:
        X[random.random(X.shape) < 0.2] = np.nan
    y = (
        np.r_[:classes, random.integers(0, classes, max(0, rows - classes))][:rows]
        if classes
        else X[:, 0] ** 2
    )
    y = np.nan_to_num(y)
    weight = random.random(rows) + 0.1 if weighted else None
    if classes and len(np.unique(y)) < 2:
        return
    model = (og.RandomForestClassifier if classes else og.RandomForestRegressor)(3, random_state=seed % 100)
    order = random.permutation(rows)
    found = clone(model).fit(X, y, sample_weight=weight)
    other = clone(model).fit(X[order], y[order], sample_weight=None if weight is None else weight[order])
    if classes:
        assert found.booster_bytes_ == other.booster_bytes_
    else:  # the mean of y, from which trees count, is a sum of floats
        np.testing.assert_allclose(found.predict(X), other.predict(X), rtol=1e-6, atol=1e-9)


def rank_of_two(rank: int, peer: socket.socket, table: pa.Table, model: Any) -> Any:
    comm = Tcp(rank, 2, {1 - rank: peer}, 60.0)
    scan = Scan(TableSource(table))
    fitted = clone(model)
    names = tuple(name for name in scan.schema.names if name != "y")
    shard = Shard.of(FitContext(comm, threads=2), scan.pieces(), scan.example())
    fitted._fit_shard(shard, Task("y", None, names))
    comm.close()
    return fitted


@pytest.mark.parametrize("cut", [0, 1, 200])
@pytest.mark.parametrize("classes", [2, 3])
def test_two_ranks_grow_the_trees_of_one(cut: int, classes: int) -> None:
    random = np.random.default_rng(2)
    X = random.normal(size=(400, 3)).round(1)
    table = table_of(X, np.digitize(X[:, 0] * X[:, 1], [-0.3, 0.3][: classes - 1]))
    model = og.RandomForestClassifier(30, random_state=1, oob_score=True)
    with ThreadPoolExecutor(2) as pool, socket.create_server(("127.0.0.1", 0)) as server:
        peers = (socket.create_connection(server.getsockname()), server.accept()[0])
        parts = (table.slice(0, cut), table.slice(cut))
        ranks = [
            pool.submit(rank_of_two, rank, peer, part, model)
            for rank, (peer, part) in enumerate(zip(peers, parts, strict=True))
        ]
        found = [rank.result(timeout=120) for rank in ranks]
    alone = model.fit(table, "y")
    for each in found:
        assert each.booster_bytes_ == alone.booster_bytes_
        assert each.oob_score_ == alone.oob_score_


@pytest.mark.parametrize("rows", ["few", "sparse", "missing"])
def test_rows_come_to_bins(rows: str) -> None:
    random = np.random.default_rng(3)
    X = random.integers(0, 3, size=(300, 5)).astype(float)
    y = (X[:, 0] > 1).astype(int)
    if rows == "missing":
        X[y == 1, 1] = np.nan
    given = sp.csr_array(X) if rows == "sparse" else X
    model = og.RandomForestClassifier(20, random_state=0).fit(given, y)
    assert model.score(given, y) == 1.0
    assert model.zeros_absent_ == (rows == "sparse")


def test_more_values_than_bins_and_few_bins() -> None:
    values = np.arange(1000, dtype=np.float32)
    assert len(cut_points(values, None, 4096)) == 999
    cuts = cut_points(values, None, 10)
    assert len(cuts) == 9
    np.testing.assert_allclose(np.diff(np.r_[0, cuts, 1000]), 100, atol=1)
    assert len(cut_points(np.r_[np.zeros(900, np.float32), values[:100]], None, 4)) >= 1
    weights = np.where(values < 100, 9.0, 1.0)
    heavy = cut_points(values, weights, 2)
    assert heavy[0] == pytest.approx(100, abs=2)
    near = np.array([1, np.nextafter(np.float32(1), np.float32(2))], np.float32)
    assert cut_points(near, None, 8).tolist() == [near[1]]
    assert not len(cut_points(np.zeros(0, np.float32), None, 8))


def test_a_warm_start_gives_the_trees_of_one_fit() -> None:
    random = np.random.default_rng(1)
    X = random.normal(size=(200, 6))
    y = np.digitize(X[:, 0] + X[:, 1], [-1, 1])
    whole = og.RandomForestClassifier(7, random_state=2).fit(X, y)
    model = og.RandomForestClassifier(3, warm_start=True, random_state=2).fit(X, y)
    model.n_estimators = 7
    np.testing.assert_allclose(model.fit(X, y).predict_proba(X), whole.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(model.feature_importances_, whole.feature_importances_, rtol=1e-5)


def test_trees_of_classes_share_their_splits() -> None:
    random = np.random.default_rng(1)
    X = random.normal(size=(300, 4))
    y = np.digitize(X[:, 0] + X[:, 1], [-1, 0, 1])
    model = og.RandomForestClassifier(1, bootstrap=False, random_state=2).fit(X, y)
    shares = model.booster_.inplace_predict(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(shares.argmax(axis=1), y)


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_what_gains_little_is_pruned(classes: int) -> None:
    random = np.random.default_rng(1)
    X = random.normal(size=(300, 2))
    signal = X[:, 0] ** 2 + random.normal(size=300)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal
    model, least = og.RandomForestClassifier if classes else og.RandomForestRegressor, 0.006
    leaves = [model(**ONE, min_impurity_decrease=low).fit(X, y)[0].get_n_leaves() for low in (0, least, 10)]
    assert leaves[0] > leaves[1] > leaves[2] == max(1, classes if classes > 2 else 1)
    gains = np.zeros(0)
    for tree in model(**ONE, min_impurity_decrease=least).fit(X, y)[0].trees:
        left, right = tree.children_left, tree.children_right
        weight, value = tree.weighted_n_node_samples / 300, tree.value[:, 0, 0]
        last = np.flatnonzero((left >= 0) & (left[left] < 0) & (left[right] < 0))
        (w, v), (m, n) = ((array[left[last]], array[right[last]]) for array in (weight, value))
        gains = np.append(gains, w * v / (w + v) * (m - n) ** 2)
    if classes <= 2:  # of more, all classes together gain so much, and a tree shows those of one
        unit = 2.0 if classes else model(1).fit(X, y).scale_ ** 2
        assert (gains * unit >= least * (1 - 1e-3)).all()


def test_numba_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(og.errors.MissingExtraError, match=r"outgrow\[trees\]"):
        og.RandomForestRegressor(1).fit(np.ones((3, 1)), np.arange(3.0))
