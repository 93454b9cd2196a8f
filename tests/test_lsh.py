"""Near rows by hashes, beside a look at all pairs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.ml.neighbors import buckets
from outgrow.testing import EngineCase


def near_pairs(rows: int = 3_000, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and others near some of them."""
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, width))
    return X, X[:200] + 0.05 * random.normal(size=(200, width))


def sets(rows: int = 3_000) -> tuple[sp.csr_array, sp.csr_array]:
    """Sets of about 20 of 2,000 members, and others that share most of some."""
    random = np.random.default_rng(1)
    member = random.integers(0, 2_000, (rows, 20))
    changed = member[:200].copy()
    changed[:, :2] = random.integers(0, 2_000, (200, 2))
    made = [
        sp.csr_array((np.ones(m.size), (np.repeat(np.arange(len(m)), 20), m.ravel())), shape=(len(m), 2_000))
        for m in (member, changed)
    ]
    return made[0], made[1]


def jaccard(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    both = (left != 0).astype(float) @ (right != 0).astype(float).T
    some = (left != 0).sum(axis=1)[:, None] + (right != 0).sum(axis=1) - both
    distances: np.ndarray = 1 - both / np.maximum(some, 1)
    return distances


def test_most_of_the_near_rows_are_found_and_none_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "FEW_ROWS", 0)
    X, queries = near_pairs()
    exact = cdist(queries, X)
    distances, ids = og.RandomProjectionLSH(1, random_state=0).fit(X).approx_nearest(queries)
    assert (ids[:, 0] == np.arange(200)).mean() > 0.95
    found = ~np.isnan(ids[:, 0])
    np.testing.assert_allclose(distances[found, 0], exact[found, ids[found, 0].astype(int)])
    members, others = sets()
    distances, ids = og.MinHashLSH(1).fit(members).approx_nearest(others)
    assert (ids[:, 0] == np.arange(200)).mean() > 0.99
    found = ~np.isnan(ids[:, 0])
    exact = jaccard(others.toarray(), members.toarray())
    np.testing.assert_allclose(distances[found, 0], exact[found, ids[found, 0].astype(int)])


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([1, 3]), st.booleans())
def test_of_few_rows_all_are_compared(seed: int, count: int, of_sets: bool) -> None:
    random = np.random.default_rng(seed)
    X, queries = (random.integers(0, 3, (n, 4)).astype(float) for n in (40, 9))
    X = X[(X != 0).any(axis=1)]
    queries = queries[(queries != 0).any(axis=1)]
    model = og.MinHashLSH(count) if of_sets else og.RandomProjectionLSH(count)
    distances, ids = model.fit(X).approx_nearest(queries)
    exact = jaccard(queries, X) if of_sets else cdist(queries, X)
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :count], atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(exact, ids.astype(int), axis=1), distances, atol=1e-12)


def test_pairs_within_a_distance(engine: EngineCase, monkeypatch: pytest.MonkeyPatch) -> None:
    X, queries = near_pairs(300, 3)
    known = pa.table({"key": np.arange(300) + 7, "a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    others = pa.table({"name": np.arange(200), "a": queries[:, 0], "b": queries[:, 1], "c": queries[:, 2]})
    model = og.RandomProjectionLSH(1, id="key", random_state=0, n_tables=20).fit(engine.open(known))
    found = model.similarity_join(engine.open(others), 0.2).to_arrow()
    assert found.column_names == ["name", "a", "b", "c", "neighbor", "distance"]
    pairs = {*zip(found["name"].to_pylist(), (found["neighbor"].to_numpy() - 7).tolist(), strict=True)}
    exact = {*zip(*(side.tolist() for side in np.nonzero(cdist(queries, X) <= 0.2)), strict=True)}
    assert pairs == exact
    assert len(pairs) == found.num_rows
    monkeypatch.setattr(buckets, "FEW_ROWS", 0)
    monkeypatch.setattr(buckets, "_TOGETHER", 500)
    model = og.RandomProjectionLSH(1, id="key", random_state=0, n_tables=20).fit(known)
    found = model.similarity_join(others, 0.2)
    some = {*zip(found["name"].to_pylist(), (found["neighbor"].to_numpy() - 7).tolist(), strict=True)}
    assert some <= exact
    assert len(some) == found.num_rows > 0.95 * len(exact)


def test_rows_of_zeros_are_like_no_other() -> None:
    X = np.array([[1.0, 1, 0], [0, 0, 0], [0, 1, 1]])
    model = og.MinHashLSH(2).fit(X)
    distances, ids = model.approx_nearest(np.array([[0.0, 0, 0], [1, 1, 0]]))
    assert np.isnan(ids[0]).all()
    assert ids[1].tolist() == [0, 2]
    assert distances[1].tolist() == [0.0, pytest.approx(2 / 3)]
    assert model.similarity_join(pa.table({"x0": [0.0], "x1": [0.0], "x2": [0.0]}), 1.0).num_rows == 0


def test_sets_that_are_the_same_come_in_the_order_of_their_ids(engine: EngineCase) -> None:
    table = pa.table({"key": [5, 3, 9, 1], "a": [1, 1, 1, 1], "b": [0, 0, 0, 0]})
    model = og.MinHashLSH(3, id="key").fit(engine.open(table))
    assert model.approx_nearest(pa.table({"a": [1], "b": [0]}))[1].tolist() == [[1, 3, 5]]


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ParameterError, match=r"bucket_length must be"):
        og.RandomProjectionLSH(bucket_length=0).fit(np.eye(9))
    with pytest.raises(ParameterError, match=r"threshold must be"):
        og.RandomProjectionLSH(1).fit(np.eye(3)).similarity_join(pa.table({"x0": [1.0]}), -1)
