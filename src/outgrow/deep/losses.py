"""How models are judged that have a loss of their own: by its mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.ml.core.scoring import Scoring


class _Losses:
    """The mean loss of rows."""

    method = "losses"
    labels = False
    names: tuple[str, ...] = ("loss",)

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        return tuple(_state(model, answer, block) for model, answer in zip(models, answers, strict=True))

    def weight(self, state: Any) -> float:
        return float(state[0])

    def metrics(self, state: Any) -> dict[str, float]:
        return {"loss": float(state[1] / state[0])}


def _state(model: Any, answer: np.ndarray, block: Block) -> np.ndarray:
    """The weight of rows, and the sum of their losses."""
    losses = model._losses_of(answer, block)
    weight = np.ones(len(losses)) if block.weight is None else block.weight
    return np.array([weight.sum(), weight @ losses])


LOSSES: Scoring = _Losses()
