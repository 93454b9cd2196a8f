"""Exact quantiles by a few counting passes: radix selection over the bits of the numbers.

Float64 numbers compare as their bits do once the sign is folded in. The first pass counts the values of each
column by their first 16 bits; the bucket that holds the wanted rank is then either small enough to gather, or
counted again by its next 16 bits. Four passes always suffice, two nearly always do, and the answer depends on
the values alone, not on their order or position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from outgrow.stats.state import State

Reduce = Callable[[Callable[[np.ndarray], Any]], Any]

_DIGIT_BITS = 16
_BUCKETS = 1 << _DIGIT_BITS
_GATHER_VALUES = 1 << 20
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True, eq=False)
class Gathered(State):
    """Values kept as they are, one array for each question."""

    values: tuple[np.ndarray, ...]

    def merge(self, other: Gathered) -> Gathered:
        return Gathered(tuple(np.concatenate(pair) for pair in zip(self.values, other.values, strict=True)))


@dataclass
class _Search:
    """The value of rank `rank` among those of column `column` whose ordered bits begin with `prefix`."""

    column: int
    rank: int
    prefix: int = 0
    bits: int = 0
    size: int = 0
    value: float = np.nan

    def descend(self, counts: np.ndarray) -> None:
        ends = np.cumsum(counts)
        digit = int(np.searchsorted(ends, self.rank, side="right"))
        self.rank -= int(ends[digit] - counts[digit])
        self.prefix = (self.prefix << _DIGIT_BITS) | digit
        self.bits += _DIGIT_BITS
        self.size = int(counts[digit])
        if self.bits == 64:
            self.value = float(_from_ordered(np.array([self.prefix], dtype=np.uint64))[0])


def quantiles(reduce: Reduce, width: int, probabilities: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Exact quantiles of the columns of a matrix, by linear interpolation as `numpy.nanquantile`.

    Parameters
    ----------
    reduce : calls its argument with each float64 block of shape (rows, width) and adds up what it returns.
    width : number of columns.
    probabilities : in [0, 1].

    Returns
    -------
    values : ndarray of shape (len(probabilities), width), NaN for columns without values.
    counts : ndarray of shape (width,), how many values each column has.
    """
    counts = reduce(_first_digits)
    n = counts.sum(axis=1)
    positions = np.outer(probabilities, np.maximum(n - 1, 0))
    low, high = np.floor(positions).astype(np.int64), np.ceil(positions).astype(np.int64)
    wanted = {(j, int(rank)) for ranks in (low, high) for j in range(width) if n[j] for rank in ranks[:, j]}
    searches = {(s.column, original): s for original, s in _solve(reduce, counts, sorted(wanted))}
    values = np.full(positions.shape, np.nan)
    for i, j in np.ndindex(positions.shape):
        if n[j]:
            a, b = searches[j, int(low[i, j])].value, searches[j, int(high[i, j])].value
            values[i, j] = _between(a, b, float(positions[i, j] - low[i, j]))
    return values, n


def _between(a: float, b: float, share: float) -> float:
    """The number at a share of the way from one to another, also where their difference overflows."""
    if a == b:
        return a
    return a + (b - a) * share if math.isfinite(b - a) else a * (1 - share) + b * share


def _solve(
    reduce: Reduce, counts: np.ndarray, wanted: Iterable[tuple[int, int]]
) -> list[tuple[int, _Search]]:
    searches = [(rank, _Search(column, rank)) for column, rank in wanted]
    for _, search in searches:
        search.descend(counts[search.column])
    while True:
        unsolved = [search for _, search in searches if np.isnan(search.value)]
        if not unsolved:
            return searches
        buckets = sorted({(s.column, s.bits, s.prefix): s.size for s in unsolved}.items())
        keys = [key for key, _ in buckets]
        if sum(size for _, size in buckets) <= _GATHER_VALUES:
            gathered = reduce(partial(_gather, keys=keys))
            ordered = {key: np.sort(values) for key, values in zip(keys, gathered.values, strict=True)}
            for s in unsolved:
                s.value = float(ordered[s.column, s.bits, s.prefix][s.rank])
        else:
            digits = reduce(partial(_count, keys=keys))
            for s in unsolved:
                s.descend(digits[keys.index((s.column, s.bits, s.prefix))])


def _gather(X: np.ndarray, keys: Sequence[tuple[int, int, int]]) -> Gathered:
    return Gathered(tuple(_within(X, *key) for key in keys))


def _count(X: np.ndarray, keys: Sequence[tuple[int, int, int]]) -> np.ndarray:
    return np.stack([_next_digits(X, *key) for key in keys])


def _first_digits(X: np.ndarray) -> np.ndarray:
    """Counts of shape (width, 65536) by the first 16 ordered bits, NaN left out."""
    counts = np.empty((X.shape[1], _BUCKETS), dtype=np.int64)
    for j in range(X.shape[1]):
        raw = np.bincount(_leading(X[:, j]), minlength=_BUCKETS + 1)
        for infinity in _INFINITIES:
            if raw[infinity]:  # a NaN whose payload lies in the lower bits begins as infinity does
                raw[infinity] = np.count_nonzero(X[:, j] == _first_of(infinity))
        counts[j] = raw[_ORDER]
    return counts


def _leading(x: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(x).view(np.uint64) >> np.uint64(48)).astype(np.intp)


def _leading_order() -> np.ndarray:
    """Raw leading bits in the order of the numbers they begin; those of NaN point past the last bucket."""
    raw = np.arange(_BUCKETS)
    ordered = np.where(raw >= 0x8000, 0xFFFF - raw, raw + 0x8000)
    order = np.argsort(ordered)
    order[(order & 0x7FFF) > _INFINITIES[0]] = _BUCKETS
    return order


def _first_of(leading: int) -> float:
    """The number whose raw bits are the leading ones and then zeros."""
    return float((np.array([leading], dtype=np.uint64) << np.uint64(48)).view(np.float64)[0])


_INFINITIES = (0x7FF0, 0xFFF0)
_ORDER = _leading_order()


def _within(X: np.ndarray, column: int, bits: int, prefix: int) -> np.ndarray:
    """The values of a column whose ordered bits begin with `prefix`."""
    x = np.ascontiguousarray(X[:, column])
    lead = prefix >> (bits - _DIGIT_BITS)
    raw = 0xFFFF - lead if lead < 0x8000 else lead - 0x8000
    x = x[(x.view(np.uint64) >> np.uint64(48)) == np.uint64(raw)]
    if raw in _INFINITIES:
        x = x[~np.isnan(x)]
    if bits == _DIGIT_BITS:
        return x
    return x[(_ordered(x) >> np.uint64(64 - bits)) == np.uint64(prefix)]


def _next_digits(X: np.ndarray, column: int, bits: int, prefix: int) -> np.ndarray:
    keys = _ordered(_within(X, column, bits, prefix))
    digits = (keys >> np.uint64(64 - bits - _DIGIT_BITS)) & np.uint64(_BUCKETS - 1)
    return np.bincount(digits.astype(np.intp), minlength=_BUCKETS)


def _ordered(x: np.ndarray) -> np.ndarray:
    raw = np.ascontiguousarray(x).view(np.uint64)
    return np.where(raw & _SIGN, ~raw, raw | _SIGN)


def _from_ordered(keys: np.ndarray) -> np.ndarray:
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).astype(np.uint64).view(np.float64)
