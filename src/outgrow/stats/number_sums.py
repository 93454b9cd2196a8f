"""Sums over the rows that have the same number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class NumberSums(State):
    """Sums of columns for each different number. Memory grows with how many there are.

    Attributes
    ----------
    numbers : ndarray of shape (numbers,), sorted, each once; -0.0 is 0.0.
    sums : ndarray of shape (numbers, columns).
    """

    numbers: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, values: np.ndarray) -> NumberSums:
        """The sums of some rows.

        Parameters
        ----------
        numbers : shape (rows,), finite.
        values : shape (rows, columns), what is summed.
        """
        numbers = numbers.astype(np.float64) + 0.0
        return _summed(numbers, values, np.argsort(numbers))

    def merge(self, other: NumberSums) -> NumberSums:
        numbers = np.concatenate([self.numbers, other.numbers])
        order = np.argsort(numbers, kind="stable")  # of two sorted runs, which this merges
        return _summed(numbers, np.concatenate([self.sums, other.sums]), order)

    def midranks(self) -> np.ndarray:
        """The mean rank of the rows of each number, from 1 on, where the last column counts rows."""
        counts = self.sums[:, -1]
        return np.asarray(np.cumsum(counts) - (counts - 1) / 2)


def _summed(numbers: np.ndarray, values: np.ndarray, order: np.ndarray) -> NumberSums:
    ordered = numbers[order]
    starts = np.flatnonzero(np.append(np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1]))
    if len(starts) == len(ordered):
        return NumberSums(ordered, np.asarray(values[order], dtype=np.float64))
    return NumberSums(ordered[starts], np.add.reduceat(values[order], starts, axis=0, dtype=np.float64))
