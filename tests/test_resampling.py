"""Bootstrap intervals, kernel densities and autocorrelations, on every engine."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from sklearn.neighbors import KernelDensity

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.stats.moments import Moments
from outgrow.stats.quantiles import Gathered
from outgrow.testing import EngineCase

RNG = np.random.default_rng(0)
ROWS = 500
X = RNG.gamma(2.0, size=ROWS)
TABLE = pa.table(
    {
        "x": X,
        "y": X + RNG.normal(size=ROWS),
        "far": X + 1e9,
        "coin": RNG.integers(0, 2, ROWS),
        "who": RNG.integers(0, 50, ROWS),
        "gap": pa.array(np.where(RNG.random(ROWS) < 0.1, np.nan, X), from_pandas=True),
        "turn": RNG.permutation(ROWS),
    }
)


@pytest.mark.parametrize("statistic", ["mean", "std", "var", "corr"])
def test_intervals_are_those_of_other_resamples(statistic: str) -> None:
    got = og.stats.bootstrap(TABLE, statistic, ["x", "y"], n_resamples=2_000)
    values = np.column_stack([TABLE["x"], TABLE["y"]])
    if statistic == "corr":
        expected = scipy.stats.bootstrap(
            (values[:, 0], values[:, 1]),
            lambda x, y: scipy.stats.pearsonr(x, y)[0],
            paired=True,
            vectorized=False,
            n_resamples=500,
            method="percentile",
            rng=1,
        )
        ours = got.low[0, 1], got.high[0, 1], got.standard_error[0, 1]
    else:
        options = {} if statistic == "mean" else {"ddof": 1}
        expected = scipy.stats.bootstrap(
            (values[:, 0],),
            lambda x, axis: getattr(np, statistic)(x, axis=axis, **options),
            n_resamples=2_000,
            method="percentile",
            rng=1,
        )
        ours = got.low[0], got.high[0], got.standard_error[0]
    ends = expected.confidence_interval
    np.testing.assert_allclose(ours[:2], ends, atol=0.15 * (ends.high - ends.low))
    assert ours[2] == pytest.approx(expected.standard_error, rel=0.15)


def test_resamples_are_the_same_on_every_engine(engine: EngineCase) -> None:
    expected = og.stats.bootstrap(TABLE, "mean", ["x", "coin"], n_resamples=30)
    got = og.stats.bootstrap(engine.open(TABLE), "mean", ["x", "coin"], n_resamples=30)
    np.testing.assert_allclose(got.bootstrap_distribution, expected.bootstrap_distribution, rtol=1e-12)


def test_equal_rows_are_drawn_apart() -> None:
    for many in (20, 100, 5_000):  # of each row one, a few, and very many
        coins = np.tile([0.0, 0.0, 1.0, 3.0], many)
        got = og.stats.bootstrap(coins, n_resamples=999)
        assert got.standard_error == pytest.approx(coins.std() / np.sqrt(len(coins)), rel=0.15)
    total = og.stats.bootstrap(TABLE, "sum", "coin")
    assert total.bootstrap_distribution.mean() == pytest.approx(total.statistic, rel=0.05)


def test_rows_of_a_key_are_drawn_together() -> None:
    values = np.repeat(RNG.normal(size=100), 20)
    key = np.repeat(np.arange(100), 20)
    rows = pa.table({"v": values + 1e-9 * RNG.normal(size=2_000), "key": key})
    apart = og.stats.bootstrap(rows, columns="v").standard_error
    together = og.stats.bootstrap(rows, columns="v", key="key").standard_error
    assert together == pytest.approx(np.std(values) / 10, rel=0.2)
    assert apart == pytest.approx(np.std(values) / np.sqrt(2_000), rel=0.2)


def test_any_state_is_resampled() -> None:
    expected = og.stats.bootstrap(TABLE, "var", ["x", "y"], n_resamples=20)
    pair = (Moments.of, lambda state: state.variance(1))
    got = og.stats.bootstrap(TABLE, pair, ["x", "y"], n_resamples=20)
    np.testing.assert_allclose(got.bootstrap_distribution, expected.bootstrap_distribution)
    median = (lambda X, _: Gathered((X[:, 0],)), lambda state: np.median(state.values[0]))
    assert og.stats.bootstrap(TABLE, median, "x", n_resamples=20).low < np.median(X)
    far = og.stats.bootstrap(TABLE, "std", ["x", "far"], n_resamples=20)
    moved = og.stats.bootstrap(TABLE, "std", ["far"], n_resamples=20)
    np.testing.assert_allclose(far.statistic, [X.std(ddof=1)] * 2, rtol=1e-6)
    assert moved.low[0] < X.std(ddof=1) < moved.high[0]


def test_bootstrap_says_what_it_cannot() -> None:
    with pytest.raises(ParameterError, match="statistic='median'"):
        og.stats.bootstrap(TABLE, "median", "x")
    with pytest.raises(ParameterError, match="n_resamples"):
        og.stats.bootstrap(TABLE, columns="x", n_resamples=1)
    with pytest.raises(DataError, match="nothing to draw"):
        og.stats.bootstrap(np.array([np.nan, np.nan]))
    basic = og.stats.bootstrap(TABLE, columns="x", method="basic", n_resamples=50)
    plain = og.stats.bootstrap(TABLE, columns="x", n_resamples=50)
    assert basic.low == pytest.approx(2 * plain.statistic - plain.high)
    assert og.stats.bootstrap(TABLE, columns="x", random_state=1, n_resamples=50).low != plain.low


@pytest.mark.parametrize("kernel", ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"])
def test_density_is_that_of_scikit_learn(engine: EngineCase, kernel: Any) -> None:
    points = np.linspace(-1, 8, 40)
    got = og.stats.kernel_density(engine.open(TABLE), points, "gap", bandwidth=0.3, kernel=kernel)
    values = TABLE["gap"].drop_null().to_numpy()[:, None]
    expected = np.exp(KernelDensity(bandwidth=0.3, kernel=kernel).fit(values).score_samples(points[:, None]))
    np.testing.assert_allclose(got.density, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_bandwidths_are_those_of_scipy(rule: str) -> None:
    weight, points = RNG.random(ROWS), np.array([0.0, 1.0, 5.0])
    got = og.stats.kernel_density(TABLE, points, "x", bandwidth=rule, weights=weight)
    np.testing.assert_allclose(got.density, scipy.stats.gaussian_kde(X, rule, weight)(points))
    with pytest.raises(DataError, match="does not vary"):
        og.stats.kernel_density(np.ones(5), points, bandwidth=rule)


def test_density_says_what_it_cannot() -> None:
    for options, said in (({"kernel": "box"}, "kernel"), ({"bandwidth": 0}, "bandwidth")):
        with pytest.raises(ParameterError, match=said):
            og.stats.kernel_density(TABLE, [0.0], "x", **options)
    with pytest.raises(ParameterError, match="finite numbers"):
        og.stats.kernel_density(TABLE, [np.inf], "x")
    with pytest.raises(DataError, match="no values"):
        og.stats.kernel_density(np.array([np.nan]), [0.0])


def by_hand(values: np.ndarray, lags: int) -> np.ndarray:
    apart = values - np.nanmean(values)
    shifted = [np.nansum(apart[lag:] * apart[: len(apart) - lag]) for lag in range(lags + 1)]
    return np.array(shifted) / shifted[0]


def test_autocorrelation_on_every_engine(engine: EngineCase) -> None:
    rows = engine.open(TABLE)
    order = np.argsort(TABLE["turn"].to_numpy())
    for name in ("x", "gap", "far"):
        values = TABLE[name].to_numpy(zero_copy_only=False)[order].astype(float)
        got = og.stats.acf(rows, name, "turn", nlags=12)
        np.testing.assert_allclose(got.acf, by_hand(values - values[0], 12), atol=1e-6)
        count = np.count_nonzero(~np.isnan(values))
        assert got.count == count
        q = count * (count + 2) * (got.acf[1:] ** 2 / (count - np.arange(1, 13))).cumsum()
        np.testing.assert_allclose(got.qstat[1:], q)
        np.testing.assert_allclose(got.pvalue[1:], scipy.stats.chi2.sf(q, np.arange(1, 13)))
        width = scipy.stats.norm.ppf(0.975) * np.sqrt((1 + 2 * (got.acf[1:12] ** 2).sum()) / count)
        assert got.high[12] - got.acf[12] == pytest.approx(width)
    assert len(og.stats.acf(rows, "x", "turn").acf) == 27


def test_order_by_times() -> None:
    start = datetime(2026, 1, 1)
    days = [start + timedelta(days=int(turn)) for turn in TABLE["turn"].to_numpy()]
    rows = pa.table({"x": TABLE["x"], "day": days})
    np.testing.assert_allclose(
        og.stats.acf(rows, "x", "day", nlags=3).acf, og.stats.acf(TABLE, "x", "turn", nlags=3).acf
    )
    with pytest.raises(DataError, match="have the same 'who'"):
        og.stats.acf(TABLE, "x", "who")
    with pytest.raises(ParameterError, match="largest lag"):
        og.stats.acf(TABLE, "x", "turn", nlags=ROWS)
    with pytest.raises(SchemaError, match="numbers or times"):
        og.stats.acf(pa.table({"x": [1.0, 2.0], "t": ["a", "b"]}), "x", "t")
    flat = og.stats.acf(pa.table({"x": [0.1] * 9, "t": range(9)}), "x", "t", nlags=2)
    assert np.isnan(flat.acf).all()
