"""Sums of more digits than float64 has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class ExtendedSum(State):
    """A sum of `numpy.longdouble` as two float64, in which it can be stored and sent anywhere.

    Attributes
    ----------
    high, low : what float64 holds of the sum, and the rest.
    """

    high: np.ndarray
    low: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> ExtendedSum:
        """The sum so far."""
        high = values.astype(np.float64)
        return cls(high, (values - high).astype(np.float64))

    @property
    def values(self) -> np.ndarray:
        """The sum as longdouble."""
        return self.high.astype(np.longdouble) + self.low

    def merge(self, other: ExtendedSum) -> ExtendedSum:
        return ExtendedSum.of(self.values + other.values)
