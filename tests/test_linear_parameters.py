"""Parameters of linear models that scikit-learn has: those that matter give what its own classes give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.linear_model as peers

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.ml.many import fit_many

random = np.random.default_rng(0)
X = random.normal(size=(200, 6))
Y = X @ [1.0, -2.0, 0.5, 0.0, 3.0, -1.0] + random.normal(size=200) + 5
WEIGHT = random.uniform(0.5, 2, 200)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("model", "peer"),
    [
        (og.LinearRegression(positive=True), peers.LinearRegression(positive=True)),
        (og.Ridge(3.0, positive=True), peers.Ridge(3.0, positive=True, tol=1e-14)),
        (og.ElasticNet(0.1, positive=True), peers.ElasticNet(0.1, positive=True, tol=1e-14)),
    ],
)
def test_positive_coefficients_are_those_of_scikit_learn(model: Any, peer: Any, intercept: bool) -> None:
    model.set_params(fit_intercept=intercept).fit(X, Y, sample_weight=WEIGHT)
    peer.set_params(fit_intercept=intercept).fit(X, Y, sample_weight=WEIGHT)
    assert (model.coef_ >= 0).all()
    assert (model.coef_ == 0).any()
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=1e-5)


@pytest.mark.parametrize("model", [og.Ridge(positive=True), og.ElasticNet(positive=True)])
def test_positive_coefficients_in_searches(model: Any) -> None:
    trials = fit_many(model, X, Y, [{"alpha": 0.1}, {"alpha": 1.0}], refit=True).trials
    for trial in trials:
        alone = type(model)(**trial.setting, positive=True).fit(X, Y)
        np.testing.assert_allclose(trial.refitted.coef_, alone.coef_, rtol=1e-9)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"penalty": None}, {"C": np.inf}),
        ({"penalty": "l1"}, {"l1_ratio": 1.0}),
        ({"penalty": "l2", "solver": "liblinear", "dual": True, "n_jobs": 2, "random_state": 0}, {}),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, {"l1_ratio": 0.3}),
    ],
)
def test_older_spellings_of_penalties(older: dict[str, Any], newer: dict[str, Any]) -> None:
    y = (Y > 5).astype(int)
    one, other = og.LogisticRegression(**older).fit(X, y), og.LogisticRegression(**newer).fit(X, y)
    np.testing.assert_array_equal(one.coef_, other.coef_)
    assert one.n_iter_.shape == (1,)
    assert one.n_iter_[0] > 0


@pytest.mark.parametrize(
    "model",
    [
        og.LogisticRegression(solver="simplex"),
        og.LogisticRegression(penalty="l3"),
        og.Ridge(solver="simplex"),
        og.ElasticNet(selection="none"),
    ],
)
def test_names_that_scikit_learn_does_not_have_are_refused(model: Any) -> None:
    with pytest.raises(ParameterError):
        model.fit(X, (Y > 5).astype(int))
