"""HuberRegressor and LinearSVR beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import svm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor

import outgrow as og
from outgrow.engine.blocks import Block
from outgrow.errors import DataError
from outgrow.ml.linear_model import huber_regressor
from outgrow.ml.linear_model.huber_regressor import HuberLoss
from outgrow.testing import pieces_case

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 4)) * [1, 2, 0.5, 1] + [0, 1, 0, -2]
Y = X @ [1.0, -0.5, 2.0, 0.3] + 3 + RNG.standard_t(2, 300)
WEIGHT = RNG.integers(0, 3, 300).astype(float)


def huber(model: Any, weight: Any = 1.0) -> float:
    """The objective that a model reaches."""
    rows = HuberLoss(model.epsilon).losses(X @ model.coef_ + model.intercept_, model.scale_, Block(X, Y))
    return float(np.sum(weight * rows) + model.alpha * model.coef_ @ model.coef_)


@pytest.mark.parametrize("epsilon", [1.1, 1.35, 3.0])
@pytest.mark.parametrize("settings", [{}, {"alpha": 5.0}, {"fit_intercept": False}])
def test_huber_reaches_the_minimum(epsilon: float, settings: dict[str, Any]) -> None:
    ours = og.HuberRegressor(epsilon=epsilon, **settings).fit(X, Y, WEIGHT)
    theirs = HuberRegressor(epsilon=epsilon, tol=1e-9, max_iter=5000, **settings).fit(X, Y, WEIGHT)
    assert huber(ours, WEIGHT) <= huber(theirs, WEIGHT) * (1 + 1e-12)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-4)
    np.testing.assert_allclose(ours.scale_, theirs.scale_, rtol=1e-4)
    w = np.append(ours.coef_, [ours.intercept_, ours.scale_])
    for j in range(len(w)):  # no coordinate leads further down
        for step in (-1e-4, 1e-4):
            if j == 4 and not ours.fit_intercept:
                continue
            other = og.HuberRegressor(epsilon=epsilon, **settings)
            moved = w + step * (np.arange(len(w)) == j)
            other.coef_, other.intercept_, other.scale_ = moved[:4], moved[4], moved[5]
            assert huber(other, WEIGHT) > huber(ours, WEIGHT)


def test_huber_whatever_the_units_of_the_columns() -> None:
    """Columns of very different scales end scikit-learn's solver with an error (scikit-learn #27777)."""
    units = np.array([1e-6, 1e6, 1.0, 1e3])
    plain, scaled = og.HuberRegressor(alpha=0).fit(X, Y), og.HuberRegressor(alpha=0).fit(X * units + 1e4, Y)
    np.testing.assert_allclose(scaled.coef_ * units, plain.coef_, rtol=1e-5)
    assert scaled.n_iter_ <= plain.n_iter_ + 2


def test_huber_of_rows_without_noise() -> None:
    line = 2 * X[:, 0] + 1
    exact = og.HuberRegressor().fit(X, line)
    np.testing.assert_allclose(exact.predict(X), line, rtol=1e-4)
    some = np.where(np.arange(300) % 10 == 0, 100.0, line)
    most = og.HuberRegressor(alpha=0).fit(X, some)
    np.testing.assert_allclose(most.coef_, [2, 0, 0, 0], atol=1e-6)
    assert most.scale_ < 1e-6


def test_huber_begins_where_it_ended_on_any_partitioning() -> None:
    table = pa.table({f"x{j}": X[:, j] for j in range(4)} | {"y": Y})
    model = og.HuberRegressor(warm_start=True).fit(pieces_case(4).open(table), "y")
    first = model.coef_
    np.testing.assert_allclose(og.HuberRegressor().fit(X, Y).coef_, first, rtol=1e-9)
    model.fit(table, "y")
    np.testing.assert_allclose(model.coef_, first, rtol=1e-8)
    with pytest.warns(ConvergenceWarning, match="Raise max_iter"):
        og.HuberRegressor(max_iter=1).fit(X, Y)


def test_huber_says_what_is_too_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huber_regressor, "GRAM_WIDTH", 3)
    with pytest.raises(DataError, match="up to 3 features; there are 4"):
        og.HuberRegressor().fit(X, Y)


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_svr_reaches_the_minimum(epsilon: float, C: float) -> None:
    def objective(model: Any) -> float:
        over = np.maximum(np.abs(Y - model.predict(X)) - epsilon, 0)
        return float(C * WEIGHT @ over**2 + 0.5 * model.coef_ @ model.coef_)

    ours = og.LinearSVR(epsilon=epsilon, C=C).fit(X, Y, WEIGHT)
    theirs = svm.LinearSVR(
        epsilon=epsilon,
        C=C,
        loss="squared_epsilon_insensitive",
        dual=False,
        intercept_scaling=1e3,
        tol=1e-8,
        max_iter=100_000,
    ).fit(X, Y, WEIGHT)
    assert objective(ours) <= objective(theirs) * (1 + 1e-9)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)


def test_svr_of_rows_that_all_fit_in_the_tube() -> None:
    """Without noise the rows lie in the tube and out of it by turns: the minimum is a corner of it."""
    rows = np.arange(8.0)[:, None]
    model = og.LinearSVR(epsilon=0.5, C=1000.0).fit(rows, 3 * rows[:, 0])
    over = np.maximum(np.abs(3 * rows[:, 0] - model.predict(rows)) - 0.5, 0)
    assert 1000 * np.sum(over**2) + 0.5 * model.coef_[0] ** 2 == pytest.approx(4.0815493561, rel=1e-7)


def test_svr_of_many_columns_and_of_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = og.LinearSVR(C=0.1).fit(X, Y)
    found = og.cross_validate(og.LinearSVR(C=0.1), X, Y, cv=og.KFold(3))
    assert len(found.estimators) == 3
    for module in ("svm.linear_svr", "solvers.minimum"):
        monkeypatch.setattr(f"outgrow.ml.{module}.by_newton", lambda view, objective: False)
    np.testing.assert_allclose(og.LinearSVR(C=0.1).fit(X, Y).predict(X), expected.predict(X), rtol=1e-3)
