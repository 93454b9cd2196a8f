"""Numbers and how often they occur, as NumPy's arrays: no Python object for each of a million."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.stats.state import State

_HELD = 1 << 22
"""Numbers, some of them twice, before they are counted together: that is cheapest when many are."""
_TIMES = 4
"""How often numbers may stand there in the mean when they are more."""
_SPARSE = 4
"""How many numbers there may be from the least to the greatest for each that is known, to have a table."""
_EXACT = 2.0**53
"""Whole numbers below are floats without loss."""


@dataclass(frozen=True, eq=False)
class NumberCounts(State):
    """Each number's weight. Memory grows with the number of different ones.

    Attributes
    ----------
    numbers : shape (numbers,), of the type of the column; -0.0 is 0.0.
    weights : float64 of the same shape.
    distinct : so many of the numbers, the first, are different; of the others some may stand twice.
    missing : the weight of missing values; NaN is one.
    """

    numbers: np.ndarray
    weights: np.ndarray
    distinct: int
    missing: np.ndarray

    @classmethod
    def of(cls, array: pa.Array) -> NumberCounts:
        """The counts of an Arrow column of whole numbers or floats, which is no dictionary.

        Parameters
        ----------
        array : each row counts once.
        """
        numbers, missing = array.drop_null().to_numpy(zero_copy_only=False), array.null_count
        if numbers.dtype.kind == "f":
            gone = np.isnan(numbers)
            numbers, missing = numbers[~gone] + numbers.dtype.type(0), missing + int(gone.sum())
        return _counted(np.sort(numbers), np.array([float(missing)]))

    def merge(self, other: NumberCounts) -> NumberCounts:
        both = NumberCounts(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.weights, other.weights]),
            self.distinct,
            self.missing + other.missing,
        )
        count = len(both.numbers)
        return both.compact() if count > max(_HELD, _TIMES * self.distinct) else both

    def compact(self) -> NumberCounts:
        """The same with each number once, sorted."""
        if self.distinct == len(self.numbers):
            return self
        if (self.weights == 1.0).all():  # as those of fractions are: numbers alone sort many times as fast
            return _counted(np.sort(self.numbers), self.missing)
        order = np.argsort(self.numbers, kind="stable")  # of sorted runs, which this merges
        numbers = self.numbers[order]
        starts = np.flatnonzero(_first(numbers))
        weights = np.add.reduceat(self.weights[order], starts) if len(starts) else self.weights
        return NumberCounts(numbers[starts], weights, len(starts), self.missing)

    @cached_property
    def counts(self) -> dict[float | None, float]:
        """The weight of each number; that of missing values is under None."""
        once = self.compact()
        counts: dict[float | None, float] = dict(
            zip(once.numbers.tolist(), once.weights.tolist(), strict=True)
        )
        return {**counts, None: float(self.missing[0])} if self.has_missing else counts

    def values(self) -> np.ndarray:
        """The numbers that are not missing, sorted."""
        return self.compact().numbers

    @property
    def has_missing(self) -> bool:
        return bool(self.missing[0] > 0)


class NumberIndex:
    """Finds numbers among others by their order.

    Parameters
    ----------
    numbers : those that are known, sorted, each once, none missing.
    """

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = numbers
        self._all_exact = not len(numbers) or bool(max(-float(numbers[0]), float(numbers[-1])) < _EXACT)
        self._table = _table(numbers)

    def compares(self, kind: pa.DataType) -> bool:
        """Whether numbers of an Arrow type and those known compare without loss."""
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return False
        types = self._numbers.dtype, np.dtype(kind.to_pandas_dtype())
        alike = all(dtype.kind == "f" for dtype in types) or np.result_type(*types).kind in "iu"
        return alike or self._all_exact

    def places(self, array: pa.Array) -> np.ndarray:
        """Where each number of an Arrow column stands, and -1 for those that are not known or missing."""
        numbers = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
        if self._table is not None and _fits(numbers.dtype):
            return self._looked_up(numbers.astype(np.int64, copy=False), array)
        places = np.searchsorted(self._numbers, numbers)
        there = np.append(self._numbers, self._numbers[-1:])[places] == numbers
        there &= places < len(self._numbers)
        if array.null_count:
            there &= np.asarray(array.is_valid())
        return np.where(there, places, -1)

    def _looked_up(self, numbers: np.ndarray, array: pa.Array) -> np.ndarray:
        """The same by a table, many times as fast as a search where it is large."""
        assert self._table is not None
        low, high = int(self._numbers[0]), int(self._numbers[-1])
        there = (numbers >= low) & (numbers <= high)
        places = self._table[np.where(there, numbers, low) - low]
        if array.null_count:
            there &= np.asarray(array.is_valid())
        return np.where(there, places, -1)


def _fits(dtype: np.dtype[Any]) -> bool:
    """Whether all numbers of a type are whole and no larger than int64 holds."""
    return dtype.kind in "iu" and dtype != np.uint64


def _table(numbers: np.ndarray) -> np.ndarray | None:
    """The place of each number from the least to the greatest, -1 for others; None if few are known."""
    if not len(numbers) or not _fits(numbers.dtype):
        return None
    low, high = int(numbers[0]), int(numbers[-1])
    if high - low >= _SPARSE * len(numbers):
        return None
    places = np.full(high - low + 1, -1, dtype=np.int64)
    places[numbers.astype(np.int64) - low] = np.arange(len(numbers))
    return places


def _counted(numbers: np.ndarray, missing: np.ndarray) -> NumberCounts:
    """The counts of sorted numbers."""
    first = _first(numbers)
    if first.all():
        return NumberCounts(numbers, np.ones(len(numbers)), len(numbers), missing)
    starts = np.flatnonzero(first)
    weights = np.diff(np.append(starts, len(numbers))).astype(np.float64)
    return NumberCounts(numbers[starts], weights, len(starts), missing)


def _first(numbers: np.ndarray) -> np.ndarray:
    """Whether each of sorted numbers differs from the one before."""
    return np.append(np.ones(min(1, len(numbers)), dtype=bool), numbers[1:] != numbers[:-1])
