"""Where the numbers lie that trees shall predict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.errors import DataError
from outgrow.stats.state import State

UNITS, LEAST_EXPONENT = 5, -1000
"""XGBoost stops at gains of 1e-6: in these units at what is lost in float32 too, in larger ones before."""
LEAST_SQUARES = 1e-280
"""Sums of squares below have lost digits to float64's least exponent."""


@dataclass(frozen=True)
class Target(State):
    """The weight, mean and squares about the mean of y, and its ends."""

    weight: float
    mean: float
    m2: float
    low: float
    high: float

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def of(cls, block: Block) -> Target | None:
        assert block.y is not None
        y = block.y if block.weight is None else block.y[block.weight > 0]
        if not len(y):
            return None
        weight = np.ones(len(y)) if block.weight is None else block.weight[block.weight > 0]
        total = float(weight.sum())
        mean = float(weight @ y) / total
        return cls(total, mean, float(weight @ (y - mean) ** 2), float(y.min()), float(y.max()))

    def merge(self, other: Target) -> Target:
        weight = self.weight + other.weight
        share, step = other.weight / weight, other.mean - self.mean
        with np.errstate(over="ignore", invalid="ignore"):
            squares = float(np.float64(step) ** 2 * self.weight * share)
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Target(weight, self.mean + step * share, self.m2 + other.m2 + squares, low, high)

    def place(self) -> tuple[float, float]:
        """The mean and the scale."""
        return self.mean, self.scale()

    def deviation(self) -> float:
        """The standard deviation in units of `scale`: 16 to 32 of them, also where squares are not exact."""
        with np.errstate(over="ignore", under="ignore"):
            exact = float(np.sqrt(self.m2 / self.weight) / self.scale())
        return min(max(exact, 16.0), 32.0)

    def event(self) -> float:
        """How much one event is, if y counts them in any unit: its variance over its mean, from 1e-30 to 1.

        Counts vary at least as much as their mean (Poisson's law); so what varies less is in larger units.
        """
        exact = self.mean > 0 and LEAST_SQUARES < self.m2 < math.inf
        return min(max(self.m2 / self.weight / self.mean, 1e-30), 1.0) if exact else 1.0

    def scale(self) -> float:
        """The power of two of which the standard deviation has 16 to 32; 1 where y is constant.

        Raises
        ------
        DataError
            When y reaches so far that differences overflow.
        """
        spread = max(self.high - self.mean, self.mean - self.low)
        if not math.isfinite(spread):
            raise DataError(
                f"The target reaches from {self.low:g} to {self.high:g}: sums of it overflow float64. "
                "Scale it."
            )
        if spread == 0:
            return 1.0
        exact = LEAST_SQUARES < self.m2 < math.inf
        exponent = math.frexp(math.sqrt(self.m2 / self.weight) if exact else spread)[1]
        return math.ldexp(1.0, max(exponent - UNITS, LEAST_EXPONENT))
