"""Frequent sets of items, mined from lists that are counted: depth first, with rows as bits (Zaki 2000)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from math import comb

import numpy as np

from outgrow.errors import DataError
from outgrow.stats.baskets import Baskets, pieces_of

MOST_NUMBERS = 1 << 28
"""Whole numbers that the sets which are found may consist of."""
_CELLS = 1 << 22
"""Of a matrix of booleans, before it is packed into bits."""
_WORDS = 1 << 16
"""Words of 64 rows for which all pairs of items are counted at once."""


@dataclass(frozen=True, eq=False)
class Found:
    """Sets of items by their size.

    Attributes
    ----------
    sets : by size, parts of shape (sets, size), the items ascending, and of shape (sets,), their weights.
    """

    most: int
    sets: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=lambda: defaultdict(list))
    _numbers: list[int] = field(default_factory=lambda: [0])

    def add(self, first: np.ndarray, rest: list[int], weights: np.ndarray) -> None:
        """Sets that differ in the first item only.

        Parameters
        ----------
        first : the first item of each.
        rest : the other items, ascending.
        weights : of each.
        """
        sets = np.empty((len(first), 1 + len(rest)), dtype=np.int32)
        sets[:, 0], sets[:, 1:] = first, rest
        self._numbers[0] += sets.size
        if self._numbers[0] > self.most:
            raise DataError(
                f"More than {self.most:,} numbers would be needed for the frequent itemsets. Raise "
                "min_support, or give a max_len."
            )
        self.sets[sets.shape[1]].append((sets, weights))

    def empty(self) -> Found:
        """None yet, but counted with these."""
        return Found(self.most, _numbers=self._numbers)

    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The items of all sets one after the other, the size of each set, and its weight."""
        parts = [part for size in sorted(self.sets) for part in self.sets[size]]
        items = np.concatenate([np.zeros(0, np.int32), *(sets.ravel() for sets, _ in parts)])
        sizes = np.concatenate(
            [np.zeros(0, np.int64), *(np.full(len(sets), sets.shape[1]) for sets, _ in parts)]
        )
        return items, sizes, np.concatenate([np.zeros(0), *(weights for _, weights in parts)])


@dataclass(frozen=True, eq=False)
class Bits:
    """In which lists each of some items is.

    A list of weight 5 is in the words of fours and in those of ones: sums of set bits are sums of weights.

    Attributes
    ----------
    words : uint64 of shape (items, words).
    scale : float64 of shape (words,), what a bit of each word counts.
    """

    words: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, lists: Baskets, items: int) -> Bits:
        """The bits of lists.

        Parameters
        ----------
        lists : of numbers below `items`.
        items : how many items there are.
        """
        weights, lengths = lists.weights.astype(np.int64), np.diff(lists.ends)
        words, scale = [], []
        for power in range(int(weights.max(initial=0)).bit_length()):
            rows = np.flatnonzero(weights >> power & 1)
            step = max(64, _CELLS // max(items, 1) // 64 * 64)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                cells = np.zeros((items, -(-len(part) // 64) * 64), dtype=bool)
                inside = lists.items[pieces_of(lists.ends[part], lengths[part])]
                cells[inside, np.repeat(np.arange(len(part)), lengths[part])] = True
                words.append(np.packbits(cells, axis=1).view(np.uint64))
                scale.append(np.full(words[-1].shape[1], float(1 << power)))
        if not words:
            return cls(np.zeros((items, 0), np.uint64), np.zeros(0))
        return cls(np.concatenate(words, axis=1), np.concatenate(scale))

    def also_in(self, item: int) -> Bits:
        """The lists that the items before this one share with it."""
        there = self.words[item]
        used = np.flatnonzero(there)
        if 2 * len(used) < len(there):
            return Bits(self.words[:item, used] & there[used], self.scale[used])
        return Bits(self.words[:item] & there, self.scale)

    def weights(self) -> np.ndarray:
        """The summed weight of the lists of each item."""
        return np.bitwise_count(self.words).astype(np.float64) @ self.scale

    def take(self, items: np.ndarray) -> Bits:
        return Bits(self.words[items], self.scale)


def check_longest(lists: Baskets, least: float, longest: int | None, most: int = MOST_NUMBERS) -> None:
    """Refuse a list that by itself has too many frequent sets: all sets of its items, where it comes often.

    Parameters
    ----------
    lists : each once.
    least : the weight from which on a set is frequent.
    longest : the largest size of sets; None for any.
    most : how many numbers what is found may consist of.

    Raises
    ------
    DataError
        When it has; it names how long the list is.
    """
    lengths = np.diff(lists.ends)[lists.weights >= least]
    length = int(lengths.max(initial=0))
    numbers = sum(size * comb(length, size) for size in range(2, min(length, longest or length) + 1))
    if numbers > most:
        raise DataError(
            f"A basket of {length} frequent items is frequent by itself, and so are all sets of its items: "
            f"they are {numbers:,} numbers, of which {most:,} are held. Raise min_support, or give a max_len."
        )


class Miner:
    """Finds the frequent sets among lists, for each least frequent item of theirs on its own.

    Parameters
    ----------
    lists : counted; the items of each ascend, and items are numbered by falling frequency.
    least : the weight from which on a set is frequent.
    longest : the largest size of sets; None for any.
    most : how many numbers what is found may consist of.
    """

    def __init__(self, lists: Baskets, least: float, longest: int | None, most: int = MOST_NUMBERS) -> None:
        self._lists = lists
        self._least = least
        self._longest = np.inf if longest is None else longest
        self._found = Found(most)  # whose count of numbers goes on, whatever item is mined
        check_longest(lists, least, longest, most)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where each item stands in all lists, sorted by item; which list that is; where the items begin."""
        items, ends = self._lists.items, self._lists.ends
        order = np.argsort(items, kind="stable")
        owner = np.repeat(np.arange(len(ends) - 1), np.diff(ends))[order]
        edges = np.concatenate([[0], np.cumsum(np.bincount(items))])
        return order, owner, edges

    def prepare(self) -> None:
        """Sort the items, before several threads ask."""
        _ = self._places

    def mine(self, item: int) -> Found:
        """The frequent sets of two and more items of which this is the least frequent one."""
        found = self._found.empty()
        order, owner, edges = self._places
        if self._longest < 2 or item + 1 >= len(edges):
            return found
        places, lists = order[edges[item] : edges[item + 1]], owner[edges[item] : edges[item + 1]]
        starts = self._lists.ends[lists]
        lengths = places - starts
        before = self._lists.items[pieces_of(starts, lengths)]
        rows = np.repeat(np.arange(len(lists)), lengths)
        weights = np.bincount(before, self._lists.weights[lists][rows], item)
        frequent = np.flatnonzero(weights >= self._least)
        if len(frequent):
            found.add(frequent, [item], weights[frequent])
        if self._longest > 2 and len(frequent) > 1:
            number = np.full(item, -1, dtype=np.int32)
            number[frequent] = np.arange(len(frequent), dtype=np.int32)
            codes = number[before]
            ends = np.concatenate([[0], np.cumsum(np.bincount(rows[codes >= 0], minlength=len(lists)))])
            kept = Baskets(codes[codes >= 0], ends, self._lists.weights[lists], 0).compact()
            self._grow(frequent, Bits.of(kept, len(frequent)), [item], found)
        return found

    def _grow(self, items: np.ndarray, bits: Bits, rest: list[int], found: Found) -> None:
        """Add all frequent sets of two and more of some items and the rest."""
        waiting = [(items, bits, rest)]
        while waiting:
            items, bits, rest = waiting.pop()
            pairs = self._pairs(bits)
            for place in range(1, len(items)):
                weights = bits.also_in(place).weights() if pairs is None else pairs[place, :place]
                kept = np.flatnonzero(weights >= self._least)
                if not len(kept):
                    continue
                longer = [int(items[place]), *rest]
                found.add(items[kept], longer, weights[kept])
                if len(kept) > 1 and len(longer) + 2 <= self._longest:
                    waiting.append((items[kept], bits.also_in(place).take(kept), longer))

    @staticmethod
    def _pairs(bits: Bits) -> np.ndarray | None:
        """The weights of all pairs of items at once, where that takes little memory."""
        items, words = bits.words.shape
        if items * items * words > _WORDS:
            return None
        both = np.bitwise_count(bits.words[:, None] & bits.words)
        return np.asarray(both.astype(np.float64) @ bits.scale)
