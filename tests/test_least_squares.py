"""Least squares against rational arithmetic, and against the reference data sets of NIST."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
import scipy.sparse as sp

import outgrow as og
from outgrow.artifact import pack, unpack
from outgrow.errors import DataError, ParameterError
from outgrow.ml.solvers import least_squares
from outgrow.stats.extended import ExtendedSum
from outgrow.stats.state import from_tree, to_tree
from outgrow.testing.engines import pieces_case

NIST = Path(__file__).parent / "nist"
CERTIFIED = json.loads((NIST / "certified.json").read_text())

DIGITS = {
    "norris": 12,
    "pontius": 12,
    "noint1": 14,
    "noint2": 14,
    "longley": 11,
    "wampler1": 10,
    "wampler2": 13,
    "wampler3": 10,
    "wampler4": 10,
    "wampler5": 9,
    "filip": 7.6,  # the exact solution, once the powers of x are rounded to float64
}
"""Right digits of the worst coefficient."""

DEVIATION_DIGITS = {"mavro": 13, "michelso": 13, "numacc3": 9.4, "numacc4": 8.2}
"""Right digits of standard deviations, where they are less than 15: the decimals are rounded to float64."""


def read(name: str) -> dict[str, np.ndarray]:
    table = np.genfromtxt(NIST / f"{name}.csv", delimiter=",", names=True)
    return {column: table[column] for column in table.dtype.names}


def digits(got: Any, certified: Any) -> float:
    """The log relative error of the worst number."""
    got, certified = np.asarray(got, float), np.asarray(certified, float)
    error = np.abs(got - certified) / np.where(certified == 0, 1, np.abs(certified))
    return float(np.min(-np.log10(np.maximum(error, 1e-15))))


@pytest.mark.parametrize("name", CERTIFIED["linear"])
@pytest.mark.parametrize("make", [og.LinearRegression, lambda **k: og.Ridge(alpha=0, **k)])
def test_certified_regressions(name: str, make: Callable[..., Any]) -> None:
    table, certified = read(name), CERTIFIED["linear"][name]
    y = table.pop("y")
    degree = certified.get("polynomial_degree")
    X = np.column_stack([table["x"] ** k for k in range(1, degree + 1)] if degree else list(table.values()))
    expected = np.array(certified["coefficients"], float)
    intercept = len(expected) > X.shape[1]
    model = make(fit_intercept=intercept).fit(X, y)
    found = [model.intercept_, *model.coef_] if intercept else model.coef_
    assert digits(found, expected) >= DIGITS[name]


@pytest.mark.parametrize("name", CERTIFIED["univariate"])
def test_certified_means_and_deviations(name: str) -> None:
    y, certified = read(name)["y"], CERTIFIED["univariate"][name]
    scaler = og.StandardScaler().fit(y[:, None])
    assert digits(scaler.mean_, certified["mean"]) >= 14.9
    deviation = np.sqrt(scaler.var_ * len(y) / (len(y) - 1))
    assert digits(deviation, certified["std_n_minus_1"]) >= DEVIATION_DIGITS.get(name, 14.9)


def solved_exactly(X: np.ndarray, y: np.ndarray, w: np.ndarray, alpha: float, intercept: bool) -> np.ndarray:
    """The coefficients of ridge regression in rational arithmetic."""
    wide = np.hstack([X, np.ones((len(y), 1))]) if intercept else X
    rows = [[Fraction(v) for v in row] for row in wide.tolist()]
    weights, target = [Fraction(v) for v in w.tolist()], [Fraction(v) for v in y.tolist()]
    size = len(rows[0])
    table = [
        [
            *(sum(u * r[i] * r[j] for u, r in zip(weights, rows, strict=True)) for j in range(size)),
            sum(u * r[i] * t for u, r, t in zip(weights, rows, target, strict=True)),
        ]
        for i in range(size)
    ]
    for i in range(X.shape[1]):
        table[i][i] += Fraction(alpha)
    for i in range(size):
        for j in range(i + 1, size):
            if factor := table[j][i] / table[i][i]:
                table[j] = [a - factor * b for a, b in zip(table[j], table[i], strict=True)]
    found = [Fraction(0)] * size
    for i in reversed(range(size)):
        found[i] = (table[i][size] - sum(table[i][j] * found[j] for j in range(i + 1, size))) / table[i][i]
    return np.array([float(v) for v in found[: X.shape[1]]])


def shapes() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    normal = random.normal
    near, twice, constant = (normal(size=(20, 5)) for _ in range(3))
    near[:, 4] = near[:, 0] + 1e-6 * normal(size=20)
    twice[:, 4] = twice[:, 0]
    constant[:, 4] = 0.1
    U, V = (np.linalg.qr(normal(size=(n, 6)))[0] for n in (20, 6))
    return {
        "wide": normal(size=(7, 12)),
        "square": normal(size=(8, 8)),
        "tall": normal(size=(25, 5)),
        "near": near,
        "twice": twice,
        "constant": constant,
        "ill": U * 10.0 ** -np.linspace(0, 9, 6) @ V,
        "scales": normal(size=(20, 5)) * 10.0 ** np.array([-9, 0, 9, 3, -3]),
        "offsets": normal(size=(20, 4)) + np.array([1e8, 0, 1e6, -1e3]),
        "nanoseconds": np.column_stack([1.7e18 + 3e16 * random.uniform(size=20), normal(size=20)]),
        "huge": normal(size=(20, 3)) * 1e120,
        "sparse": np.where(random.uniform(size=(9, 12)) < 0.3, normal(size=(9, 12)), 0),
    }


SHAPES = shapes()
UNIQUE = {"tall", "near", "ill", "scales", "offsets", "nanoseconds", "huge"}


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1e-3, 1e-9, 1e-15])
@pytest.mark.parametrize("shape", SHAPES)
def test_least_squares_keep_nine_digits(shape: str, alpha: float) -> None:
    if not alpha and shape not in UNIQUE:
        pytest.skip("without a penalty there is more than one solution")
    X = SHAPES[shape]
    random = np.random.default_rng(2)
    y, weight = random.normal(size=len(X)), random.uniform(0.5, 2, len(X))
    given = sp.csr_array(X) if shape == "sparse" else X
    for intercept, w in ((True, None), (False, weight)):
        model = og.Ridge(alpha=alpha, fit_intercept=intercept).fit(given, y, sample_weight=w)
        expected = solved_exactly(X, y, np.ones(len(y)) if w is None else w, alpha, intercept)
        assert np.abs(model.coef_ - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("shape", ["wide", "twice", "constant", "square"])
@pytest.mark.parametrize("intercept", [True, False])
def test_of_many_solutions_the_shortest_is_taken(shape: str, intercept: bool) -> None:
    X = SHAPES[shape]
    y = np.random.default_rng(3).normal(size=len(X))
    model = og.LinearRegression(fit_intercept=intercept).fit(X, y)
    centred = (X - X.mean(axis=0), y - y.mean()) if intercept else (X, y)
    expected = np.linalg.lstsq(*centred, rcond=1e-12)[0]
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_exact_dependence_needs_no_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indicators of all categories sum to one: the shortest solution, without decomposing the rows."""
    random = np.random.default_rng(4)
    X = np.eye(6)[random.integers(0, 6, 3000)]
    y = X @ np.arange(6.0) + random.normal(size=3000)
    expected = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean(), rcond=1e-12)[0]
    monkeypatch.setattr(least_squares, "FEW_PRODUCTS", 0)
    model = og.LinearRegression().fit(X, y)
    assert model.fit_record_.passes <= 4
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-9)
    np.testing.assert_allclose(model.predict(X).mean(), y.mean(), rtol=1e-9)


@pytest.mark.parametrize("penalty", [0.0, 1e-6])
def test_more_columns_than_products_are_held_for(penalty: float) -> None:
    random = np.random.default_rng(5)
    X = random.normal(size=(12, 5000)) * 10.0 ** random.integers(-3, 4, 5000)
    y = random.normal(size=12)
    model = og.Ridge(alpha=penalty).fit(X, y)
    A, b = X - X.mean(axis=0), y - y.mean()
    U, s, V = np.linalg.svd(A, full_matrices=False)
    kept = s > 1e-12 * s[0]
    expected = V[kept].T @ (s[kept] / (s[kept] ** 2 + penalty) * (U[:, kept].T @ b))
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("alpha", [1e-15, 1e-9, 1e-3, 1.0])
def test_models_by_key_take_any_penalty(alpha: float) -> None:
    random = np.random.default_rng(6)
    X, y = random.normal(size=(20, 12)), random.normal(size=20)
    key = np.repeat([0, 1], 10)
    table = {**{f"x{j}": X[:, j] for j in range(12)}, "key": key, "y": y}
    frame = pandas.DataFrame(table)
    found = og.PerGroup(og.Ridge(alpha=alpha), by="key").fit(frame, "y").predict(frame.drop(columns="y"))
    for k in (0, 1):
        alone = og.Ridge(alpha=alpha).fit(X[key == k], y[key == k]).predict(X[key == k])
        np.testing.assert_allclose(
            np.asarray(found)[key == k].astype(float).ravel(), alone, rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("model", [og.LinearRegression(), og.Ridge(), og.ElasticNet()])
@pytest.mark.parametrize("where", ["X", "y"])
def test_squares_that_overflow_are_refused(model: Any, where: str) -> None:
    X, y = np.arange(6.0)[:, None], np.arange(6.0)
    X, y = (X * 1e200, y) if where == "X" else (X, y * 1e200)
    with pytest.raises(DataError, match="overflow"):
        model.fit(X, y)


@pytest.mark.parametrize("shape", ["near", "ill", "wide", "offsets", "twice"])
def test_ranks_find_what_one_finds(shape: str) -> None:
    """Passes that correct and decompose send states between ranks, and cut rows anywhere."""
    X = SHAPES[shape]
    y = np.random.default_rng(7).normal(size=len(X))
    table = pa.table({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "y": y})
    expected = og.LinearRegression().fit(table, "y").coef_
    for pieces in (1, 2, 3, 7):
        sent = og.LinearRegression().fit(pieces_case(pieces).open(table), "y").coef_
        assert np.abs(sent - expected).max() <= 1e-8 * np.abs(expected).max()


def test_sums_of_more_digits_travel() -> None:
    values = np.array([1.0, 1e300, 1e-9], dtype=np.longdouble) / 3
    sent = from_tree(unpack(pack(to_tree(ExtendedSum.of(values)))))
    np.testing.assert_array_equal(sent.merge(ExtendedSum.of(values)).values, 2 * values)


NIST_ERRORS: dict[str, Any] = {
    "longley": (
        [
            890420.383607373,
            84.9149257747669,
            0.334910077722432e-01,
            0.488399681651699,
            0.214274163161675,
            0.226073200069370,
            455.478499142212,
        ],
        (304.854073561965, 0.995479004577296, 330.285339234588),
    ),
    "norris": (
        [0.232818234301152, 0.429796848199937e-03],
        (0.884796396144373, 0.999993745883712, 5436385.54079785),
    ),
    "noint1": ([0.165289256198347e-01], (3.56753034006338, 0.999365492298663, 15750.25)),
}
"""Certified by NIST: standard errors; deviation of the residuals, share explained, F."""


@pytest.mark.parametrize("name", NIST_ERRORS)
def test_certified_standard_errors(name: str) -> None:
    table, (errors, whole) = read(name), NIST_ERRORS[name]
    y, intercept = table.pop("y"), CERTIFIED["linear"][name]["intercept"]
    model = og.LinearRegression(fit_intercept=intercept).fit(np.column_stack(list(table.values())), y)
    summary = model.summary_
    assert digits(summary.std_error, errors) >= 7
    assert digits([np.sqrt(summary.scale), summary.r_squared, summary.f_statistic], whole) >= 7
    np.testing.assert_allclose(summary.statistic, summary.coef / errors, rtol=1e-7)


def test_summary_of_least_squares_is_that_of_statsmodels() -> None:
    """Against the closed forms in NumPy; AIC and BIC as statsmodels counts them, without the variance."""
    k = np.arange(30)
    X, y = np.column_stack([np.sin(k), k % 5 + 1e4]), ((7 * k + 3) % 11).astype(float)
    weight = 1.0 + k % 2
    summary = og.LinearRegression().fit(X, y, weight).summary_
    rows = np.repeat(k, 1 + k % 2)
    A, b = np.column_stack([np.ones(45), X[rows] - [0, 1e4]]), y[rows]
    coef = np.linalg.solve(A.T @ A, A.T @ b)
    rest = np.sum((b - A @ coef) ** 2)
    errors = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * rest / 42)
    np.testing.assert_allclose(summary.std_error[1:], errors[1:], rtol=1e-8)
    np.testing.assert_allclose(summary.coef[1:], coef[1:], rtol=1e-8)
    likelihood = -45 / 2 * (np.log(2 * np.pi * rest / 45) + 1)
    assert summary.log_likelihood == pytest.approx(likelihood)
    assert summary.aic == pytest.approx(6 - 2 * likelihood)
    assert summary.bic == pytest.approx(3 * np.log(45) - 2 * likelihood)
    spread = np.sum((b - b.mean()) ** 2)
    assert summary.adjusted_r_squared == pytest.approx(1 - rest / 42 / (spread / 44))
    assert (summary.df_residual, summary.df_model, summary.test) == (42, 2, "t")


def test_summary_says_where_there_is_none() -> None:
    k = np.arange(30)
    X, y = np.column_stack([np.sin(k), k % 5]), np.cos(k)
    for model, target in (
        (og.LinearRegression(), np.column_stack([y, y])),
        (og.LinearRegression(positive=True), y),
    ):
        with pytest.raises(ParameterError, match="There is no summary_ of this fit"):
            model.fit(X, target).summary_  # noqa: B018
    twice = og.LinearRegression().fit(np.column_stack([X, X[:, 0]]), y).summary_
    assert np.isnan(twice.std_error).tolist() == [False, True, False, True]
