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
    weight_factor : by which weights are multiplied.
    sample : share of the rows that each tree sees, chosen by their hashes.
    apart : the trees learn apart from each other, as those of a forest do, and their mean is the answer.
    targets : how many numbers a row has as its label, also on a rank that has no rows.
    kinds : 'q' or 'c' (a category) of each feature, or None for all numbers.
    numbers : whether a zero of each feature is a number even in sparse rows, or None for no feature.
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
    weight_factor: float = 1.0
    sample: float = 1.0
    apart: bool = False
    targets: int = 1
    kinds: tuple[str, ...] | None = None
    numbers: np.ndarray | None = None
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
        rows = (factors, self.weight_factor, self.held_out, self.seed, self.sample < 1)
        return (self.parameters["max_bin"], self.kinds, rows)


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


def weighted(block: Block, plan: Plan) -> Block:
    """The block with the weights that a plan says, without the rows that weigh nothing."""
    weight = block.weight
    if plan.factors is not None:
        weight = plan.factors[block.y] if weight is None else weight * plan.factors[block.y]
    if weight is None:
        return block
    block = replace(block, weight=weight * plan.weight_factor)
    assert block.weight is not None
    weight = block.weight
    return block if weight.all() else block.take(weight > 0)
