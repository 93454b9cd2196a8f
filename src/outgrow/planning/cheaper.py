"""Whether a cheaper algorithm would do: others on the same sample, and what they lose beside the job's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import ndtri
from sklearn.base import clone, is_classifier

from outgrow.catalogue import estimator_class
from outgrow.data.batch import Batch
from outgrow.errors import OutgrowError
from outgrow.inspection.row_losses import losses
from outgrow.ml.pipeline import Pipeline
from outgrow.ml.predictor import Predictor

WORTH = 0.3
"""Seconds of a fit on the sample below which there is nothing to save."""
CHEAPER = 0.5
"""Of the job's seconds, what a cheaper algorithm takes at most."""
_CONFIDENCE = 0.95
_CLASSIFIERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("LogisticRegression", {}),
    ("GradientBoostingClassifier", {"n_estimators": 50, "random_state": 0}),
)
_REGRESSORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Ridge", {}),
    ("GradientBoostingRegressor", {"n_estimators": 50, "random_state": 0}),
)


@dataclass(frozen=True)
class Rival:
    """Another algorithm behind the same steps, learned from the same rows of a sample as the job's model.

    Attributes
    ----------
    name : of its class.
    seconds, of_job : what both fits took.
    rows, held : how many rows were learned from, and held out.
    metric : the loss of a row.
    loss, job_loss : the mean on the rows held out.
    low, high : the interval of the difference of the means, for all rivals together 95 %.
    """

    name: str
    seconds: float
    of_job: float
    rows: int
    held: int
    metric: str
    loss: float
    job_loss: float
    low: float
    high: float

    @property
    def cheaper(self) -> bool:
        """Whether its fit takes at most half the time."""
        return self.seconds <= CHEAPER * self.of_job

    def as_good(self, gain: float, tolerance: float) -> bool:
        """Whether it loses no more than the job's model will that learns from all rows.

        Parameters
        ----------
        gain : how much less the job's model may lose once it learns from all rows, by its learning curve.
        tolerance : the difference in loss that does not matter.
        """
        return self.cheaper and self.high + max(0.0, gain) <= tolerance


def metric_of(model: Any) -> str:
    """The loss that rows have with a model: log loss where there are probabilities.

    Parameters
    ----------
    model : the job's model or pipeline.
    """
    if not is_classifier(model):
        return "mse"
    return "log_loss" if Predictor(model).gives("predict_proba") else "error_rate"


@dataclass(frozen=True)
class Ring:
    """Where algorithms are compared.

    Attributes
    ----------
    pipeline : the job's, not fitted.
    target, weight : columns.
    learn, held : rows to learn from, and rows held out.
    """

    pipeline: Pipeline
    target: str
    weight: str | None
    learn: pa.Table
    held: pa.Table

    def rivals(self, model: Any, seconds: float, left: Callable[[], float]) -> Iterator[Rival]:
        """Each other algorithm, while there is time.

        Parameters
        ----------
        model : the job's, fitted to `learn`.
        seconds : what its fit took.
        left : the seconds that there are.
        """
        predictor = Predictor(model)
        if seconds < WORTH or predictor.targets is not None or not self.held.num_rows:
            return
        candidates = _CLASSIFIERS if is_classifier(self.pipeline) else _REGRESSORS
        job_name = type(predictor.model).__name__
        others = [(name, given) for name, given in candidates if name != job_name]
        metric = metric_of(model)
        of_job = self._losses(predictor, metric)
        for name, given in others:
            if left() < seconds:
                return
            began = time.perf_counter()
            try:
                fitted = self._fitted(name, given)
            except OutgrowError:
                continue  # it cannot learn from what the steps give
            took = time.perf_counter() - began
            difference, error = self._mean(self._losses(Predictor(fitted), metric) - of_job)
            margin = float(ndtri(1 - (1 - _CONFIDENCE) / (2 * len(others)))) * error
            before, _ = self._mean(of_job)
            yield Rival(
                name,
                took,
                seconds,
                self.learn.num_rows,
                self.held.num_rows,
                metric,
                before + difference,
                before,
                difference - margin,
                difference + margin,
            )

    def _fitted(self, name: str, given: dict[str, Any]) -> Any:
        (*steps, (last, _)) = clone(self.pipeline).step_items
        other = Pipeline([*steps, (last, estimator_class(name)(**given))])
        return other.fit(self.learn, self.target, sample_weight=self.weight)

    def _losses(self, predictor: Predictor, metric: str) -> np.ndarray:
        labels = self.held[self.target].combine_chunks()
        batch = Batch.from_arrow(self.held.combine_chunks().to_batches()[0])
        return losses(predictor, batch, labels, metric)[0]

    def _mean(self, values: np.ndarray) -> tuple[float, float]:
        """The weighted mean and its standard error."""
        weight = np.ones(len(values))
        if self.weight is not None:
            weight = self.held[self.weight].cast(pa.float64()).to_numpy()
        share = weight / weight.sum()
        mean = float(share @ values)
        return mean, math.sqrt(float(share**2 @ (values - mean) ** 2))
