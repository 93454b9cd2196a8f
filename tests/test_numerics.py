"""Numbers as they come: odd bit patterns, weights of any size, values near the ends of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.data.hashing import matrix_hash, seeded
from outgrow.errors import DataError
from outgrow.stats.moments import Moments
from outgrow.stats.quantiles import quantiles

NAN_BITS = (
    0x7FF00000000007A2,
    0xFFF00000000007A2,
    0x7FF8000000000000,
    0xFFF8000000000000,
    0x7FFFFFFFFFFFFFFF,
    0xFFFFFFFFFFFFFFFF,
    0x7FF0000000000001,
)
"""R's NA, the quiet ones of x86, all bits set as CUDA writes, the least signalling one; with either sign."""


def nans(bits: list[int]) -> np.ndarray:
    return np.array(bits, dtype=np.uint64).view(np.float64)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False), max_size=12),
    st.lists(st.sampled_from(NAN_BITS), max_size=8),
    st.sampled_from((0.0, 0.25, 0.5, 0.9, 1.0)),
)
def test_quantiles_leave_out_every_nan(values: list[float], bits: list[int], share: float) -> None:
    column = np.concatenate([values, nans(bits)])
    found, count = quantiles(lambda fold: fold(column[:, None]), 1, [share])
    assert count.tolist() == [len(values)]
    with np.errstate(invalid="ignore", over="ignore"):
        expected = np.quantile(values, share) if values else np.nan
    if np.isfinite(expected) or not values:
        np.testing.assert_allclose(found[0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
@pytest.mark.parametrize("bits", NAN_BITS)
def test_imputers_know_every_nan(strategy: str, bits: int) -> None:
    x = np.array([1.0, 2.0, 2.0, 3.0, 7.0])
    x[[0, 4]] = nans([bits, bits])
    imputer = og.SimpleImputer(strategy=strategy).fit(x[:, None])
    assert imputer.statistics_.tolist() == pytest.approx([7 / 3 if strategy == "mean" else 2.0])
    assert np.isfinite(imputer.transform(x[:, None])).all()


def test_rows_hash_alike_whatever_the_bits_of_nan_and_zero() -> None:
    rows = np.concatenate([nans(list(NAN_BITS)), [0.0, -0.0]])[:, None]
    hashes = seeded(matrix_hash(rows), 0)
    assert len(set(hashes[:-2].tolist())) == 1
    assert hashes[-2] == hashes[-1]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_moments_of_sparse_columns_are_those_of_dense_ones(data: Any) -> None:
    rows = data.draw(st.integers(1, 30))
    seed = data.draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    X = np.where(random.uniform(size=(rows, 5)) < [1, 1, 0.5, 0.1, 0.9], random.normal(size=(rows, 5)), 0)
    X[:, 0] = data.draw(st.sampled_from([0.1, 1e9 + 0.3, -7.7, 1e-9]))
    weight = data.draw(
        st.sampled_from([None, 10.0 ** random.integers(-9, 10, rows), random.uniform(size=rows)])
    )
    found, expected = Moments.of(sp.csr_array(X), weight), Moments.of(np.asfortranarray(X), weight)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-300)
    floor = (1e-15 * np.abs(X).max(axis=0)) ** 2
    assert (np.abs(found.variance() - expected.variance()) <= 1e-9 * expected.variance() + floor).all()


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("value", [0.1, 7.7, 1e9 + 0.3])
def test_a_constant_column_is_constant_whatever_its_weights(value: float, size: float) -> None:
    weight = size * np.random.default_rng(0).uniform(0.1, 1, 500)
    column = np.full((500, 1), value)
    for X in (column, sp.csr_array(column)):
        scaler = og.StandardScaler(with_mean=False).fit(X, sample_weight=weight)
        assert scaler.scale_.tolist() == [1.0]


@pytest.mark.parametrize("estimator", [og.StandardScaler(), og.PCA(n_components=1)])
@pytest.mark.parametrize("size", [1e154, 1e200, 1e308])
def test_squares_that_overflow_are_refused_by_name(estimator: Any, size: float) -> None:
    X = np.array([[size, 1.0], [-size, 2.0], [size / 3, 4.0]])
    with pytest.raises(DataError, match="x0"):
        estimator.fit(X)


def test_moments_of_sparse_rows_that_count_once_are_those_with_weights_of_one() -> None:
    rng = np.random.default_rng(0)
    X = sp.csr_array(rng.normal(3, 1, (50, 7)) * (rng.random((50, 7)) < [0, 0.1, 0.5, 0.9, 1, 1, 0.02]))
    plain, weighted = Moments.of(X), Moments.of(X, np.ones(50))
    for name in ("n", "mean", "m2"):
        assert np.array_equal(getattr(plain, name), getattr(weighted, name))
    twice = sp.csr_array((np.ones(2), [0, 0], [0, 2]), shape=(1, 1))  # a place that is stored twice
    assert Moments.of(twice).mean.tolist() == [2.0]
    gap = sp.csr_array(np.array([[np.nan], [2.0]]))
    assert Moments.of(gap).n.tolist() == [1.0]
