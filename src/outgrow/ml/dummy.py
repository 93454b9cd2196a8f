"""Models that ignore the features: what any other model must beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from outgrow.engine.matrix import MatrixSpec, MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml import parameters as check
from outgrow.ml.base import Classifier, Regressor
from outgrow.ml.grouped import GroupBlock, GroupView, Stacked
from outgrow.ml.task import Task
from outgrow.stats.grouped import GroupedCoMoments
from outgrow.stats.moments import Moments
from outgrow.stats.quantiles import quantiles

R = TypeVar("R")


class _Ignoring:
    """Reads the target alone."""

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_: list[str] = []
        spec = MatrixSpec((), task.target, task.weight, labels=isinstance(self, Classifier))
        self._learn(shard.matrix(spec, last=last))

    def _learn(self, view: MatrixView) -> None:
        raise NotImplementedError


class DummyClassifier(_Ignoring, Classifier):
    """Predicts from the shares of the classes alone.

    Parameters
    ----------
    strategy : 'prior', the most frequent class with the share of each as its probability; 'most_frequent',
        that class with certainty; 'constant', the class `constant`. scikit-learn's random strategies,
        'stratified' and 'uniform', are not here: their scores follow from the shares.
    random_state : as scikit-learn has it; it changes nothing here.
    constant : the class that 'constant' predicts.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_prior_ : ndarray of their shares.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> model = og.DummyClassifier().fit(np.zeros((4, 1)), np.array([0, 1, 1, 1]))
    >>> model.predict_proba(np.zeros((1, 1))).tolist()
    [[0.25, 0.75]]
    """

    without_effect = ("random_state",)

    def __init__(self, *, strategy: str = "prior", random_state: Any = None, constant: Any = None) -> None:
        self.strategy = strategy
        self.random_state = random_state
        self.constant = constant

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _check_parameters(self) -> None:
        check.one_of(self, "strategy", ("prior", "most_frequent", "constant"))
        if self.strategy == "constant" and self.constant is None:
            raise ParameterError(
                "Constant target value has to be specified when the constant strategy is used. "
                "Give constant=."
            )

    def _learn(self, view: MatrixView) -> None:
        self.classes_ = view.classes
        self.class_prior_ = view.class_weights / view.class_weights.sum()
        if self.strategy == "constant" and self.constant not in self.classes_.tolist():
            raise ParameterError(
                "The constant target value must be present in the training data. You provided "
                f"constant={self.constant!r}. Possible values are: {self.classes_.tolist()}."
            )

    @property
    def chances(self) -> np.ndarray:
        """The probability of each class."""
        if self.strategy == "prior":
            return self.class_prior_
        if self.strategy == "constant":
            return np.array([float(label == self.constant) for label in self.classes_.tolist()])
        return np.eye(len(self.classes_))[np.argmax(self.class_prior_)]

    def _answer_predict_proba(self, X: Any) -> np.ndarray:
        return np.tile(self.chances, (X.shape[0], 1))


class DummyRegressor(_Ignoring, Regressor):
    """Predicts one number.

    Parameters
    ----------
    strategy : 'mean' of y, its 'median' or its 'quantile', neither of which takes weights; or 'constant'.
    constant : the number that 'constant' predicts.
    quantile : which one, between 0 and 1.

    Attributes
    ----------
    constant_ : the number.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 3.0])).predict(np.zeros((1, 1))).tolist()
    [2.0]
    """

    def __init__(
        self, *, strategy: str = "mean", constant: float | None = None, quantile: float | None = None
    ) -> None:
        self.strategy = strategy
        self.constant = constant
        self.quantile = quantile

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def _check_parameters(self) -> None:
        check.one_of(self, "strategy", ("mean", "median", "quantile", "constant"))
        if self.strategy == "quantile":
            check.number(self, "quantile", low=0, high=1)
        if self.strategy == "constant":
            check.number(self, "constant")

    def _group_form(self) -> GroupedMean | None:
        return GroupedMean() if self.strategy == "mean" else None

    def _learn(self, view: MatrixView) -> None:
        self.constant_ = getattr(self, f"_{self.strategy}")(view)

    def _mean(self, view: MatrixView) -> float:
        moments: Moments = view.reduce(lambda block: Moments.of(np.asarray(block.y)[:, None], block.weight))
        return float(moments.mean[0])

    def _median(self, view: MatrixView) -> float:
        return self._share(view, 0.5)

    def _quantile(self, view: MatrixView) -> float:
        assert self.quantile is not None
        return self._share(view, self.quantile)

    def _constant(self, view: MatrixView) -> float:
        assert self.constant is not None
        return float(self.constant)

    def _share(self, view: MatrixView, share: float) -> float:
        def reduce(fold: Callable[[np.ndarray], R]) -> R:
            return view.reduce(lambda block: fold(np.asarray(block.y)[:, None]))

        return float(quantiles(reduce, 1, [share])[0][0][0])

    def _answer_predict(self, X: Any) -> np.ndarray:
        return np.full(X.shape[0], self.constant_)


@dataclass(frozen=True)
class GroupedMean:
    """The mean of y of each group."""

    missing = True

    def learn(self, view: GroupView) -> Stacked:
        moments = view.reduce(_target_moments)
        n = np.where(moments.n > 0, moments.n, np.nan)
        spread = moments.products[:, 0]
        return {
            "constant_": moments.mean[:, 0],
            "rmse": np.sqrt(spread / n),
            "r2": np.where(spread > 0, 0.0, 1.0),
        }

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        return learned["constant_"][place]

    def beside(self) -> dict[str, Any]:
        return {"features_": []}


def _target_moments(block: GroupBlock) -> GroupedCoMoments:
    return GroupedCoMoments.of(block.segments, block.joint[-1:], block.weight)
