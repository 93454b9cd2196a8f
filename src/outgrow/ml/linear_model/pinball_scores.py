"""How models of quantiles are judged: by the pinball loss, beside the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.stats.scores import RegressionState
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class PinballState(State):
    """What the metrics of predicted quantiles need.

    Attributes
    ----------
    errors : what the metrics of numbers need, with y as a target of each of several quantiles.
    losses : ndarray of shape (quantiles,), summed.
    """

    errors: RegressionState
    losses: np.ndarray

    @classmethod
    def of(
        cls, y: np.ndarray, predicted: np.ndarray, quantiles: np.ndarray, weight: np.ndarray | None = None
    ) -> PinballState:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows,).
        predicted : shape (rows,), or (rows, quantiles).
        quantiles : shape (quantiles,).
        weight : shape (rows,); None where each row counts once.
        """
        y = y if predicted.ndim == 1 else np.repeat(y[:, None], predicted.shape[1], axis=1)
        rest = (y - predicted).reshape(len(y), len(quantiles))
        losses = np.maximum(quantiles * rest, (quantiles - 1) * rest)
        summed = losses.sum(axis=0) if weight is None else weight @ losses
        return cls(RegressionState.of(y, predicted, weight), summed)

    def merge(self, other: PinballState) -> PinballState:
        return PinballState(self.errors.merge(other.errors), self.losses + other.losses)

    @property
    def weight(self) -> float:
        """Of all rows."""
        return float(self.errors.weight)

    def metrics(self) -> dict[str, float]:
        """The mean pinball loss and the metrics of numbers, as the mean over quantiles."""
        return _with_loss(self.errors.metrics(), float(self.losses.mean()) / self.weight)

    def each_target(self) -> list[dict[str, float]]:
        """The metrics of each quantile."""
        pairs = zip(self.errors.each_target(), self.losses.tolist(), strict=True)
        return [_with_loss(numbers, loss / self.weight) for numbers, loss in pairs]


class PinballScoring:
    """Predicted quantiles beside y; the models say which."""

    method = "predict"
    labels = False
    names: tuple[str, ...] = ("r2", "pinball", "mse", "rmse", "mae")

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.
        """
        y, weight = np.asarray(block.y), block.weight
        return tuple(
            PinballState.of(y, np.asarray(each), np.atleast_1d(model.quantile), weight)
            for model, each in zip(models, answers, strict=True)
        )

    def weight(self, state: Any) -> float:
        """The weight of the rows that a state has seen."""
        return float(state.weight)

    def metrics(self, state: Any) -> dict[str, float]:
        """The mean pinball loss, and the metrics of numbers."""
        return dict(state.metrics())


def _with_loss(numbers: dict[str, float], loss: float) -> dict[str, float]:
    return {"r2": numbers.pop("r2"), "pinball": loss, **numbers}
