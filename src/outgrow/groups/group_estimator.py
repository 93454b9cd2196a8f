"""The estimator of one group: fitted to its rows, kept as bytes, and restored to predict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor

from outgrow import artifact
from outgrow.data.batch import Batch
from outgrow.engine.context import FitContext
from outgrow.engine.events import muted
from outgrow.engine.shard import Shard
from outgrow.ml import foreign
from outgrow.ml.adapters import as_input, beside
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.task import Task
from outgrow.ml.evaluation import scorer, scoring_of
from outgrow.ml.predictor import Predictor
from outgrow.stats.scores import ClassificationState, RegressionState

METRICS = {"regressor": ("rmse", "r2"), "classifier": ("accuracy", "log_loss")}
"""The metrics of each group on the rows it learned from."""

_PROMISES = ("columns_", "n_features_in_", "feature_names_in_")


class GroupEstimator(Protocol):
    """Fits the model of one group and predicts with it; `holds_lock` if Python's lock is held meanwhile."""

    @property
    def holds_lock(self) -> bool: ...

    def fit(self, batch: Batch, task: Task) -> Any:
        """A copy of the estimator, fitted.

        Not promised: that these rows can be learned from. Any exception is taken for the group's own.

        Parameters
        ----------
        batch : all rows of the group: the features, the target and the weights, without the keys.
        task : which columns are which.
        """

    def measure(self, fitted: Any, batch: Batch, task: Task) -> dict[str, float]:
        """The metrics in `METRICS`, by name; none where the estimator predicts neither numbers nor classes.

        Parameters
        ----------
        fitted : what `fit` gave.
        batch, task : as for `fit`; the rows need not be those that were learned from.
        """

    def dump(self, fitted: Any) -> bytes: ...

    def load(self, payload: bytes) -> Any: ...

    def answer(self, fitted: Any, batch: Batch, method: str) -> np.ndarray:
        """What a method of the model gives, a value or a row of an array for each row, in their order.

        Of probabilities there are as many columns as the group has classes, not as all groups have.

        Parameters
        ----------
        fitted : what `fit` or `load` gave.
        batch : the features alone.
        method : the name of a method, like 'predict' or 'predict_proba'.
        """


def group_estimator_of(
    estimator: Any, columns: dict[str, str], *, trusted: bool, many: bool = False
) -> GroupEstimator:
    """How an estimator is fitted to one group.

    Parameters
    ----------
    estimator : not fitted, of this library or of scikit-learn's kind.
    columns : the features, name to kind; scikit-learn's kind does without.
    trusted : read bytes as written in this session, without checks.
    many : promise so many fits that compiling code for them pays.
    """
    if isinstance(estimator, Estimator):
        return OutgrowGroupEstimator(estimator, columns, trusted, many)
    return SklearnGroupEstimator(estimator, trusted)


def metric_names(estimator: Any) -> tuple[str, ...]:
    kind = "classifier" if is_classifier(estimator) else "regressor" if is_regressor(estimator) else ""
    return METRICS.get(kind, ())


@dataclass(frozen=True)
class OneBatch:
    """The rows of a group, as a shard reads them."""

    batch: Batch

    @property
    def nbytes(self) -> int:
        return self.batch.nbytes

    def batches(self, *, encoded: bool = False) -> Iterator[Batch]:
        yield self.batch


@dataclass(frozen=True)
class OutgrowGroupEstimator:
    """An estimator of this library."""

    estimator: Any
    columns: dict[str, str]
    trusted: bool
    many: bool = False

    @property
    def holds_lock(self) -> bool:
        model = getattr(self.estimator, "model", self.estimator)
        return not model._frees_lock

    def fit(self, batch: Batch, task: Task) -> Any:
        """A copy of the estimator, fitted with the events of the fit muted.

        Parameters
        ----------
        batch : the rows of the group, with the features, the target and the weights.
        task : which columns are which.
        """
        worker = clone(self.estimator)
        worker._expect(dict(self.columns))
        run = FitContext()
        run.many = self.many
        shard = Shard.of(run, [OneBatch(batch)], batch.slice(0, 0))
        with muted():
            worker._fit_shard(shard, task)
        return worker

    def measure(self, fitted: Any, batch: Batch, task: Task) -> dict[str, float]:
        """The metrics in `METRICS`, by name; log_loss is NaN where the classifier has no probabilities.

        Parameters
        ----------
        fitted : what `fit` gave.
        batch, task : as for `fit`.
        """
        names = metric_names(self.estimator)
        if not names:
            return {}
        scoring = scoring_of(fitted)
        metrics = scoring.metrics(scorer(fitted, task)(batch)[0])
        return {name: metrics.get(name, np.nan) for name in names}

    def dump(self, fitted: Any) -> bytes:
        learned = fitted._learned()
        return artifact.pack({name: value for name, value in learned.items() if name not in _PROMISES})

    def load(self, payload: bytes) -> Any:
        fitted = clone(self.estimator)
        fitted._trusted = self.trusted
        fitted._expect(dict(self.columns))
        fitted._restore(artifact.unpack(payload))
        return fitted

    def answer(self, fitted: Any, batch: Batch, method: str) -> np.ndarray:
        """What the model answers for each row.

        Parameters
        ----------
        fitted : what `fit` or `load` gave.
        batch : rows with the features; they are brought to the kinds of the columns first.
        method : as for `Predictor.answer`.
        """
        return Predictor(fitted).answer(batch, method)


@dataclass(frozen=True)
class SklearnGroupEstimator:
    """An estimator of scikit-learn, which gets an array, or a DataFrame where features are text."""

    estimator: Any
    trusted: bool
    holds_lock = True

    def fit(self, batch: Batch, task: Task) -> Any:
        """A copy of the estimator, fitted; it gets y and the weights only where the task has them.

        Parameters
        ----------
        batch : the rows of the group, with the features, the target and the weights.
        task : which columns are which.
        """
        y, weight = beside(batch, task, labels=is_classifier(self.estimator))
        X = as_input(batch.select(task.columns))
        extra = {} if weight is None else {"sample_weight": weight}
        return clone(self.estimator).fit(X, **({} if y is None else {"y": y}), **extra)

    def measure(self, fitted: Any, batch: Batch, task: Task) -> dict[str, float]:
        """The metrics in `METRICS`, by name; log_loss is NaN where the classifier has no probabilities.

        Parameters
        ----------
        fitted : what `fit` gave.
        batch, task : as for `fit`.
        """
        names = metric_names(self.estimator)
        if not names:
            return {}
        y, weight = beside(batch, task, labels=is_classifier(self.estimator))
        assert y is not None
        X = as_input(batch.select(task.columns))
        if is_regressor(self.estimator):
            metrics = RegressionState.of(y, fitted.predict(X), weight).metrics()
        elif hasattr(fitted, "predict_proba"):
            codes = np.searchsorted(fitted.classes_, y)
            metrics = ClassificationState.of(codes, fitted.predict_proba(X), weight).metrics()
        else:
            right = fitted.predict(X) == y
            metrics = {"accuracy": float(np.average(right, weights=weight)), "log_loss": np.nan}
        return {name: metrics[name] for name in names}

    def dump(self, fitted: Any) -> bytes:
        return foreign.dump(fitted)

    def load(self, payload: bytes) -> Any:
        return foreign.load(payload, trusted=self.trusted)

    def answer(self, fitted: Any, batch: Batch, method: str) -> np.ndarray:
        """What the model answers for each row, as an array.

        Parameters
        ----------
        fitted : what `fit` or `load` gave.
        batch : the features alone, in the order in which they were learned.
        method : the name of the estimator's own method, like 'predict'.
        """
        if not batch.num_rows:  # most of scikit-learn's refuse that
            return np.zeros(0, dtype=np.int32 if hasattr(fitted, "labels_") else np.float64)
        return np.asarray(getattr(fitted, method)(as_input(batch)))
