"""Frequent sequences of sets of items, found prefix by prefix (Pei et al. 2004)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from outgrow.errors import DataError

GAP = 0
"""Stands between the sets of a sequence; items are numbers from 1 on."""
MOST_PATTERNS = 1 << 24
"""Patterns that may be found."""

Pattern = tuple[int, ...]
"""Sets of ascending items, one after the other, with a gap between them."""


@dataclass(frozen=True, eq=False)
class _Prefix:
    """A pattern, and where it is.

    Attributes
    ----------
    pattern : the pattern.
    ends : the places of the sets with which it can end, ascending.
    later : which pairs of a sequence and an item may follow: places among all pairs.
    """

    pattern: Pattern
    ends: np.ndarray
    later: np.ndarray


class Sequences:
    """Sequences that are counted, as what patterns are found in.

    Parameters
    ----------
    items : the sequences one after the other: numbers from 1 on, `GAP` between sets, items ascending in each.
    ends : of shape (sequences + 1,), where each begins.
    weights : float64 of shape (sequences,).
    """

    def __init__(self, items: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> None:
        sequence = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        gap = items == GAP
        sets = np.cumsum(gap) + sequence  # each sequence begins a set, as does each gap
        self._weights = weights
        self._items = items[~gap].astype(np.int64)
        self._sets = sets[~gap]
        self._of_set = np.zeros(int(sets.max(initial=-1)) + 1, dtype=np.int64)
        self._of_set[sets] = sequence
        self._count = int(items.max(initial=0)) + 1

    @cached_property
    def _occurrences(self) -> tuple[np.ndarray, np.ndarray]:
        """The sets that have each item, ascending, those of an item together; and where these begin."""
        order = np.argsort(self._items, kind="stable")
        return self._sets[order], np.append(0, np.cumsum(np.bincount(self._items, minlength=self._count)))

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each sequence and item it has: the sequence, the item, and the last set of it with the item."""
        sets, begins = self._occurrences
        items = np.repeat(np.arange(self._count), np.diff(begins))
        last = np.append((np.diff(self._of_set[sets]) != 0) | (np.diff(items) != 0), True)[: len(sets)]
        return self._of_set[sets[last]], items[last], sets[last]

    @cached_property
    def _has_sets(self) -> bool:
        """Whether some set has two items."""
        return bool((np.diff(self._sets) == 0).any())

    @cached_property
    def _by_set(self) -> np.ndarray:
        """Where the items of each set begin."""
        return np.searchsorted(self._sets, np.arange(len(self._of_set) + 1))

    def prepare(self) -> None:
        """Sort what all threads ask for."""
        _ = self._pairs, self._has_sets, self._by_set

    def _of(self, item: int) -> np.ndarray:
        sets, begins = self._occurrences
        return sets[begins[item] : begins[item + 1]]

    def patterns(self, first: int, least: float, longest: int) -> list[tuple[Pattern, float]]:
        """The frequent patterns that begin with an item, and their weights.

        Parameters
        ----------
        first : the item.
        least : the weight from which on a pattern is frequent.
        longest : how many items a pattern has at most.

        Raises
        ------
        DataError
            When there are too many.
        """
        ends = self._of(first)
        weight = float(self._weights[np.unique(self._of_set[ends])].sum())
        found: list[tuple[Pattern, float]] = []
        if weight < least:
            return found
        found.append(((first,), weight))
        waiting = [(_Prefix((first,), ends, np.arange(len(self._pairs[0]))), 1)]
        while waiting:
            prefix, length = waiting.pop()
            if length < longest:
                for longer, weight in self._extended(prefix, least):
                    found.append((longer.pattern, weight))
                    waiting.append((longer, length + 1))
            if len(found) > MOST_PATTERNS:
                raise DataError(
                    f"There are more than {MOST_PATTERNS:,} frequent sequences. Raise min_support or lower "
                    "max_pattern_length."
                )
        return found

    def _extended(self, prefix: _Prefix, least: float) -> Iterator[tuple[_Prefix, float]]:
        """The frequent patterns of one item more."""
        earliest = np.full(len(self._weights), len(self._of_set))
        owner = self._of_set[prefix.ends]
        first = np.append(True, owner[1:] != owner[:-1])
        earliest[owner[first]] = prefix.ends[first]
        sequence, item, last = (part[prefix.later] for part in self._pairs)
        follows = last > earliest[sequence]
        later = prefix.later[follows]
        weights = np.bincount(item[follows], self._weights[sequence[follows]], self._count)
        for one in np.flatnonzero((weights >= least) & (weights > 0)).tolist():
            sets = self._of(one)
            ends = sets[sets > earliest[self._of_set[sets]]]
            yield _Prefix((*prefix.pattern, GAP, one), ends, later), float(weights[one])
        if not self._has_sets:
            return
        beside, inside = self._beside(prefix)
        keys = np.unique(beside * len(self._weights) + self._of_set[inside])
        weights = np.bincount(
            keys // len(self._weights), self._weights[keys % len(self._weights)], self._count
        )
        for one in np.flatnonzero((weights >= least) & (weights > 0)).tolist():
            yield _Prefix((*prefix.pattern, one), inside[beside == one], later), float(weights[one])

    def _beside(self, prefix: _Prefix) -> tuple[np.ndarray, np.ndarray]:
        """The items that stand in a set with which a pattern ends, behind its last; and those sets."""
        begins, ends = self._by_set[prefix.ends], self._by_set[prefix.ends + 1]
        lengths = ends - begins
        places = np.arange(lengths.sum()) + np.repeat(begins - np.cumsum(lengths) + lengths, lengths)
        items, sets = self._items[places], self._sets[places]
        behind = items > prefix.pattern[-1]
        return items[behind], sets[behind]


def split_sets(pattern: Pattern) -> list[Pattern]:
    """The sets of a pattern."""
    edges = [-1, *(at for at, item in enumerate(pattern) if item == GAP), len(pattern)]
    return [pattern[a + 1 : b] for a, b in pairwise(edges)]
