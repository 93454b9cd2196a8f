"""Values and how often they occur: exactly, or in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class ValueCounts(State):
    """Each value's weight; a missing value is None. Memory grows with the number of different values."""

    counts: dict[Any, float]

    @classmethod
    def of(cls, array: pa.Array, weight: np.ndarray | None = None) -> ValueCounts:
        """The counts of an Arrow column; NaN counts as missing.

        Parameters
        ----------
        array : numbers, booleans, text or times, also as a dictionary; NaN counts as missing.
        weight : shape (rows,); None where each row counts once.
        """
        if pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_nan(array), None, array)
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        values = [*_values(encoded.dictionary), None]
        codes = encoded.indices.cast(pa.int64()).fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
        rows = np.bincount(codes, None, len(values))
        sums = rows if weight is None else np.bincount(codes, weight, len(values))
        used = np.flatnonzero(rows)
        return cls(
            _added({}, zip([values[code] for code in used.tolist()], sums[used].tolist(), strict=True))
        )

    def merge(self, other: ValueCounts) -> ValueCounts:
        few, many = sorted((self.counts, other.counts), key=len)
        return ValueCounts(_added(dict(many), few.items()))

    def values(self) -> list[Any]:
        """The values that are not missing, sorted."""
        return sorted(value for value in self.counts if value is not None)

    @property
    def has_missing(self) -> bool:
        return None in self.counts

    def most_frequent(self) -> Any:
        """The value with the greatest weight, the smallest of equals; None when all are missing."""
        present = self.values()
        return max(present, key=lambda value: self.counts[value]) if present else None


def _values(array: pa.Array) -> list[Any]:
    """The values of an array, whole decimals as the numbers they are."""
    if pa.types.is_decimal(array.type):
        return [None if value is None else int(value) for value in array.to_pylist()]
    values: list[Any] = array.to_pylist()
    return values


def _added(counts: dict[Any, float], more: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    """Counts with more of them; the first are changed."""
    known = counts.get
    for value, count in more:
        counts[value] = known(value, 0.0) + count
    return counts


@dataclass(frozen=True, eq=False)
class FewDistinct(State):
    """The different values, where they are few: of more, one more than that, those of the smallest hashes.

    Attributes
    ----------
    hashes : uint64, sorted, each once.
    most : how many are few.
    """

    hashes: np.ndarray
    most: int

    @classmethod
    def of(cls, hashes: np.ndarray, most: int) -> FewDistinct:
        """The state of values.

        Parameters
        ----------
        hashes : of the values, uint64 of shape (rows,).
        most : how many are few.
        """
        return cls(np.unique(hashes)[: most + 1], most)

    def merge(self, other: FewDistinct) -> FewDistinct:
        return FewDistinct.of(np.concatenate([self.hashes, other.hashes]), self.most)


@dataclass(frozen=True, eq=False)
class DistinctCount(State):
    """About how many different values there are: HyperLogLog (Flajolet et al. 2007), Ertl's estimator (2017).

    2**14 registers of one byte; the standard error is 0.8 %.
    """

    registers: np.ndarray

    BITS = 14

    @classmethod
    def empty(cls) -> DistinctCount:
        return cls(np.zeros(1 << cls.BITS, dtype=np.uint8))

    @classmethod
    def of(cls, hashes: np.ndarray) -> DistinctCount:
        """The state of values given as well-mixed uint64 hashes."""
        state = cls.empty()
        register = (hashes >> np.uint64(64 - cls.BITS)).astype(np.intp)
        rest = (hashes << np.uint64(cls.BITS)) | np.uint64((1 << cls.BITS) - 1)
        # frexp of a float64 gives the position of the leading bit; rounding up only happens past bit 53
        leading = 64 - np.frexp(rest.astype(np.float64))[1]
        np.maximum.at(state.registers, register, (np.maximum(leading, 0) + 1).astype(np.uint8))
        return state

    def merge(self, other: DistinctCount) -> DistinctCount:
        return DistinctCount(np.maximum(self.registers, other.registers))

    def estimate(self) -> float:
        m, q = 1 << self.BITS, 64 - self.BITS
        counts = np.bincount(self.registers, minlength=q + 2).astype(np.float64)
        z = m * _tau(1 - counts[q + 1] / m)
        for k in range(q, 0, -1):
            z = 0.5 * (z + counts[k])
        z += m * _sigma(counts[0] / m)
        return 0.0 if np.isinf(z) else m * m / (2 * np.log(2) * z)


def _sigma(x: float) -> float:
    if x == 1.0:
        return np.inf
    y, z = 1.0, x
    while True:
        x *= x
        before, z, y = z, z + x * y, 2 * y
        if z == before:
            return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = x**0.5
        y *= 0.5
        before, z = z, z - (1 - x) ** 2 * y
        if z == before:
            return z / 3
