"""How models of a mean are judged: by the deviance of their family, beside the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.errors import DataError
from outgrow.ml.solvers.families import Family
from outgrow.stats.scores import RegressionState
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class DevianceState(State):
    """What the metrics of predicted means need.

    Attributes
    ----------
    errors : what the metrics of numbers need.
    deviance : summed, of y from the predictions.
    about : summed, of y from the mean that the model learned from: that from the mean of these rows follows.
    """

    errors: RegressionState
    deviance: float
    about: float

    def merge(self, other: DevianceState) -> DevianceState:
        return DevianceState(
            self.errors.merge(other.errors), self.deviance + other.deviance, self.about + other.about
        )

    @property
    def weight(self) -> float:
        """Of all rows."""
        return self.errors.weight


class DevianceScoring:
    """Predicted means beside y.

    Parameters
    ----------
    family : whose deviance it is.
    mean : of y where the model learned.
    """

    method = "predict"
    labels = False
    names: tuple[str, ...] = ("d2", "deviance", "r2", "mse", "rmse", "mae")

    def __init__(self, family: Family, mean: float) -> None:
        self.family = family
        self.mean = mean

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.

        Raises
        ------
        DataError
            When y holds values that the family does not know.
        """
        y, weight = np.asarray(block.y), block.weight
        bad = ~self.family.takes(y)
        if bad.any():
            raise DataError(
                f"Some value(s) of y are out of the valid range of the family {self.family.name!r}: "
                f"{y[bad][:5].tolist()}. They must be {self.family.y_must_be}."
            )
        about = self._summed(y, np.full(len(y), self.mean), weight)
        means = [
            model._shifted(np.asarray(each), block) if block.roles else np.asarray(each)
            for model, each in zip(models, answers, strict=True)
        ]
        return tuple(
            DevianceState(RegressionState.of(y, each, weight), self._summed(y, each, weight), about)
            for each in means
        )

    def _summed(self, y: np.ndarray, mean: np.ndarray, weight: np.ndarray | None) -> float:
        with np.errstate(all="ignore"):
            each = 2 * self.family.half_deviance(y, np.asarray(mean, dtype=np.float64))
        return float(each.sum() if weight is None else weight @ each)

    def weight(self, state: Any) -> float:
        """The weight of the rows that a state has seen."""
        return float(state.weight)

    def metrics(self, state: Any) -> dict[str, float]:
        """The share of the deviance that is explained, its mean, and the metrics of numbers."""
        mean = state.errors.target.mean
        shift = self._summed(mean, np.full(1, self.mean), np.full(1, state.weight))
        null = state.about - shift
        left = state.deviance
        explained = 1 - left / null if null > 0 else float(left == 0)
        return {"d2": explained, "deviance": left / state.weight, **state.errors.metrics()}
