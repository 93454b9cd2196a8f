"""Numbers whose squares float64 does not hold: answered rightly, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import scipy.sparse as sp
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st

import outgrow as og

pytestmark = pytest.mark.filterwarnings("error")

rng = np.random.default_rng(0)
GROUP = rng.integers(0, 2, 60)
NUMBERS = rng.normal(size=(60, 2)) + np.outer(GROUP, [0.5, 0.2])


def table(scale: float, missing: bool = False) -> pa.Table:
    X = NUMBERS * scale
    if missing:
        X[::7, 0] = np.nan
    return pa.table({"x": X[:, 0], "z": X[:, 1], "g": GROUP})


@pytest.mark.parametrize("scale", [1e80, 1e-80, 1e140, 1e-130])
@pytest.mark.parametrize("missing", [False, True])
def test_correlations_do_not_depend_on_the_unit(scale: float, missing: bool) -> None:
    """The product of two sums of squares overflows, or vanishes, long before the squares do."""
    there = ~np.isnan(table(1, missing)["x"].to_numpy())
    expected = scipy.stats.pearsonr(*NUMBERS[there].T).statistic
    rows = table(scale, missing)
    assert og.stats.corr(rows, ["x", "z"]).statistic[0, 1] == pytest.approx(expected, rel=1e-12)
    assert og.stats.association(rows.select(["x", "z"])).statistic[0, 1] == pytest.approx(expected, rel=1e-12)


TESTS = {
    "ttest_1samp": lambda rows: og.stats.ttest_1samp(rows, 0.0, "x"),
    "ttest_rel": lambda rows: og.stats.ttest_rel(rows, "x", "z"),
    "ttest_ind": lambda rows: og.stats.ttest_ind(rows, columns="x", by="g"),
    "welch": lambda rows: og.stats.ttest_ind(rows, columns="x", by="g", equal_var=False),
    "f_oneway": lambda rows: og.stats.f_oneway(rows, columns="x", by="g"),
    "bartlett": lambda rows: og.stats.bartlett(rows, columns="x", by="g"),
    "levene": lambda rows: og.stats.levene(rows, columns="x", by="g"),
    "var_test": lambda rows: og.stats.var_test(rows, columns="x", by="g"),
}


@pytest.mark.parametrize("name", TESTS)
def test_tests_do_not_depend_on_the_unit(name: str) -> None:
    expected = TESTS[name](table(1))
    for scale in (1e100, 1e-100):
        found = TESTS[name](table(scale))
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert found.pvalue == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize(("scale", "said"), [(1e200, "overflow"), (1e-200, "too small")])
def test_tests_refuse_what_has_no_squares(name: str, scale: float, said: str) -> None:
    """A t of 0 or of infinity is what sums that overflowed or vanished would give."""
    with pytest.raises(og.errors.DataError, match=f"{said}.*'x"):
        TESTS[name](table(scale))


@pytest.mark.parametrize(("scale", "said"), [(1e200, "overflow"), (1e-200, "too small")])
@pytest.mark.parametrize("missing", [False, True])
def test_correlations_refuse_what_has_no_squares(scale: float, said: str, missing: bool) -> None:
    with pytest.raises(og.errors.DataError, match=said):
        og.stats.corr(table(scale, missing), ["x", "z"])


def test_columns_of_one_tiny_value_do_not_vary() -> None:
    rows = pa.table({"x": np.full(6, 1e-200), "z": np.arange(6.0)})
    assert np.isnan(og.stats.corr(rows).statistic[0, 1])


@pytest.mark.parametrize("scale", [1e-300, 1e150, 1e300])
def test_autocorrelations_do_not_depend_on_the_unit(scale: float) -> None:
    turn = np.arange(60)
    r = [og.stats.acf(pa.table({"t": turn, "x": NUMBERS[:, 0] * s}), "x", order="t") for s in (1, scale)]
    np.testing.assert_allclose(r[1].acf, r[0].acf, rtol=1e-9, atol=1e-12)


def test_autocorrelations_of_nothing() -> None:
    rows = pa.table({"t": np.arange(5), "x": np.full(5, np.nan)})
    assert np.isnan(og.stats.acf(rows, "x", order="t", nlags=2).acf).all()


def test_intervals() -> None:
    rows = table(1e200)
    mean = og.stats.bootstrap(rows, "mean", "x", n_resamples=30)
    one = og.stats.bootstrap(table(1), "mean", "x", n_resamples=30)
    assert np.isfinite([mean.low, mean.high, one.low, one.high]).all()
    with pytest.raises(og.errors.DataError, match="overflow"):
        og.stats.bootstrap(rows, "std", "x", n_resamples=30)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_profiles(scale: float) -> None:
    profile = og.dataset(table(scale)).profile(target="g")
    assert profile["x"].max == NUMBERS[:, 0].max() * scale
    assert str(profile)


@pytest.mark.parametrize("norm", ["l1", "l2", "max", 3.0, 200.0])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-170, 1e160, 1e307])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_rows_of_any_length_become_one_long(norm: Any, scale: float, make: Any) -> None:
    """scikit-learn gives zeros of long rows, and short ones as they were."""
    X = np.array([[3.0, -4.0, 0.0], [1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    expected = og.Normalizer(norm=norm).fit_transform(X)
    found = og.Normalizer(norm=norm).fit_transform(make(np.vstack([X * scale, X])))
    found = found.toarray() if sp.issparse(found) else found
    np.testing.assert_allclose(found, np.vstack([expected, expected]), rtol=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_rows_of_any_length_in_onnx(norm: str, tmp_path: Path) -> None:
    X = np.vstack([NUMBERS[:3] * scale for scale in (1e-300, 1, 1e300)] + [np.zeros((1, 2))])
    model = og.Normalizer(norm=norm).fit(X)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    inputs = {each.name: X[:, j : j + 1] for j, each in enumerate(session.get_inputs())}
    found = np.hstack(session.run(None, inputs))
    np.testing.assert_allclose(found, model.transform(X), rtol=1e-12)


@pytest.mark.parametrize("kernel", ["poly", "linear"])
def test_kernels_that_overflow_are_refused(kernel: str) -> None:
    with pytest.raises(og.errors.DataError, match="not finite"):
        og.Nystroem(kernel, n_components=5).fit(NUMBERS * 1e200)


def test_neighbours_that_cannot_be_told_are_refused() -> None:
    X = NUMBERS * 1e200
    X[0, 0] = np.nan
    with pytest.raises(og.errors.DataError, match="overflow"):
        og.KNNImputer().fit(X)


def test_shapes_of_numbers_far_from_0() -> None:
    """A third power about a mean that is off by a little is off by three times that."""
    spread = np.round(np.exp(rng.normal(size=500)) * 2**10) / 2**20
    profile = og.dataset(pa.table({"x": spread + 2**31})).profile()
    assert profile["x"].skewness == pytest.approx(scipy.stats.skew(spread), rel=1e-7)
    assert profile["x"].kurtosis == pytest.approx(scipy.stats.kurtosis(spread), rel=1e-7)


@pytest.mark.parametrize("scale", [1e-160, 1e300])
def test_fits_of_tiny_and_huge_columns_warn_of_nothing(scale: float) -> None:
    for model in (og.PowerTransformer(), og.QuantileTransformer(n_quantiles=9), og.RobustScaler()):
        assert np.isfinite(model.fit_transform(NUMBERS * scale)).all()


@pytest.mark.parametrize(
    "model",
    [og.HDBSCAN(), og.DBSCAN(), og.NearestNeighbors(2), og.KNeighborsRegressor(2)],
    ids=repr,
)
def test_neighbours_whose_distances_cannot_be_told_are_refused(model: Any) -> None:
    """HDBSCAN of such rows would look for the shortest of infinite edges without end."""
    with pytest.raises(og.errors.DataError, match=r"number \[0, 1\] hold values so far apart"):
        model.fit(NUMBERS * 1e200, NUMBERS[:, 0])
    with pytest.raises(og.errors.DataError, match="too small for float64"):
        model.fit(NUMBERS * 1e-200, NUMBERS[:, 0])


EVENT = np.exp(NUMBERS[:, 0] * 0.5 + rng.normal(size=60))
COUNTS = np.rint(EVENT)
LINEAR: dict[str, tuple[Any, np.ndarray]] = {
    "logistic": (og.LogisticRegression(C=np.inf), GROUP),
    "least squares": (og.LinearRegression(), EVENT),
    "no constant": (og.LinearRegression(fit_intercept=False), EVENT),
    "Poisson": (og.PoissonRegressor(alpha=0), COUNTS),
    "binomial": (og.GeneralizedLinearRegression("binomial"), GROUP),
    "gamma": (og.GeneralizedLinearRegression("gamma", link="log"), EVENT),
    "Huber": (og.HuberRegressor(alpha=0), EVENT),
    "quantile": (og.QuantileRegressor(alpha=0), EVENT),
    "survival": (og.AFTSurvivalRegression(), EVENT),
    "hazards": (og.CoxRegression(), EVENT),
    "linear discriminants": (og.LinearDiscriminantAnalysis(), GROUP),
    "quadratic discriminants": (og.QuadraticDiscriminantAnalysis(), GROUP),
}


@pytest.mark.parametrize("name", LINEAR)
@given(power=st.integers(-320, 300), other=st.sampled_from([0, 0, -200, 120]), constant=st.booleans())
@example(power=-140, other=0, constant=False)
@example(power=140, other=-140, constant=False)
@example(power=-200, other=0, constant=True)
@settings(max_examples=8, deadline=None)
def test_linear_models_answer_the_same_in_any_unit(name: str, power: int, other: int, constant: bool) -> None:
    """Columns near 1e-160 once gave an answer that was the mean of all rows, without a word."""
    model, y = LINEAR[name]
    full = "quadratic" in name  # whose axes are those of all columns together
    factors = np.array([float(f"1e{power}"), float(f"1e{power if full else other}")])
    X = NUMBERS * factors
    if constant and not full and name != "no constant":
        X = np.column_stack([X, np.full(60, 1e-200)])  # says nothing, and hurts nothing
    expected = model.fit(NUMBERS, y).predict(NUMBERS)
    if np.all((factors > 1e-140) & (factors < 1e140)):
        np.testing.assert_allclose(model.fit(X, y).predict(X), expected, rtol=1e-6)
        return
    try:
        found = model.fit(X, y).predict(X)
    except og.errors.DataError as error:
        refused = str(error)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        return
    assert any(word in refused for word in ("overflow", "too small", "variance"))
