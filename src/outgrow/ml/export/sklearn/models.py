"""What each model is in scikit-learn, or in XGBoost's classes for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.compose
import sklearn.dummy
import sklearn.ensemble
import sklearn.linear_model
import sklearn.preprocessing

from outgrow.ml.base import Model
from outgrow.ml.cluster.kmeans import KMeans
from outgrow.ml.dummy import DummyClassifier, DummyRegressor
from outgrow.ml.export.refusal import check_certain, check_trees, refusal, unknown
from outgrow.ml.linear_model.elastic_net import ElasticNet
from outgrow.ml.linear_model.linear_regression import LinearRegression
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.trees.base import TreeRegressor
from outgrow.ml.trees.boosting import BoostingClassifier
from outgrow.ml.trees.gradient_boosting import GradientBoostingClassifier, GradientBoostingRegressor
from outgrow.ml.trees.hist_gradient_boosting import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from outgrow.ml.trees.random_forest import RandomForestRegressor
from outgrow.ml.trees.wrapped import wrapped_classifier, wrapped_regressor


def made(model: Model) -> Any:
    """The fitted equal of a model.

    Raises
    ------
    ExportError
        When there is none.
    """
    make = _MODELS.get(type(model))
    if make is None:
        raise unknown(model, "scikit-learn")
    return make(model)


def _with(made: Any, model: Any, *attributes: str) -> Any:
    """The object with what was learned."""
    for attribute in attributes:
        setattr(made, attribute, getattr(model, attribute))
    return made


def _linear(model: LinearRegression) -> Any:
    made = sklearn.linear_model.LinearRegression(fit_intercept=model.fit_intercept)
    return _with(made, model, "coef_", "intercept_")


def _ridge(model: Ridge) -> Any:
    made = sklearn.linear_model.Ridge(model.alpha, fit_intercept=model.fit_intercept)
    return _with(made, model, "coef_", "intercept_")


def _elastic(model: ElasticNet) -> Any:
    made = sklearn.linear_model.ElasticNet(
        model.alpha,
        l1_ratio=model.l1_ratio,
        fit_intercept=model.fit_intercept,
        max_iter=model.max_iter,
        tol=model.tol,
    )
    return _with(made, model, "coef_", "intercept_", "n_iter_")


def _logistic(model: LogisticRegression) -> Any:
    made = sklearn.linear_model.LogisticRegression(
        C=model.C,
        fit_intercept=model.fit_intercept,
        class_weight=model.class_weight,
        max_iter=model.max_iter,
    )
    if model.l1_ratio:
        made.set_params(solver="saga", l1_ratio=model.l1_ratio)
    made.n_iter_ = model.n_iter_
    return _with(made, model, "coef_", "intercept_", "classes_")


def _kmeans(model: KMeans) -> Any:
    """Fitted on different points, as many as there are centers, then given the centers."""
    clusters, width = model.cluster_centers_.shape
    points = np.repeat(np.arange(float(clusters))[:, None], width, axis=1)
    made = sklearn.cluster.KMeans(
        clusters, init=points, n_init=1, max_iter=model.max_iter, tol=model.tol
    ).fit(points)
    made.set_params(init=model.cluster_centers_)
    made.labels_ = np.zeros(0, dtype=np.int32)
    return _with(made, model, "cluster_centers_", "inertia_", "n_iter_")


def _prior(model: DummyClassifier) -> Any:
    check_certain(model)
    rows = np.zeros((len(model.classes_), 1))
    made = sklearn.dummy.DummyClassifier(strategy=model.strategy, constant=model.constant)
    made.fit(rows, model.classes_)
    return _with(made, model, "class_prior_")


def _mean(model: DummyRegressor) -> Any:
    several = model.target_names_ is not None
    y = np.atleast_2d(model.constant_) if several else [model.constant_]
    return sklearn.dummy.DummyRegressor(strategy="mean").fit(np.zeros((1, 1)), y)


def _boosted(model: BoostingClassifier) -> Any:
    """XGBoost's own, which numbers the classes; a vote of one gives them other names."""
    check_trees(model)
    if model.loss == "exponential":
        raise refusal(model, "XGBoost has no loss='exponential'.", "Fit it with loss='log_loss'.")
    made = wrapped_classifier(model.booster_bytes_)
    if model.classes_.tolist() == list(range(len(model.classes_))):
        return made
    vote = sklearn.ensemble.VotingClassifier([("xgboost", made)], voting="soft")
    vote.estimators_ = [made]
    vote.le_ = sklearn.preprocessing.LabelEncoder().fit(model.classes_)
    vote.classes_ = vote.le_.classes_
    return vote


def _added(model: TreeRegressor) -> Any:
    """XGBoost's own for what the trees add to the mean, in a regressor that scales it and adds the mean."""
    check_trees(model)
    made = wrapped_regressor(model.booster_bytes_)
    offset, scale = float(model.offset_), float(model.scale_)
    outer = sklearn.compose.TransformedTargetRegressor(
        sklearn.dummy.DummyRegressor(),
        func=np.polynomial.Polynomial([-offset / scale, 1 / scale]),
        inverse_func=np.polynomial.Polynomial([offset, scale]),
        check_inverse=False,
    ).fit(np.zeros((1, model.n_features_)), np.zeros(1))
    outer.set_params(regressor=made)
    outer.regressor_ = made
    return outer


_MODELS: dict[type, Callable[[Any], Any]] = {
    DummyClassifier: _prior,
    DummyRegressor: _mean,
    ElasticNet: _elastic,
    GradientBoostingClassifier: _boosted,
    GradientBoostingRegressor: _added,
    HistGradientBoostingClassifier: _boosted,
    HistGradientBoostingRegressor: _added,
    KMeans: _kmeans,
    LinearRegression: _linear,
    LogisticRegression: _logistic,
    RandomForestRegressor: _added,
    Ridge: _ridge,
}
