"""Models that ignore the features: what any other model must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixSpec, MatrixView
from outgrow.engine.shard import Shard
from outgrow.ml.base import Classifier, Regressor
from outgrow.ml.grouped import GroupBlock, GroupView, Stacked
from outgrow.ml.task import Task
from outgrow.stats.grouped import GroupedCoMoments
from outgrow.stats.moments import Moments


class _Ignoring:
    """Reads the target alone."""

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_: list[str] = []
        spec = MatrixSpec((), task.target, task.weight, labels=isinstance(self, Classifier))
        self._learn(shard.matrix(spec, last=last))

    def _learn(self, view: MatrixView) -> None:
        raise NotImplementedError


class DummyClassifier(_Ignoring, Classifier):
    """Predicts the most frequent class, with the share of each class as its probability.

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _learn(self, view: MatrixView) -> None:
        self.classes_ = view.classes
        self.class_prior_ = view.class_weights / view.class_weights.sum()

    def _answer_predict_proba(self, X: Any) -> np.ndarray:
        return np.tile(self.class_prior_, (X.shape[0], 1))


class DummyRegressor(_Ignoring, Regressor):
    """Predicts the mean.

    Attributes
    ----------
    constant_ : the mean of y.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 3.0])).predict(np.zeros((1, 1))).tolist()
    [2.0]
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def _group_form(self) -> GroupedMean:
        return GroupedMean()

    def _learn(self, view: MatrixView) -> None:
        moments: Moments = view.reduce(lambda block: Moments.of(np.asarray(block.y)[:, None], block.weight))
        self.constant_ = float(moments.mean[0])

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
            "constant_": moments.mean[:, 0], "rmse": np.sqrt(spread / n),
            "r2": np.where(spread > 0, 0.0, 1.0),
        }  # fmt: skip

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        return learned["constant_"][place]

    def beside(self) -> dict[str, Any]:
        return {"features_": []}


def _target_moments(block: GroupBlock) -> GroupedCoMoments:
    return GroupedCoMoments.of(block.segments, block.joint[-1:], block.weight)
