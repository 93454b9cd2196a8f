"""Rows that weigh nothing count for nothing, even where what they would say is past all numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import outgrow as og
from outgrow.ml.solvers.weighing import idle_rows, weighed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
FAR = np.vstack([X, [[1e4, -1e4], [-1e5, 1e5]]])
WEIGHT = np.append(np.ones(60), [0.0, 0.0])
COUNTS = np.append(RNG.poisson(np.exp(0.3 * X[:, 0])), [1.0, 3.0])
TIMES = np.append(RNG.exponential(size=60) * np.exp(X[:, 1]) + 0.1, [1.0, 2.0])
CLASSES = np.append(RNG.integers(0, 2, 60), [0, 1])

CASES: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
    "poisson": (lambda: og.PoissonRegressor(alpha=0), COUNTS),
    "poisson lbfgs": (lambda: og.PoissonRegressor(solver="lbfgs", alpha=0), COUNTS),
    "gamma": (lambda: og.GammaRegressor(alpha=0), TIMES),
    "tweedie": (lambda: og.TweedieRegressor(power=1.5, alpha=0), TIMES),
    "general": (lambda: og.GeneralizedLinearRegression("poisson"), COUNTS),
    "cloglog": (lambda: og.GeneralizedLinearRegression("binomial", link="cloglog"), CLASSES),
    "sparse": (lambda: og.GeneralizedLinearRegression("poisson", alpha=0.01, l1_ratio=0.5), COUNTS),
    "logistic": (lambda: og.LogisticRegression(class_weight={0: 1.0, 1: 2.0}), CLASSES),
    "weibull": (lambda: og.AFTSurvivalRegression(distribution="weibull"), TIMES),
    "lognormal": (lambda: og.AFTSurvivalRegression(distribution="lognormal"), TIMES),
    "cox": (lambda: og.CoxRegression(), TIMES),
}


@pytest.mark.parametrize("name", CASES)
def test_far_rows_of_weight_zero_are_as_if_absent(name: str) -> None:
    make, y = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, without = make().fit(FAR, y, sample_weight=WEIGHT), make().fit(X, y[:60])
    np.testing.assert_allclose(model.coef_, without.coef_, rtol=1e-9)
    if getattr(model, "covariance_", None) is not None:
        np.testing.assert_allclose(model.covariance_, without.covariance_, rtol=1e-9)


def test_a_row_of_weight_zero_beside_few() -> None:
    X, y, weight = [[0.0], [1.0], [2.0], [1e4]], [1, 2, 3, 1], [1, 1, 1, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = og.PoissonRegressor(alpha=0).fit(X, y, sample_weight=weight)
    assert model.coef_[0] == pytest.approx(0.5224422889, rel=1e-8)


def test_terms_of_rows_that_weigh_nothing() -> None:
    terms = np.array([1.0, np.inf, np.nan])
    assert weighed(terms, np.array([2.0, 0.0, 0.0])).tolist() == [2.0, 0.0, 0.0]
    assert weighed(terms[:2], np.array([2.0, 0.5])).tolist() == [2.0, np.inf]
    assert weighed(terms, None) is terms
    assert idle_rows(np.array([0.5, 1.0])) is None
    assert idle_rows(np.zeros(0)) is None
