"""Scores of what trees answer while they grow, by scikit-learn's scorers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.metrics import check_scoring, get_scorer

from outgrow.errors import ParameterError

Score = Callable[[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray], float]


class _Answered(BaseEstimator):
    """An estimator that answers what is known already, for whatever rows it is asked about."""

    def __init__(self, answered: np.ndarray) -> None:
        self.answered = answered

    def fit(self, X: Any, y: Any = None) -> _Answered:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Numbers(RegressorMixin, _Answered):
    def predict(self, X: Any) -> np.ndarray:
        return self.answered


class _Classes(ClassifierMixin, _Answered):
    def __init__(self, answered: np.ndarray, classes: np.ndarray) -> None:
        super().__init__(answered)
        self.classes = classes
        self.classes_ = classes

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.answered

    def predict(self, X: Any) -> np.ndarray:
        found: np.ndarray = self.classes_[self.answered.argmax(axis=1)]
        return found


def score_of(model: Any, scoring: Any) -> Score:
    """What scores answers of trees while they grow.

    Parameters
    ----------
    model : whose answers they are; a classifier has its `classes_` by then.
    scoring : the name of a scorer, a scorer, or None for the score of the model.

    Returns
    -------
    A function of features, y (numbers of classes), weights or None, and sums of the trees; greater is better.

    Raises
    ------
    ParameterError
        When there is no such scorer.
    """
    if scoring is None:
        scoring = "accuracy" if is_classifier(model) else "r2"
    try:
        scorer = get_scorer(scoring) if isinstance(scoring, str) else check_scoring(model, scoring)
    except ValueError as error:
        raise ParameterError(f"{type(model).__name__}(scoring={scoring!r}): {error}") from error

    def score(X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, raw: np.ndarray) -> float:
        answered = model._from_raw(raw)
        if not is_classifier(model):
            asked: Any = _Numbers(answered)
        else:
            asked, y = _Classes(answered, model.classes_), model.classes_[y.astype(np.intp)]
        beside = {} if weight is None else {"sample_weight": weight}
        return float(scorer(asked, X, y, **beside))

    return score
