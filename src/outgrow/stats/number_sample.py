"""The different numbers of a column while they are few, and an even sample of them when they are many.

Each number has a hash; those with the least hashes are kept, so the sample is the same whatever the order of
the rows and wherever they are cut (Cohen and Kaplan 2007, bottom-k).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from outgrow.stats.state import State

MOST = 4_096
"""Different numbers that are all known."""
_PENDING = 1 << 16
_WAITING = 4_096
_LOOKED_AT = 64
_ENOUGH = 1.25 * MOST, 5.0 * MOST
"""Below the shares of so many numbers lie more than `MOST`: where all differ, and where one in four does."""
_NO_LIMIT = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class NumberSample(State):
    """Finite numbers with the least hashes, and the ends of all.

    Attributes
    ----------
    numbers : at most `MOST` + 1, each once, by their hashes; with no more than `MOST`, there are no others.
    count, missing : how many values there are, and how many are NaN.
    low, high : the least and the largest; infinities are values here.
    """

    numbers: np.ndarray
    count: int
    missing: int
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> NumberSample:
        """The sample of float64 values, NaN for missing ones."""
        sampler = NumberSampler()
        sampler.add(values)
        return sampler.state()

    def merge(self, other: NumberSample) -> NumberSample:
        hashes = _hashes(np.concatenate([self.numbers, other.numbers]))  # two runs, each sorted
        return NumberSample(
            _numbers(_once(hashes, of_two=True)[: MOST + 1]),
            self.count + other.count,
            self.missing + other.missing,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def complete(self) -> bool:
        """Whether there are no other finite numbers than these."""
        return len(self.numbers) <= MOST

    def sorted(self) -> np.ndarray:
        """The numbers by their size."""
        return np.sort(self.numbers)


class NumberSampler:
    """Makes a `NumberSample` of many batches of values, one after the other."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = [np.zeros(0)]
        self._pending, self._added = 0, False
        self._waiting: list[np.ndarray] = []
        self._waiting_count = 0
        self._limit = _NO_LIMIT
        self._count = self._missing = 0
        self._low, self._high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """Take values in: float64 of shape (values,), NaN for missing ones."""
        if len(values) < _WAITING:  # many calls with few values take longest
            self._waiting.append(values)
            self._waiting_count += len(values)
            if self._waiting_count >= _WAITING:
                self._add_waiting()
            return
        self._add(values)

    def _add_waiting(self) -> None:
        if self._waiting:
            values = np.concatenate(self._waiting)
            self._waiting, self._waiting_count = [], 0
            self._add(values)

    def _add(self, values: np.ndarray) -> None:
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        if low != low:
            present = values[~np.isnan(values)]
            self._missing += len(values) - len(present)
            if not len(present):
                return
            values, low, high = present, float(present.min()), float(present.max())
        self._count += len(values)
        self._low, self._high = min(self._low, low), max(self._high, high)
        if not (np.isfinite(low) and np.isfinite(high)):
            values = values[np.isfinite(values)]
        self._keep(values)

    def _keep(self, values: np.ndarray) -> None:
        if self._limit == _NO_LIMIT and len(set(values[:_LOOKED_AT].tolist())) < min(_LOOKED_AT, len(values)):
            values = np.asarray(pa.array(values).unique())
        values = values + 0.0  # of -0.0 it makes 0.0
        if self._limit != _NO_LIMIT:
            values = values.compress(_hashes(values) <= self._limit)  # three times as fast as with brackets
        self._kept.append(values)
        self._pending += len(values)
        self._added = True
        if self._pending > _PENDING or (self._limit == _NO_LIMIT and self._pending > MOST):
            self._compact()

    def _compact(self) -> None:
        if not self._added:
            return
        kept = _least(np.concatenate(self._kept))
        if len(kept) > MOST:
            self._limit = _hashes(kept[-1:])[0]
        self._kept, self._pending, self._added = [kept], len(kept), False

    def state(self) -> NumberSample:
        """What was taken in."""
        self._add_waiting()
        self._compact()
        return NumberSample(self._kept[0], self._count, self._missing, self._low, self._high)


def _least(numbers: np.ndarray) -> np.ndarray:
    """Those of `MOST` + 1 least hashes, in that order, each once."""
    hashes = _hashes(numbers)
    for enough in _ENOUGH:  # to sort the least alone is cheaper; hashes are even, which tells where they end
        if len(hashes) > 2 * enough:
            near = _once(hashes.compress(hashes <= np.uint64(int(enough / len(hashes) * 2.0**64))))
            if len(near) > MOST:
                return _numbers(near[: MOST + 1])
    return _numbers(_once(hashes)[: MOST + 1])


def _once(hashes: np.ndarray, *, of_two: bool = False) -> np.ndarray:
    """Sorted, each once; faster than NumPy's own, which looks them up in a table.

    Parameters
    ----------
    hashes : to be sorted.
    of_two : whether they are two runs that are sorted, which is quicker.
    """
    hashes = np.sort(hashes, kind="stable" if of_two else None)
    first = np.ones(len(hashes), dtype=bool)
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes if first.all() else hashes.compress(first)


def _hashes(numbers: np.ndarray) -> np.ndarray:
    """One uint64 for each float64, different for different bits: the finaliser of SplitMix64."""
    x = numbers.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    rest = x >> np.uint64(30)
    x ^= rest
    x *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(x, np.uint64(27), out=rest)
    x ^= rest
    x *= np.uint64(0x94D049BB133111EB)
    np.right_shift(x, np.uint64(31), out=rest)
    x ^= rest
    return x


def _numbers(hashes: np.ndarray) -> np.ndarray:
    """The float64 of each hash: to sort hashes alone and go back is faster than to sort them with numbers."""
    x = hashes ^ (hashes >> np.uint64(31)) ^ (hashes >> np.uint64(62))
    x *= np.uint64(0x319642B2D24D8EC3)
    x ^= (x >> np.uint64(27)) ^ (x >> np.uint64(54))
    x *= np.uint64(0x96DE1B173F119089)
    x ^= (x >> np.uint64(30)) ^ (x >> np.uint64(60))
    return (x - np.uint64(0x9E3779B97F4A7C15)).view(np.float64)
