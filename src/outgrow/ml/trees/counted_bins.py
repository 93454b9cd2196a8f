"""Where the bins of features end, found by counting alone: no value of a row is ever sent.

Float32 numbers in their order are whole numbers of 32 bits. Counts of the rows by the first bits say where
the rows are; where many are, counts by the next bits follow. So bins end at numbers that many rows tell
apart, and what few rows have stays as coarse as the first bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from outgrow.engine.collective import Communicator

_BITS = (12, 8, 6, 6)
"""How many more bits each count looks at."""
LEAST_ROWS = 10
"""Fewer rows that agree in some bits are not looked into further."""
_FINER = 4
"""Of the first bits, so many times as many parts as bins."""
TOP = np.finfo(np.float32).max


def places(values: np.ndarray) -> np.ndarray:
    """The place of each float32 number among all of them, as uint32; -0.0 is 0.0.

    Parameters
    ----------
    values : float32 of any shape, none missing.
    """
    bits = (values + np.float32(0.0)).view(np.uint32)
    negative = (bits >> np.uint32(31)).astype(bool)
    return np.where(negative, ~bits, bits | np.uint32(1 << 31))


def value_at(place: int) -> float:
    """The number at a place."""
    bits = np.uint32(place & 0x7FFFFFFF) if place >> 31 else np.uint32(~np.uint32(place))
    return float(np.array([bits], np.uint32).view(np.float32)[0])


@dataclass(frozen=True)
class _Bucket:
    """Numbers that agree in their first bits."""

    first: int
    bits: int
    rows: float

    @property
    def last(self) -> int:
        return self.first + (1 << (32 - self.bits)) - 1


def counted_cuts(
    comm: Communicator, X: np.ndarray, most: int, check: Callable[[np.ndarray], None]
) -> list[np.ndarray]:
    """The ends of the bins of each feature but the last, about as many rows in each; all ranks call this.

    Parameters
    ----------
    comm : adds up counts over the ranks.
    X : float32 of shape (rows, width) of this rank; NaN is missing.
    most : so many bins at most.
    check : called with X before anything is counted.

    Returns
    -------
    Of each feature float32 of shape (bins - 1,): a value belongs to the first bin whose end is above it.
    """
    check(X)
    width = X.shape[1]
    keys = [places(column[~np.isnan(column)]) for column in X.T]
    done: list[list[_Bucket]] = [[] for _ in range(width)]
    looked = [[_Bucket(0, 0, np.inf)] for _ in range(width)]
    for level, bits in enumerate(_BITS):
        counts = [_counted(keys[j], looked[j], bits) for j in range(width)]
        total = comm.allreduce(np.concatenate([np.zeros(0), *counts]))
        start = 0
        for j in range(width):
            end = start + (len(looked[j]) << bits)
            found = _parts(looked[j], total[start:end], bits)
            rows = sum(bucket.rows for bucket in [*found, *done[j]])
            least = max(LEAST_ROWS, rows / (most * (_FINER if level == 0 else 1)))
            deeper = [b for b in found if b.rows >= least and b.bits < 32]
            done[j] += [b for b in found if b.rows < least or b.bits == 32]
            looked[j], start = deeper, end
    return [_cuts(sorted(part, key=lambda b: b.first), most) for part in done]


def _counted(keys: np.ndarray, looked: list[_Bucket], bits: int) -> np.ndarray:
    """How many rows of this rank are in each part of some buckets."""
    if not looked:
        return np.zeros(0)
    before = looked[0].bits
    firsts = np.array([bucket.first for bucket in looked], dtype=np.uint64)
    own = keys.astype(np.uint64)
    kept = (own >> np.uint64(32 - before)) << np.uint64(32 - before)
    at = np.minimum(np.searchsorted(firsts, kept), len(firsts) - 1)
    there = firsts[at] == kept
    part = ((own[there] - kept[there]) >> np.uint64(32 - before - bits)).astype(np.intp)
    slots = (at[there] << bits) + part
    return np.bincount(slots, minlength=len(looked) << bits).astype(np.float64)


def _parts(looked: list[_Bucket], counts: np.ndarray, bits: int) -> list[_Bucket]:
    """The parts of buckets in which there are rows."""
    found = []
    for number, bucket in enumerate(looked):
        own = counts[number << bits : (number + 1) << bits]
        depth = bucket.bits + bits
        found += [
            _Bucket(bucket.first + (int(k) << (32 - depth)), depth, float(own[k]))
            for k in np.flatnonzero(own)
        ]
    return found


def _cuts(buckets: list[_Bucket], most: int) -> np.ndarray:
    """Ends between buckets, in the middle of what lies between them."""
    ends = np.arange(len(buckets) - 1)
    if len(ends) >= most:
        before = np.cumsum([bucket.rows for bucket in buckets])
        wanted = np.arange(1, most) * (before[-1] / most)
        after = np.minimum(np.searchsorted(before[:-1], wanted), len(ends) - 1)
        lower = np.where(after > 0, before[after - 1], -np.inf)
        ends = np.unique(after - ((after > 0) & (wanted - lower < before[after] - wanted)))
    cuts = []
    for end in ends.tolist():
        low, high = value_at(buckets[end].last), value_at(buckets[end + 1].first)
        middle = np.float32((low + high) / 2) if np.isfinite(low) and np.isfinite(high) else np.float32(high)
        cuts.append(middle if middle > low else np.float32(high))
    return np.unique(np.array(cuts, dtype=np.float32))
