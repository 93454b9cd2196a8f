"""Rules between frequent sets of items, and what they imply for a basket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from outgrow.errors import DataError

METRICS = ("support", "confidence", "lift", "leverage", "conviction")
MOST_RULES = 1 << 26
"""Rules that are looked at; a set of n items alone has 2**n - 2."""
_ROWS = 4096
"""Baskets that are compared with all rules at once."""


@dataclass(frozen=True, eq=False)
class Itemsets:
    """Frequent sets and how often each is there; all subsets of a set are among them.

    Attributes
    ----------
    codes : int32, the items of the sets one after the other, ascending in each; those of a size together.
    sizes : int64 of shape (sets,), ascending.
    weights : float64 of shape (sets,), how many baskets have each.
    baskets : how many there are.
    """

    codes: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    baskets: float

    def of_size(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The sets of so many items, of shape (sets, size), and their weights."""
        begin, end = np.searchsorted(self.sizes, [size, size + 1])
        at = int(self.sizes[:begin].sum())
        return self.codes[at : at + (end - begin) * size].reshape(-1, size), self.weights[begin:end]

    @property
    def longest(self) -> int:
        return int(self.sizes.max(initial=0))

    def sorted(self) -> Itemsets:
        """The same by size, then by falling weight, then by their items."""
        codes, weights = [np.zeros(0, np.int32)], [np.zeros(0)]
        for size in range(1, self.longest + 1):
            sets, own = self.of_size(size)
            order = np.lexsort((*sets.T[::-1], -own))
            codes.append(sets[order].ravel())
            weights.append(own[order])
        return Itemsets(np.concatenate(codes), self.sizes, np.concatenate(weights), self.baskets)

    def lookup(self, sets: np.ndarray) -> np.ndarray:
        """The weights of sets that are among these.

        Parameters
        ----------
        sets : of shape (sets, size), items ascending.
        """
        known, weights = self.of_size(sets.shape[1])
        places = pc.index_in(_keys(sets), _keys(known)).to_numpy(zero_copy_only=False)
        return np.asarray(weights[places.astype(np.int64)])


def _keys(sets: np.ndarray) -> pa.Array:
    """Sets as values that compare."""
    data = np.ascontiguousarray(sets, dtype=np.int32)
    return pa.Array.from_buffers(pa.binary(4 * sets.shape[1]), len(sets), [None, pa.py_buffer(data)])


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules of one shape: where all of `antecedent` is, `consequent` often is as well.

    Attributes
    ----------
    antecedent, consequent : int32 of shape (rules, items), items ascending.
    both, first, second : float64 of shape (rules,), the share of baskets with both, and with each of them.
    """

    antecedent: np.ndarray
    consequent: np.ndarray
    both: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def metrics(self) -> dict[str, np.ndarray]:
        """The value of each metric for each rule."""
        confidence = self.both / self.first
        with np.errstate(divide="ignore", invalid="ignore"):
            conviction = np.where(confidence < 1, (1 - self.second) / (1 - confidence), np.inf)
        return {
            "support": self.both,
            "confidence": confidence,
            "lift": confidence / self.second,
            "leverage": self.both - self.first * self.second,
            "conviction": conviction,
        }

    def take(self, rules: np.ndarray) -> Rules:
        return Rules(
            self.antecedent[rules],
            self.consequent[rules],
            self.both[rules],
            self.first[rules],
            self.second[rules],
        )


def rules_of(itemsets: Itemsets, metric: str, least: float, longest: int | None) -> Iterator[Rules]:
    """The rules between the frequent sets, those of one shape after the other.

    Parameters
    ----------
    itemsets : all frequent sets.
    metric : one of `METRICS`.
    least : what it must be at least.
    longest : how many items a consequent has at most; None for any.

    Raises
    ------
    DataError
        When there are too many to be looked at.
    """
    shapes = [
        (size, items)
        for size in range(2, itemsets.longest + 1)
        for items in range(1, min(size - 1, longest or size) + 1)
    ]
    total = sum(len(itemsets.of_size(size)[0]) * comb(size, items) for size, items in shapes)
    if total > MOST_RULES:
        raise DataError(
            f"The frequent itemsets have {total:,} rules, more than {MOST_RULES:,}. Give max_consequent=1, "
            "a higher min_support or a max_len."
        )
    for size, items in shapes:
        sets, weights = itemsets.of_size(size)
        if len(sets):
            rules = _of_shape(itemsets, sets, weights, items)
            yield rules.take(np.flatnonzero(rules.metrics()[metric] >= least))


def _of_shape(itemsets: Itemsets, sets: np.ndarray, weights: np.ndarray, items: int) -> Rules:
    """All rules of sets of one size with so many items in the consequent."""
    size = sets.shape[1]
    chosen = np.array(list(combinations(range(size), items)))
    rest = np.array([[place for place in range(size) if place not in own] for own in chosen.tolist()])
    antecedent = sets[:, rest].reshape(-1, size - items)
    consequent = sets[:, chosen].reshape(-1, items)
    return Rules(
        antecedent,
        consequent,
        np.repeat(weights, len(chosen)) / itemsets.baskets,
        itemsets.lookup(antecedent) / itemsets.baskets,
        itemsets.lookup(consequent) / itemsets.baskets,
    )


class Implied:
    """What rules imply for baskets.

    Parameters
    ----------
    rules : those that hold.
    items : how many items there are.
    """

    def __init__(self, rules: list[Rules], items: int) -> None:
        self._items = items
        self._parts = [_tested(part, items) for part in rules if len(part.both)]

    def of(self, codes: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The items that rules imply for baskets which have them not, ascending, and where each basket's end.

        Parameters
        ----------
        codes : the known items of all baskets.
        rows : the basket of each.
        count : how many baskets there are.
        """
        baskets = sp.csr_array(
            (np.ones(len(codes), dtype=np.int32), (rows, codes)), shape=(count, self._items)
        )
        baskets.sum_duplicates()
        baskets.data[:] = 1
        found = [self._of_some(baskets[start : start + _ROWS]) for start in range(0, count, _ROWS)]
        implied = np.concatenate([np.zeros(0, np.int64), *(part.indices for part in found)])
        lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(part.indptr) for part in found)])
        return implied, np.concatenate([[0], np.cumsum(lengths)])

    def _of_some(self, baskets: Any) -> Any:
        implied: Any = sp.csr_array(baskets.shape, dtype=np.int32)
        for antecedents, size, consequents in self._parts:
            met = baskets @ antecedents
            met.data = (met.data == size).astype(np.int32)
            met.eliminate_zeros()
            implied = implied + met @ consequents
        implied.data[:] = 1
        implied = implied - implied.multiply(baskets)
        implied.eliminate_zeros()
        implied.sort_indices()
        return implied


def _tested(rules: Rules, items: int) -> tuple[Any, int, Any]:
    """Rules as what tells which hold: items by antecedents, how many items those have, and what follows."""
    sets, which = np.unique(rules.antecedent, axis=0, return_inverse=True)
    which = which.ravel()
    size = sets.shape[1]
    ones = np.ones(sets.size, dtype=np.int32)
    shape = (len(sets), items)
    antecedents = sp.csr_array((ones, sets.ravel(), np.arange(0, sets.size + 1, size)), shape=shape)
    follow = rules.consequent.ravel()
    rows = np.repeat(which, rules.consequent.shape[1])
    consequents = sp.csr_array((np.ones(len(follow), dtype=np.int32), (rows, follow)), shape=shape)
    return sp.csr_array(antecedents.T), size, consequents
