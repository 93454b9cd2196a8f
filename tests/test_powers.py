"""PowerTransformer beside scikit-learn's and SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ExportError

rng = np.random.default_rng(0)
N = 700
SAMPLES = {
    "lognormal": rng.lognormal(size=N),
    "normal": rng.normal(size=N),
    "exponential": rng.exponential(size=N),
    "negative": -rng.exponential(size=N) - 1,
    "large": 1e6 * rng.gamma(2, size=N),
    "small": 1e-3 * rng.normal(size=N),
    "cubes": rng.normal(size=N) ** 3,
    "counts": rng.poisson(2, size=N).astype(float),
    "outlier": np.append(rng.normal(size=N - 1), 1e9),
    "two values": rng.choice([0.0, 1.0], size=N, p=[0.3, 0.7]),
    "left skewed": -rng.lognormal(size=N) + 50,
}
DARWIN = [6.1, -8.4, 1.0, 2.0, 0.7, 2.9, 3.5, 5.1, 1.8, 3.6, 7.0, 3.0, 9.3, 7.5, -6.0]


def slope(exponent: float, x: np.ndarray, method: str) -> float:
    """The derivative of the logarithmic likelihood by lambda, by a complex step."""
    step = exponent + 1e-30j
    sign, size = np.sign(x), np.log(x) if method == "box-cox" else np.log1p(np.abs(x))
    if method == "box-cox":
        y, logs = np.expm1(step * size) / step, size
    else:
        logs = sign * size
        with np.errstate(all="ignore"):
            above, below = (np.expm1(each * size) / each for each in (step, 2 - step))
        y = np.where(sign < 0, -below, above)
    spread = ((y - y.mean()) ** 2).mean()
    return float((-0.5 * np.log(spread)).imag * 1e30 + logs.mean())


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
@pytest.mark.parametrize("name", SAMPLES)
def test_exponents_are_those_of_the_greatest_likelihood(name: str, method: str) -> None:
    x = SAMPLES[name] if method == "yeo-johnson" else np.abs(SAMPLES[name]) + 0.5
    ours = og.PowerTransformer(method).fit(x[:, None])
    theirs = preprocessing.PowerTransformer(method=method).fit(x[:, None])
    (found,) = ours.lambdas_
    np.testing.assert_allclose(found, theirs.lambdas_[0], rtol=3e-6, atol=3e-7)  # where Brent's method stops
    likelihood = stats.yeojohnson_llf if method == "yeo-johnson" else stats.boxcox_llf
    assert likelihood(found, x) >= likelihood(theirs.lambdas_[0], x) - 1e-9 * N
    best = optimize.brentq(slope, found - 0.03, found + 0.05, args=(x, method), xtol=1e-14, rtol=1e-14)
    assert abs(found - best) < 1e-8 * max(1.0, abs(best))
    theirs.lambdas_[:] = found
    powers = special.boxcox(x, found) if method == "box-cox" else stats.yeojohnson(x, found)
    expected = (powers - powers.mean()) / powers.std()
    np.testing.assert_allclose(ours.transform(x[:, None])[:, 0], expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        ours.inverse_transform(ours.transform(x[:, None]))[:, 0], x, rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(ours.to_sklearn().transform(x[:, None])[:, 0], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    x=st.lists(st.floats(-1e4, 1e4).map(lambda value: round(value, 3)), min_size=5, max_size=20),
    standardize=st.booleans(),
    cut=st.integers(1, 4),
)
def test_any_numbers(x: list[float], standardize: bool, cut: int) -> None:
    X = np.array(x)[:, None]
    theirs = preprocessing.PowerTransformer(standardize=standardize).fit(X)
    parts = pa.Table.from_batches(
        [pa.record_batch({"x": part}) for part in (X[:cut, 0], X[cut:, 0], X[:0, 0])]
    )
    for rows in (X, parts):
        ours = og.PowerTransformer(standardize=standardize).fit(rows)
        found = theirs.lambdas_[0] if np.ptp(X) < 1e-6 * np.abs(X).max() else ours.lambdas_[0]
        assert (
            stats.yeojohnson_llf(found, X[:, 0]) >= stats.yeojohnson_llf(theirs.lambdas_[0], X[:, 0]) - 1e-3
        )
        made = np.asarray(ours.transform(pa.table({"x": X[:, 0]}) if rows is parts else X)).reshape(-1, 1)
        assert np.isfinite(made).all()
        if not standardize:
            expected = stats.yeojohnson(X[:, 0], ours.lambdas_[0])
            np.testing.assert_allclose(made[:, 0], expected, rtol=1e-12, atol=1e-14)
        elif np.ptp(X):
            np.testing.assert_allclose([made.mean(), made.std()], [0, 1], atol=1e-6)


def test_numbers_beyond_those_of_the_fit() -> None:
    """Columns of one sign are counted from their middle; others' powers must not differ for it."""
    new = np.array([[-3.0], [-1e-9], [0.0], [0.5], [2.0], [40.0]])
    for x in (SAMPLES["exponential"], -SAMPLES["exponential"], SAMPLES["normal"]):
        ours = og.PowerTransformer().fit(x[:, None])
        powers = stats.yeojohnson(x, ours.lambdas_[0])
        expected = (stats.yeojohnson(new[:, 0], ours.lambdas_[0]) - powers.mean()) / powers.std()
        np.testing.assert_allclose(ours.transform(new)[:, 0], expected, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(ours.inverse_transform(ours.transform(new)), new, rtol=1e-9, atol=1e-12)


def test_missing_values_constants_and_empty_columns() -> None:
    X = np.array([[1.0, 5.0, np.nan], [np.nan, 5.0, np.nan], [3.0, 5.0, np.nan], [4.0, np.nan, np.nan]])
    for method in ("yeo-johnson", "box-cox"):
        ours = og.PowerTransformer(method).fit(X)
        alone = og.PowerTransformer(method).fit(X[[0, 2, 3], :1])
        np.testing.assert_allclose(ours.lambdas_, [alone.lambdas_[0], 1, 1], rtol=1e-12)
        made = ours.transform(X)
        np.testing.assert_array_equal(np.isnan(made), np.isnan(X))
        np.testing.assert_allclose(made[:3, 1], 0, atol=1e-15)
        np.testing.assert_allclose(ours.inverse_transform(made)[:, :2], X[:, :2])


def test_numbers_whose_differences_are_small() -> None:
    """scikit-learn loses the digits of such columns (its issues 23319 and 26308)."""
    x = 1000 + 2 * rng.gamma(40, size=N)
    ours = og.PowerTransformer().fit(x[:, None])
    shifted = og.PowerTransformer("box-cox").fit(x[:, None] + 1)
    np.testing.assert_allclose(ours.lambdas_, shifted.lambdas_, rtol=1e-9)
    np.testing.assert_allclose(ours.transform(x[:, None]).std(), 1, rtol=1e-6)
    with pytest.raises(ExportError, match="differ by less than their digits"):
        ours.to_sklearn()
    years = np.array([2003.0, 1950.0, 1997.0, 2000.0, 2009.0] * 3)[:, None]
    made = og.PowerTransformer().fit_transform(years)
    expected = preprocessing.PowerTransformer().fit_transform(years)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_powers_that_would_overflow() -> None:
    far = np.array([0.6, 2.0, 3.0, 4.0] * 4 + [11, 12, 12, 16, 17, 20, 85, 90])[:, None] * 1e6
    made = og.PowerTransformer().fit_transform(far)  # scikit-learn's issue 26308
    np.testing.assert_allclose(made, preprocessing.PowerTransformer().fit_transform(far), atol=1e-6)
    huge = np.array([2003.0, 1950, 1997, 2000, 2009, 2009, 1980, 1999, 2007, 1991])[:, None]
    with pytest.warns(UserWarning, match="constrained optimum"):
        ours = og.PowerTransformer("box-cox", standardize=False).fit(huge)
    with pytest.warns(UserWarning, match="constrained optimum"):
        _, theirs = stats.boxcox(huge[:, 0])
    np.testing.assert_allclose(ours.lambdas_, theirs, rtol=1e-9)
    assert np.isfinite(ours.transform(huge)).all()
    with pytest.warns(UserWarning, match="Some values in column 0 of the inverse-transformed data are NaN"):
        assert np.isnan(
            og.PowerTransformer().fit(SAMPLES["exponential"][:, None]).inverse_transform([[1e9]])
        ).all()


def test_box_cox_wants_positive_numbers() -> None:
    good = np.array([[1.0, 1.0], [2.0, 5.0], [3.0, 2.0]])
    for bad in (0.0, -1.0):
        wrong = good.copy()
        wrong[1, 1] = bad
        with pytest.raises(DataError, match=f"strictly positive data; column 1 holds {bad:g}"):
            og.PowerTransformer("box-cox").fit(wrong)
        with pytest.raises(DataError, match=f"strictly positive data; column 1 holds {bad:g}"):
            og.PowerTransformer("box-cox").fit(good).transform(wrong)


FARES = [3251637.22, 620695.44, 11642969.0, 2223468.22, 85307500.0, 16494389.89, 917215.88, 11642969.0]
FARES += [2145773.87, 4962000.0, 620695.44, 651234.5, 1907876.71, 4053297.88, 3251637.22, 3259103.08]


@pytest.mark.parametrize(
    "x",
    [
        [1.0] * 354 + [0.0],
        [1.0] * 20_000 + [0.0],
        [0.9] * 400,
        FARES,
        [-x for x in FARES],
        [0.0] * 9 + [1e-8],
    ],
    ids=["30904", "30904 and more", "27499", "14959", "14959 mirrored", "tiny"],
)
def test_columns_of_bug_reports(x: list[float]) -> None:
    """No warning, and columns that vary get mean 0 and variance 1; the numbers are scikit-learn's issues."""
    X = np.array(x)[:, None]
    ours = og.PowerTransformer().fit(X)
    made = ours.transform(X)
    np.testing.assert_allclose([made.mean(), made.std()], [0, float(np.ptp(X) > 0)], atol=1e-6)
    np.testing.assert_allclose(ours.inverse_transform(made), X, rtol=1e-6, atol=1e-9)


def test_few_passes_over_many_columns() -> None:
    X = np.column_stack([SAMPLES[name] for name in SAMPLES if name != "outlier"])
    model: Any = og.PowerTransformer().fit(X)
    assert model.fit_record_.passes <= 4
    theirs = preprocessing.PowerTransformer().fit(np.array(DARWIN)[:, None])
    ours = og.PowerTransformer().fit(np.array(DARWIN)[:, None])
    np.testing.assert_allclose(ours.lambdas_, theirs.lambdas_, rtol=1e-6)
