"""A k-d tree of rows (Bentley 1975), compiled by Numba, that may be asked on several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from outgrow.ml.neighbors import kd_tree_kernels as kernels
from outgrow.ml.neighbors import radius_kernels

_LEAF = 32
"""Rows of a leaf, at most."""
_QUERIES = 1 << 11
"""Queries that a thread takes at once."""
_ASKED = 64
"""Rows of the tree that are asked for their neighbours, to see whether it pays."""
_FEW_COLUMNS = 3
"""Up to so many columns a tree always pays."""


class KdTree:
    """Rows, halved again and again along the column in which they are widest.

    Parameters
    ----------
    rows : shape (n, width), at least one row.
    power : of the metric of Minkowski; infinity for the largest difference.

    Attributes
    ----------
    rows : as given.
    order : ndarray of shape (n,), the places of the rows as the leaves have them.
    parts : what the kernels take.
    """

    def __init__(self, rows: np.ndarray, power: float) -> None:
        self.rows = np.ascontiguousarray(rows, dtype=np.float64)
        n, width = self.rows.shape
        leaves = 1
        while leaves * _LEAF < n:
            leaves *= 2
        self._edges = np.arange(leaves + 1) * n // leaves
        self.order = np.arange(n)
        low, high = np.empty((2, 2 * leaves - 1, width))
        kernels.grown(self.rows, self.order, self._edges, low, high)
        names = self.spread(self.order, kernels.NONE)
        size = names.shape[1]
        held = np.full((leaves, width, size), np.inf)
        filled = np.nonzero(names != kernels.NONE)
        held[filled[0], :, filled[1]] = self.rows[self.order]
        self.power = float(power)
        self.parts = (held, names, low, high, self.power)

    def spread(self, values: np.ndarray, empty: Any) -> np.ndarray:
        """Values of the rows in their order as a table with a line for each leaf.

        Parameters
        ----------
        values : shape (n,).
        empty : what fills up.
        """
        lengths = np.diff(self._edges)
        there = np.arange(-(-int(lengths.max()) // 8) * 8) < lengths[:, None]
        table = np.full(there.shape, empty, dtype=values.dtype)
        table[there] = values
        return table

    def gathered(self, table: np.ndarray) -> np.ndarray:
        """The values of all rows, by their places, from a table as `spread` makes it."""
        values = np.empty(len(self.order), dtype=table.dtype)
        values[self.order] = table[self.parts[1] != kernels.NONE]
        return values

    @cached_property
    def firsts(self) -> np.ndarray:
        """The place of a row of each node."""
        levels = [self.order[self._edges[:-1]]]
        while len(levels[-1]) > 1:
            levels.append(levels[-1][::2])
        return np.concatenate(levels[::-1])

    def nearest(
        self, queries: np.ndarray, count: int, run: Callable[..., Any] = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """The powered distances, rising, and the places of the nearest rows; of rows as far the first.

        Parameters
        ----------
        queries : shape (queries, width).
        count : how many rows, at most as there are.
        run : what calls a function with each of some parts, such as `map` of a pool of threads.

        Returns
        -------
        Both of shape (queries, count).
        """
        queries = np.ascontiguousarray(queries, dtype=np.float64)
        keys, places = np.empty((len(queries), count)), np.empty((len(queries), count), dtype=np.int64)
        own = queries is self.rows  # those that follow each other look at the same leaves
        sequence = self.order if own else np.arange(len(queries))

        def part(edges: tuple[int, int]) -> None:
            kernels.nearest(self.parts, queries, sequence, *edges, keys, places)

        for _ in run(part, pieces(len(queries), _QUERIES)):
            pass
        return keys, places

    def counts_within(self, queries: np.ndarray, radius: float) -> np.ndarray:
        """How many rows are within a radius of each query.

        Parameters
        ----------
        queries : shape (queries, width).
        radius : of the metric.
        """
        counts, nothing = np.empty(len(queries), dtype=np.int64), np.zeros(0, dtype=np.int64)
        queries, radius = np.ascontiguousarray(queries, dtype=np.float64), self.powered(radius)
        radius_kernels.within(self.parts, queries, radius, nothing, counts, nothing, np.zeros(0))
        return counts

    def within(self, queries: np.ndarray, radius: float, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The powered distances and places of the rows within a radius of each query, one after the other.

        Parameters
        ----------
        queries, radius : as for `counts_within`.
        counts : shape (queries,), what that gives.
        """
        queries, ends = np.ascontiguousarray(queries, dtype=np.float64), np.cumsum([0, *counts])
        keys, places = np.empty(ends[-1]), np.empty(ends[-1], dtype=np.int64)
        radius_kernels.within(self.parts, queries, self.powered(radius), ends, counts.copy(), places, keys)
        return keys, places

    def weights_near(
        self, weight: np.ndarray, radius: float, enough: float, run: Callable[..., Any] = map
    ) -> np.ndarray:
        """What the rows within a radius of each row weigh, itself counted; or anything that is enough.

        Parameters
        ----------
        weight : shape (n,).
        radius : of the metric.
        enough : no more is counted from there on.
        run : as for `nearest`.
        """
        weights = self.spread(weight[self.order], 0.0)
        levels = [weights.sum(axis=1)]
        while len(levels[-1]) > 1:
            levels.append(levels[-1].reshape(-1, 2).sum(axis=1))
        total, found = np.concatenate(levels[::-1]), np.empty(weights.shape)

        def part(edges: tuple[int, int]) -> None:
            kernels.weights_near(self.parts, weights, total, self.powered(radius), enough, *edges, found)

        for _ in run(part, pieces(len(weights), _QUERIES // _LEAF)):
            pass
        return self.gathered(found)

    def tied(self, radius: float) -> np.ndarray:
        """Which rows chains of steps no longer than a radius tie: for each the least place of its chain."""
        above = np.arange(len(self.rows))
        kernels.tied(self.parts, self.firsts, self.powered(radius), above)
        return above

    def share_seen(self, count: int) -> float:
        """The share of all rows that is looked at to find the nearest of one."""
        step = max(1, len(self.rows) // _ASKED)
        queries = np.ascontiguousarray(self.rows[::step])
        count = min(count, len(self.rows))
        keys, places = np.empty((len(queries), count)), np.empty((len(queries), count), dtype=np.int64)
        asked = np.arange(len(queries))
        leaves = kernels.nearest(self.parts, queries, asked, 0, len(queries), keys, places)
        return float(leaves) / (len(queries) * len(self.parts[0]))

    def powered(self, distance: float) -> float:
        """A distance as distances are compared."""
        with np.errstate(over="ignore"):  # a radius past all numbers is infinite
            return distance if self.power in (1.0, np.inf) else float(np.float64(distance) ** self.power)

    def lengths(self, keys: np.ndarray) -> np.ndarray:
        """Distances from what they are compared as."""
        if self.power == 2:
            return np.sqrt(keys)
        return keys if self.power in (1.0, np.inf) else np.asarray(keys ** (1 / self.power))


def pieces(count: int, size: int) -> Sequence[tuple[int, int]]:
    """The ends of runs of neighbours.

    Parameters
    ----------
    count : of all.
    size : of each run but the last.
    """
    return [(start, min(start + size, count)) for start in range(0, count, size)]
