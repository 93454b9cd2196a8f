"""Summaries, covariances and correlations: as NumPy, SciPy and pandas have them, on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.statistics import rank_correlation
from outgrow.testing import EngineCase

RNG = np.random.default_rng(0)
ROWS = 400
TABLE = pa.table(
    {
        "a": RNG.normal(1e9, 1.0, ROWS),
        "b": pa.array(np.where(RNG.random(ROWS) < 0.1, np.nan, RNG.normal(size=ROWS)), from_pandas=True),
        "c": RNG.integers(0, 4, ROWS),
        "w": RNG.integers(0, 3, ROWS),
        "key": pa.array([None if v == 0 else f"k{v}" for v in RNG.integers(0, 4, ROWS)]),
    }
)
NUMBERS = ["a", "b", "c"]
NEAR = TABLE.to_pandas().assign(a=TABLE["a"].to_numpy() - 1e9)
"""The same rows with all numbers near 0: peers round those that are far from it."""
MATRICES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(3, 20), st.integers(1, 3)),
    elements=st.sampled_from([np.nan, -2.5, -1.0, 0.0, 0.5, 1.0, 3.0, 1e6]),
)


def expected_summary(values: np.ndarray) -> dict[str, float]:
    x = values[~np.isnan(values)]
    near = x - x[0]  # exact, while SciPy's moments of numbers far from 0 are rounded
    return {
        "count": len(x),
        "missing": len(values) - len(x),
        "nonzeros": np.count_nonzero(x),
        "sum": x.sum(),
        "mean": x.mean(),
        "variance": near.var(ddof=1),
        "std": near.std(ddof=1),
        "min": x.min(),
        "max": x.max(),
        "norm_l1": np.abs(x).sum(),
        "norm_l2": np.linalg.norm(x),
        "skewness": scipy.stats.skew(near),
        "kurtosis": scipy.stats.kurtosis(near),
    }


def agree(summary: Any, at: Any, values: np.ndarray) -> None:
    for name, expected in expected_summary(values).items():
        np.testing.assert_allclose(getattr(summary, name)[at], expected, rtol=1e-6, atol=1e-5, err_msg=name)
    for p, quantile in summary.quantiles.items():
        np.testing.assert_allclose(quantile[at], np.nanquantile(values, p), rtol=1e-15)


def test_summary_on_every_engine(engine: EngineCase) -> None:
    frame = TABLE.to_pandas()
    rows = engine.open(TABLE)
    summary = og.stats.summarize(rows, NUMBERS, quantiles=[0.1, 0.5])
    for j, name in enumerate(NUMBERS):
        agree(summary, j, frame[name].to_numpy(float))
    summary = og.stats.summarize(rows, NUMBERS, by="key", quantiles=[0.5])
    assert summary.groups.column("key").to_pylist() == ["k1", "k2", "k3", None]
    for g, (_, group) in enumerate(frame.groupby("key", dropna=False)):
        for j, name in enumerate(NUMBERS):
            agree(summary, (g, j), group[name].to_numpy(float))


def test_weights_are_repeats() -> None:
    frame = TABLE.to_pandas()
    repeated = frame.loc[frame.index.repeat(frame["w"])]
    for by in (None, "key"):
        got = og.stats.summarize(TABLE, NUMBERS, by=by, fweights="w", quantiles=[0.0, 0.3, 1.0])
        expected = og.stats.summarize(repeated, NUMBERS, by=by)
        for name in ("weight_sum", "sum", "mean", "variance", "min", "max", "norm_l1", "skewness"):
            np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-6, err_msg=name)
    x = repeated["b"].dropna()
    got = og.stats.summarize(TABLE, NUMBERS, fweights="w", quantiles=[0.0, 0.3, 1.0])
    for p, values in got.quantiles.items():
        assert values[1] == np.quantile(x, p, method="inverted_cdf")


def test_important_rows() -> None:
    weight = RNG.random(ROWS)
    got = og.stats.summarize(TABLE, ["a", "c"], aweights=weight)
    X = TABLE.select(["a", "c"]).to_pandas().to_numpy()
    np.testing.assert_allclose(got.variance, np.diag(np.cov(X.T, aweights=weight)), rtol=1e-7)
    np.testing.assert_allclose(
        og.stats.cov(X, aweights=weight).matrix, np.cov(X.T, aweights=weight), rtol=1e-6
    )


@settings(max_examples=40)
@given(MATRICES)
def test_summaries_of_any_numbers(X: np.ndarray) -> None:
    summary = og.stats.summarize(X, quantiles=[0.25])
    for j, x in enumerate(X.T):
        values = x[~np.isnan(x)]
        assert summary.count[j] == len(values)
        if len(values) == 0:
            assert np.isnan(summary.mean[j])
        elif len(set(values)) == 1:
            assert summary.variance[j] == 0 or len(values) == 1
            assert np.isnan(summary.skewness[j])
        else:
            agree(summary, j, x)


def test_forms_of_rows() -> None:
    x = np.array([1.0, 2.0, 4.0])
    for data in (x, x.tolist(), pd.Series(x), pa.array(x), x[:, None], sp.csr_array(x[:, None])):
        assert og.stats.summarize(data).mean.tolist() == [7 / 3]
    sparse = sp.random_array((50, 6), density=0.3, rng=np.random.default_rng(3), format="csr")
    for name, values in og.stats.summarize(sparse.toarray()).to_pandas().items():
        assert values.tolist() == og.stats.summarize(sparse).to_pandas()[name].tolist() or name == "column"


def test_infinite_and_refused() -> None:
    summary = og.stats.summarize(np.array([[1.0], [np.inf], [2.0]]))
    assert (summary.max[0], summary.min[0], summary.count[0]) == (np.inf, 1.0, 3)
    assert not np.isfinite(summary.mean[0])
    with pytest.raises(DataError, match=r"Infinite values in .'x0'"):
        og.stats.corr(np.array([[1.0, 2.0], [np.inf, 3.0]]))
    with pytest.raises(ParameterError, match="give one of them"):
        og.stats.cov(TABLE, fweights="w", aweights="w")
    with pytest.raises(ParameterError, match="quantiles"):
        og.stats.summarize(TABLE, quantiles=[1.5])
    with pytest.raises(SchemaError, match="numbers"):
        og.stats.summarize(TABLE, "key")
    with pytest.raises(ColumnNotFoundError):
        og.stats.summarize(TABLE, "nope")
    with pytest.raises(ColumnNotFoundError):
        og.stats.summarize(TABLE, by="nope")
    with pytest.raises(DataError, match="400 rows, and 3 groups"):
        og.stats.summarize(TABLE, by=np.arange(3))
    with pytest.raises(ParameterError, match="named columns, not arrays"):
        og.stats.summarize(og.dataset(TABLE), by=np.arange(ROWS))
    with pytest.raises(DataError, match="negative"):
        og.stats.summarize(TABLE, fweights=-np.ones(ROWS))


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_correlation_on_every_engine(engine: EngineCase, method: str) -> None:
    frame = NEAR[NUMBERS]
    got = og.stats.corr(engine.open(TABLE), NUMBERS, method)
    np.testing.assert_allclose(got.statistic, frame.corr(method), atol=1e-8)
    both = frame[["b", "c"]].dropna()
    name = {"pearson": "pearsonr", "spearman": "spearmanr", "kendall": "kendalltau"}[method]
    expected = getattr(scipy.stats, name)(both["b"], both["c"])
    np.testing.assert_allclose([got.statistic[1, 2], got.pvalue[1, 2]], list(expected), rtol=1e-9)
    assert got.count[1, 2] == len(both)


def test_covariance_on_every_engine(engine: EngineCase) -> None:
    got = og.stats.cov(engine.open(TABLE), NUMBERS).matrix
    np.testing.assert_allclose(got, NEAR[NUMBERS].cov(), atol=1e-8)


@settings(max_examples=60)
@given(MATRICES, st.sampled_from(["pearson", "spearman"]))
def test_correlations_of_any_numbers(X: np.ndarray, method: str) -> None:
    got = og.stats.corr(X, method=method)
    for i in range(X.shape[1]):
        for j in range(i):
            both = ~np.isnan(X[:, i]) & ~np.isnan(X[:, j])
            x, y = X[both, i], X[both, j]
            if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
                assert np.isnan(got.statistic[i, j])
                continue
            expected = (scipy.stats.pearsonr if method == "pearson" else scipy.stats.spearmanr)(x, y)
            np.testing.assert_allclose(got.statistic[i, j], expected.statistic, atol=1e-9)
            if abs(expected.statistic) < 1 - 1e-9 and len(x) > 2:
                np.testing.assert_allclose(got.pvalue[i, j], expected.pvalue, atol=1e-7)


def test_weighted_correlation() -> None:
    repeated = NEAR.loc[NEAR.index.repeat(NEAR["w"])]
    got = og.stats.corr(TABLE, NUMBERS, weights="w")
    np.testing.assert_allclose(got.statistic, repeated[NUMBERS].corr(), atol=1e-8)
    assert np.isnan(got.pvalue).all()
    with pytest.raises(ParameterError, match="spearman"):
        og.stats.corr(TABLE, NUMBERS, "spearman", weights="w")


def test_ranks_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(5).normal(size=(100, 5))
    whole = og.stats.corr(X, method="spearman").statistic
    monkeypatch.setattr(rank_correlation, "HELD", 250)
    np.testing.assert_array_equal(og.stats.corr(X, method="spearman").statistic, whole)
    monkeypatch.setattr(rank_correlation, "HELD", 150)
    with pytest.raises(DataError, match="a sample"):
        og.stats.corr(X, method="spearman")


def test_ranks_take_infinity_and_constants() -> None:
    X = np.array([[1.0, -np.inf, 7.0], [2.0, 0.0, 7.0], [3.0, np.inf, 7.0]])
    np.testing.assert_array_equal(
        og.stats.corr(X, method="spearman").statistic, [[1, 1, np.nan], [1, 1, np.nan], [np.nan] * 3]
    )
    tenths = np.column_stack([np.full(1000, 0.1), np.arange(1000.0)])
    assert np.isnan(og.stats.corr(tenths).statistic[0]).all()
    far = np.random.default_rng(6).normal(1e9, 1e-3, 10_000)
    np.testing.assert_allclose(og.stats.summarize(far).std, np.std(far - 1e9, ddof=1), rtol=1e-6)
    assert og.stats.summarize(tenths).variance[0] == 0


def test_weights_of_nothing_and_of_one_value(engine: EngineCase) -> None:
    threes = pa.table({"x": [3.0] * 5, "w": [0.7, 0.4, 0.5, 0.4, 0.0]})
    summary = og.stats.summarize(engine.open(threes), "x", aweights="w")
    assert (summary.variance[0], summary.std[0], summary.count[0]) == (0, 0, 4)
    with pytest.raises(DataError, match="weigh 0"):
        og.stats.summarize(threes, "x", fweights=np.zeros(5))


def test_ranks_of_numbers_next_to_each_other() -> None:
    tiny = np.array([0.0, 5e-324, 1e-323, -5e-324, 1e308, -1e308, np.inf, -np.inf, 1.0, np.nextafter(1, 2)])
    X = np.column_stack([tiny, scipy.stats.rankdata(tiny)])
    assert og.stats.corr(X, method="spearman").statistic[0, 1] == 1


def test_kendall_says_when_it_cannot() -> None:
    with pytest.raises(DataError, match="each row with all others"):
        og.stats.corr(np.zeros((3_000_000, 2)), method="kendall")


def test_results_print_as_tables() -> None:
    assert repr(og.stats.corr(TABLE, ["a", "c"])).splitlines()[1].split() == ["a", "c"]
    lines = repr(og.stats.summarize(TABLE, NUMBERS)).splitlines()
    assert [line.split()[0] for line in lines] == ["Summary", "column", *NUMBERS]


def test_frequencies_are_whole_numbers() -> None:
    rows = pa.table({"x": [1.0, 2.0, 4.0], "times": [2.0, 0.0, 3.0], "half": [0.5, 1.0, 2.0]})
    summary = og.stats.summarize(rows, "x", fweights="times")
    assert (summary.weight_sum, summary.variance) == (5, pytest.approx(np.var([1, 1, 4, 4, 4], ddof=1)))
    for statistic in (og.stats.summarize, og.stats.cov):
        for weights in ("half", [0.5, 1.0, 2.0]):
            with pytest.raises(DataError, match=r"1 of them are not whole, such as 0.5.*aweights="):
                statistic(rows, ["x"], fweights=weights)
    assert og.stats.summarize(rows, "x", aweights="half").weight_sum == 3.5
