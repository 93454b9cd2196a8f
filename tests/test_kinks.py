"""Exact minima of losses without curvature, beside libsvm's, which do not penalise the intercept either."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import svm
from sklearn.datasets import make_classification

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase


def rows(count: int = 300, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        count, 5, n_informative=4, n_redundant=0, n_classes=classes, flip_y=0.1, random_state=1
    )
    return X, np.array(["a", "b", "c"])[y]


def numbers(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(count, 5))
    return X, X @ np.arange(5.0) + random.standard_t(2, size=count) + 7


def hinge(model: Any, X: np.ndarray, y: np.ndarray, weight: Any = 1.0) -> float:
    sign = np.where(y == model.classes_[1], 1, -1)
    short = np.maximum(0, 1 - sign * (X @ np.ravel(model.coef_) + np.ravel(model.intercept_)[0]))
    return float(0.5 * np.sum(model.coef_**2) + model.C * np.sum(weight * short))


def excess(model: Any, X: np.ndarray, y: np.ndarray, weight: Any = 1.0) -> float:
    far = np.abs(y - X @ np.ravel(model.coef_) - np.ravel(model.intercept_)[0])
    beyond = np.maximum(0, far - model.epsilon)
    return float(0.5 * np.sum(model.coef_**2) + model.C * np.sum(weight * beyond))


@pytest.mark.parametrize("C", [0.01, 1.0, 30.0])
def test_hinge_is_that_of_libsvm(C: float) -> None:
    X, y = rows()
    weight = np.arange(len(X)) % 3 / 2
    factor = np.where(y == "a", 2.0, 1.0)
    ours = og.LinearSVC(loss="hinge", C=C, class_weight={"a": 2.0}).fit(X, y, weight)
    theirs = svm.SVC(kernel="linear", C=C, class_weight={"a": 2.0}, tol=1e-8)
    theirs.fit(X, y, sample_weight=weight)
    reached = [hinge(model, X, y, weight * factor) for model in (ours, theirs)]
    assert reached[0] <= reached[1] * (1 + 1e-12)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)
    assert (ours.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
@pytest.mark.parametrize("C", [0.01, 1.0, 30.0])
def test_absolute_loss_is_that_of_libsvm(C: float, epsilon: float) -> None:
    X, y = numbers()
    weight = np.arange(len(X)) % 3 / 2
    ours = og.LinearSVR(loss="epsilon_insensitive", C=C, epsilon=epsilon).fit(X, y, weight)
    theirs = svm.SVR(kernel="linear", C=C, epsilon=epsilon, tol=1e-8).fit(X, y, sample_weight=weight)
    assert excess(ours, X, y, weight) <= excess(theirs, X, y, weight) * (1 + 1e-12)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-3)


def test_each_of_several_classes_is_told_from_the_others() -> None:
    X, y = rows(classes=3)
    ours = og.LinearSVC(loss="hinge").fit(X, y)
    for k, label in enumerate(ours.classes_):
        alone = og.LinearSVC(loss="hinge").fit(X, y == label)
        np.testing.assert_allclose(ours.coef_[k], alone.coef_[0], rtol=1e-9)
        np.testing.assert_allclose(ours.intercept_[k], alone.intercept_[0], rtol=1e-9)


def test_stochastic_models_share_the_minimum() -> None:
    X, y = rows()
    alpha, target = 0.01, numbers()[1]
    ours = og.SGDClassifier("hinge", alpha=alpha).fit(X, y)
    peer = og.LinearSVC(loss="hinge", C=1 / (alpha * len(X))).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=1e-8)
    assert not hasattr(ours, "predict_proba")
    one = og.SGDRegressor("epsilon_insensitive", alpha=alpha, epsilon=0.2).fit(X, target)
    two = og.LinearSVR(loss="epsilon_insensitive", C=1 / (alpha * len(X)), epsilon=0.2).fit(X, target)
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-8)
    for penalty in ("l1", "elasticnet", None):
        with pytest.raises(ParameterError, match="penalty='l2'"):
            og.SGDClassifier("hinge", penalty=penalty).fit(X, y)


def test_many_rows_have_the_minimum_of_all_of_them(engine: EngineCase) -> None:
    """More than are brought together: only those near their kinks are."""
    X, y = rows(3_000)
    target = numbers(3_000)[1]
    table = pa.table({**{f"x{j}": X[:, j] for j in range(5)}, "y": y})
    ours = og.LinearSVC(loss="hinge", C=0.1).fit(engine.open(table), "y")
    theirs = svm.SVC(kernel="linear", C=0.1, tol=1e-6).fit(X, y)
    assert hinge(ours, X, y) <= hinge(theirs, X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    alone = og.LinearSVC(loss="hinge", C=0.1).fit(X, y)
    np.testing.assert_allclose(ours.coef_, alone.coef_, rtol=1e-9)
    table = table.drop_columns("y").append_column("y", pa.array(target))
    robust = og.LinearSVR(loss="epsilon_insensitive", C=0.1).fit(engine.open(table), "y")
    again = og.LinearSVR(loss="epsilon_insensitive", C=0.1).fit(X, target)
    np.testing.assert_allclose(robust.coef_, again.coef_, rtol=1e-9)


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_columns_of_any_scale_and_place(far: float) -> None:
    X, y = rows()
    units = np.array([1.0, 1e6, 1e-4, 1.0, 30.0])
    ours = og.LinearSVC(loss="hinge").fit(X * units + far * units, y)
    theirs = svm.SVC(kernel="linear", tol=1e-3, max_iter=20_000)
    with pytest.warns(match="Solver terminated early"):
        theirs.fit(X * units, y)
    assert hinge(ours, (X + far) * units, y) <= hinge(theirs, X * units, y)


def test_rows_that_are_alike_or_lie_on_the_margin_together() -> None:
    """Whole numbers, of which many rows are on the margin; parted classes; a feature without use."""
    random = np.random.default_rng(0)
    X = np.column_stack([random.integers(0, 4, (400, 3)), np.ones(400)]).astype(float)
    y = np.where(X[:, 0] + X[:, 1] + random.integers(0, 2, 400) > 3, "b", "a")
    for C, intercept in product((0.01, 1.0, 100.0), (True, False)):
        ours = og.LinearSVC(loss="hinge", C=C, fit_intercept=intercept).fit(X, y)
        theirs = svm.SVC(kernel="linear", C=C, tol=1e-8).fit(X, y)
        if intercept:
            assert hinge(ours, X, y) <= hinge(theirs, X, y) * (1 + 1e-9)
        else:
            assert ours.intercept_[0] == 0
    parted = og.LinearSVC(loss="hinge", C=1e6).fit(np.array([[-2.0], [-1.0], [1.0], [3.0]]), list("aabb"))
    np.testing.assert_allclose([parted.coef_[0, 0], parted.intercept_[0]], [1, 0], atol=1e-9)
    flat = og.LinearSVR(loss="epsilon_insensitive").fit(X, np.full(400, 3.0))
    np.testing.assert_allclose(flat.predict(X), 3.0)


def test_settings_and_folds_learn_what_each_learns_alone() -> None:
    X, y = rows()
    found = og.cross_validate(og.LinearSVC(loss="hinge"), X, y, cv=og.KFold(2))
    assert len(found.estimators) == 2
    again = og.cross_validate(found.estimators[0], X, y, cv=og.KFold(2))
    np.testing.assert_allclose(again.estimators[1].coef_, found.estimators[1].coef_, rtol=1e-9)
    tuned = og.tune(og.LinearSVC(loss="hinge"), X, y, space={"C": [0.1, 1.0]}, sampler="grid", validation=2)
    alone = og.LinearSVC(loss="hinge", **tuned.best_parameters).fit(X, y)
    np.testing.assert_allclose(tuned.best_estimator.coef_, alone.coef_, rtol=1e-9)


def test_what_is_not_found_is_refused() -> None:
    X, y = rows()
    with pytest.raises(ParameterError, match="penalty='l1' and loss='hinge'"):
        og.LinearSVC("l1", "hinge").fit(X, y)
    with pytest.raises(DataError, match="up to 512 features; there are 600"):
        og.LinearSVC(loss="hinge").fit(np.repeat(X, 120, axis=1), y)


def test_hinge_without_intercept_reaches_what_liblinear_does_not() -> None:
    """scikit-learn #22283: liblinear ends above the minimum of the dual's coordinate descent."""
    X, y = rows(60)
    ours = og.LinearSVC(loss="hinge", C=0.1, fit_intercept=False).fit(X, y)
    signed = np.where(y == "b", 1, -1)[:, None] * X
    multiplier, w = np.zeros(len(X)), np.zeros(5)
    for _ in range(1_000):
        for i, row in enumerate(signed):
            moved = np.clip(multiplier[i] + (1 - row @ w) / (row @ row), 0, 0.1)
            w += (moved - multiplier[i]) * row
            multiplier[i] = moved
    bound = multiplier.sum() - 0.5 * w @ w
    assert bound * (1 - 1e-12) <= hinge(ours, X, y) <= bound * (1 + 1e-9)
