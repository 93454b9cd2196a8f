"""The minima that stochastic gradient descent approaches, beside scikit-learn's exact models."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn import linear_model, svm
from sklearn.datasets import make_classification, make_regression
from sklearn.utils.validation import check_is_fitted

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.ml.solvers.losses import Huber, ModifiedHuber

ALPHA, SHARE = 0.003, 0.4
PENALTIES = ["l2", "l1", "elasticnet", None]
UNITS = np.array([1.0, 30.0, 0.1, 1.0, 1.0])


def classes(count: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        300, 5, n_informative=4, n_redundant=0, n_classes=count, flip_y=0.1, random_state=1
    )
    return X * UNITS, np.array(["a", "b", "c"])[y]


def numbers() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_regression(300, 5, noise=5, random_state=0)
    return X * UNITS, y + np.where(np.arange(300) % 20 == 0, 500.0, 0.0)


def objective(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """What a model has reached, by the formulas of scikit-learn's guide; y of classes is -1 or 1."""
    scores = X @ np.ravel(model.coef_) + np.ravel(model.intercept_)[0]
    m, r, e = y * scores, np.abs(y - scores), model.epsilon
    losses = {
        "log_loss": lambda: np.logaddexp(0, -m),
        "squared_hinge": lambda: np.maximum(0, 1 - m) ** 2,
        "modified_huber": lambda: np.where(m >= -1, np.maximum(0, 1 - m) ** 2, -4 * m),
        "squared_error": lambda: r**2 / 2,
        "huber": lambda: np.where(r <= e, r**2 / 2, e * r - e**2 / 2),
        "squared_epsilon_insensitive": lambda: np.maximum(0, r - e) ** 2,
    }
    share = {"l1": 1.0, "l2": 0.0, "elasticnet": model.l1_ratio, None: 0.0}[model.penalty]
    w, alpha = np.ravel(model.coef_), 0.0 if model.penalty is None else model.alpha
    penalty = alpha * (share * np.abs(w).sum() + (1 - share) * w @ w / 2)
    return float(losses[model.loss]().mean() + penalty)


def nearby_is_no_better(model: Any, X: np.ndarray, y: np.ndarray, slack: float) -> None:
    """The objectives are convex: where no small step gains, there is the minimum."""
    reached, coef = objective(model, X, y), model.coef_.copy()
    random = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        for _ in range(20):
            model.coef_ = coef * (1 + size * random.normal(size=coef.shape))
            assert objective(model, X, y) >= reached * (1 - slack)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge", "modified_huber"])
def test_classifier_reaches_the_minimum(loss: str, penalty: str | None) -> None:
    X, y = classes(2)
    settings = {"penalty": penalty, "alpha": ALPHA, "l1_ratio": SHARE}
    sign = np.where(y == "b", 1.0, -1.0)
    nearby_is_no_better(og.SGDClassifier(loss, **settings).fit(X, y), X, sign, 1e-9)
    ours = og.SGDClassifier(loss, **settings).fit(X / UNITS, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = linear_model.SGDClassifier(loss, **settings, max_iter=200, tol=None, random_state=0)
        theirs.fit(X / UNITS, y)
    assert objective(ours, X / UNITS, sign) <= objective(theirs, X / UNITS, sign) * (1 + 1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", ["squared_error", "huber", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("epsilon", [0.1, 20.0])
def test_regressor_reaches_the_minimum(loss: str, penalty: str | None, epsilon: float) -> None:
    X, y = numbers()
    settings = {"penalty": penalty, "alpha": ALPHA, "l1_ratio": SHARE, "epsilon": epsilon}
    nearby_is_no_better(og.SGDRegressor(loss, **settings).fit(X, y), X, y, 1e-6)


@pytest.mark.parametrize(("penalty", "share"), [("l2", 0.0), ("l1", 1.0), ("elasticnet", SHARE)])
def test_log_loss_is_logistic_regression(penalty: str, share: float) -> None:
    X, y = classes(2)
    X = X / UNITS
    ours = og.SGDClassifier(penalty=penalty, alpha=ALPHA, l1_ratio=SHARE).fit(X, y)
    peer = linear_model.LogisticRegression(
        C=1 / (ALPHA * len(X)), l1_ratio=share, solver="saga", tol=1e-10, max_iter=20_000
    ).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-5)


def test_squared_hinge_is_a_support_vector_machine() -> None:
    X, y = classes(3)
    ours = og.SGDClassifier("squared_hinge", alpha=ALPHA).fit(X, y)
    peer = og.LinearSVC(C=1 / (ALPHA * len(X))).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=1e-9)
    theirs = svm.LinearSVC(
        C=1 / (ALPHA * len(X)), dual=False, intercept_scaling=1e3, tol=1e-8, max_iter=100_000
    ).fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)
    assert not hasattr(ours, "predict_proba")


@pytest.mark.parametrize("penalty", ["l2", "elasticnet"])
def test_squared_error_is_ridge_and_elastic_net(penalty: str) -> None:
    X, y = numbers()
    weight = np.arange(len(X)) % 3 + 0.5
    ours = og.SGDRegressor(penalty=penalty, alpha=ALPHA, l1_ratio=SHARE).fit(X, y, weight)
    peer = (
        linear_model.Ridge(ALPHA * weight.sum())
        if penalty == "l2"
        else linear_model.ElasticNet(ALPHA, l1_ratio=SHARE, tol=1e-12, max_iter=100_000)
    ).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=1e-6)
    np.testing.assert_allclose(ours.intercept_, peer.intercept_, rtol=1e-6)


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
@pytest.mark.parametrize("count", [2, 3])
def test_exported_model_answers_the_same(loss: str, count: int) -> None:
    X, y = classes(count)
    ours = og.SGDClassifier(loss, alpha=0.1, class_weight="balanced").fit(X, y)
    theirs = ours.to_sklearn()
    check_is_fitted(theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    assert (ours.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("loss", [ModifiedHuber(), Huber(0.7)])
def test_first_derivatives_are_those_of_the_loss(loss: Any) -> None:
    y = np.array([1.0, 0.0]) if isinstance(loss, ModifiedHuber) else np.array([0.3, -2.0])

    def value(scores: np.ndarray) -> float:
        return float(loss.derivatives(scores.reshape(1, 1, 2).copy(), y)[0].sum())

    def first(scores: np.ndarray) -> np.ndarray:
        return np.asarray(loss.derivatives(scores.reshape(1, 1, 2).copy(), y)[1].ravel())

    for scores in np.random.default_rng(0).normal(scale=3, size=(20, 2)):
        assert check_grad(value, first, scores) < 1e-5


def test_other_losses_are_refused_with_what_to_take() -> None:
    X, y = classes(2)
    for loss in ("perceptron", "epsilon_insensitive"):
        with pytest.raises(ParameterError, match="take 'hinge' instead"):
            og.SGDClassifier(loss).fit(X, y)
    with pytest.raises(ParameterError, match="epsilon"):
        og.SGDRegressor("huber", epsilon=0).fit(X, X[:, 0])
