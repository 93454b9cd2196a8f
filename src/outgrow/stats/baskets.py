"""Lists of small whole numbers and how often each occurs, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from outgrow.stats.state import State

_HELD = 1 << 16
"""Lists, some of them twice, before they are counted together."""
_TIMES = 2
"""How many times the different lists may stand there when they are more."""


@dataclass(frozen=True, eq=False)
class Baskets(State):
    """Each list's weight. Memory grows with the number of different lists.

    Attributes
    ----------
    items : int32, the lists one after the other.
    ends : int64 of shape (lists + 1,), where each begins and the last ends.
    weights : float64 of shape (lists,), whole numbers.
    distinct : so many of the lists, the first, are different; of the others some may stand twice.
    """

    items: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    distinct: int

    @classmethod
    def of(cls, items: np.ndarray, ends: np.ndarray) -> Baskets:
        """The counts of lists.

        Parameters
        ----------
        items : whole numbers, the lists one after the other.
        ends : of shape (lists + 1,).
        """
        return cls(items.astype(np.int32), ends.astype(np.int64), np.ones(len(ends) - 1), 0).compact()

    def merge(self, other: Baskets) -> Baskets:
        both = Baskets(
            np.concatenate([self.items, other.items]),
            np.concatenate([self.ends, self.ends[-1] + other.ends[1:]]),
            np.concatenate([self.weights, other.weights]),
            self.distinct,
        )
        return both.compact() if len(both.weights) > max(_HELD, _TIMES * self.distinct) else both

    def compact(self) -> Baskets:
        """The same with each list once."""
        if self.distinct == len(self.weights):
            return self
        kind, buffers = pa.large_binary(), [None, pa.py_buffer(4 * self.ends), pa.py_buffer(self.items)]
        encoded = pa.Array.from_buffers(kind, len(self.weights), buffers).dictionary_encode()
        _, ends, items = encoded.dictionary.buffers()
        count = len(encoded.dictionary)
        weights = np.bincount(encoded.indices.to_numpy(), self.weights, count)
        ends = np.frombuffer(ends, np.int64)[: count + 1] // 4 if count else np.zeros(1, np.int64)
        items = np.frombuffer(items, np.int32)[: ends[-1]] if items else np.zeros(0, np.int32)
        return Baskets(items, ends, weights, count)

    @property
    def nbytes(self) -> int:
        """What the arrays take."""
        return int(self.items.nbytes + self.ends.nbytes + self.weights.nbytes)


@dataclass(frozen=True, eq=False)
class BoundedBaskets(State):
    """Each list's weight, as long as that takes no more than so many bytes; then nothing.

    Attributes
    ----------
    lists : None where there were more.
    most : the bytes.
    """

    lists: Baskets | None
    most: int

    @classmethod
    def of(cls, lists: Baskets, most: int) -> BoundedBaskets:
        """The same lists, if they are few.

        Parameters
        ----------
        lists : counted.
        most : bytes that they may take, each list once.
        """
        if lists.nbytes > _TIMES * most:
            lists = lists.compact()
            if lists.nbytes > most:
                return cls(None, most)
        return cls(lists, most)

    def merge(self, other: BoundedBaskets) -> BoundedBaskets:
        if self.lists is None or other.lists is None:
            return BoundedBaskets(None, self.most)
        return BoundedBaskets.of(self.lists.merge(other.lists), self.most)

    def get(self) -> Baskets | None:
        """Each list once, or None where there were too many."""
        lists = None if self.lists is None else self.lists.compact()
        return None if lists is None or lists.nbytes > self.most else lists


def pieces_of(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places of runs, one run after the other.

    Parameters
    ----------
    starts : where each run begins.
    lengths : how long it is.
    """
    total = np.cumsum(lengths)
    return np.arange(total[-1] if len(total) else 0) + np.repeat(starts - total + lengths, lengths)
