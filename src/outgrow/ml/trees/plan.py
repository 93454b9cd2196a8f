"""What trees shall grow, and what has grown: all that those who grow them have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrow.engine.matrix import Block

TOO_LARGE = (
    "Input X contains a value too large for float32 (beyond 3.4e38), in which trees keep features. "
    "Scale that column."
)


@dataclass(frozen=True)
class Plan:
    """What to grow.

    Attributes
    ----------
    parameters : those of `xgboost.train`.
    rounds : rounds of boosting.
    label : what XGBoost shall predict for the rows of a block; shape (rows,) or (rows, outputs).
    factors : weight of each class, or None.
    kinds : 'q' or 'c' (a category) of each feature, or None for all numbers.
    held_out : share of the rows that only watch, chosen by their hash; 0 for none.
    patience : rounds without gain on those rows after which to stop.
    seed : of the choice of rows.
    told : called a few times on the way with the share of the rounds that is done and what the trees so far
        answer for the rows that the view watches; None for nobody.
    """

    parameters: Mapping[str, Any]
    rounds: int
    label: Callable[[Block], np.ndarray]
    factors: np.ndarray | None = None
    kinds: tuple[str, ...] | None = None
    held_out: float = 0.0
    patience: int = 0
    seed: int = 0
    told: Callable[[float, np.ndarray], None] | None = None

    @property
    def outputs(self) -> int:
        """How many sums the trees add to; a round grows one for each."""
        return int(self.parameters.get("num_class", 1))

    @property
    def key(self) -> Hashable:
        """Equal for plans that read the same rows, with the same bins."""
        factors = None if self.factors is None else self.factors.tobytes()
        return (self.parameters["max_bin"], factors, self.kinds, self.held_out, self.seed)


@dataclass(frozen=True)
class Grown:
    """What has grown.

    Attributes
    ----------
    content : the booster in XGBoost's UBJSON format.
    rounds : how many it has.
    gains : ndarray of shape (features,), what the splits on each gained.
    train_loss, validation_loss : the mean loss after each round on the rows learned from, and on those held
        out; empty where nobody asked.
    zeros_absent : whether zeros count as missing.
    """

    content: bytes
    rounds: int
    gains: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    zeros_absent: bool


def weighted(block: Block, factors: np.ndarray | None) -> Block:
    """The block with the weights of classes multiplied in, without the rows that weigh nothing."""
    weight = block.weight
    if factors is not None:
        weight = factors[block.y] if weight is None else weight * factors[block.y]
    if weight is None:
        return block
    block = replace(block, weight=weight)
    return block if weight.all() else block.take(weight > 0)
