"""What lies within a radius of rows, and what chains of such rows tie together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import KDTree

from outgrow.ml.neighbors.index import COMPILED_FROM, compiled, tree_of

_PAIRS = 1 << 22
"""Pairs of rows that are held at once."""
_ROWS = 1 << 13
"""Rows whose neighbours are counted at once."""


class WithinRadius(Protocol):
    """Says what lies within a radius of rows; pairs of near rows are never held all at once."""

    def weights_near(
        self, weight: np.ndarray, radius: float, enough: float, run: Callable[..., Any] = map
    ) -> np.ndarray:
        """What the rows within a radius of each row weigh, itself counted; or anything that is enough.

        Parameters
        ----------
        weight : shape (n,).
        radius : of the metric.
        enough : no more need be counted from there on.
        run : what calls a function with each of some parts, such as `map` of a pool of threads.
        """

    def tied(self, radius: float) -> np.ndarray:
        """Which rows chains of steps no longer than a radius tie: a number for each row.

        Parameters
        ----------
        radius : of the metric.
        """


def within_radius(rows: np.ndarray, power: float) -> WithinRadius:
    """The fastest index of some rows.

    Parameters
    ----------
    rows : shape (n, width).
    power : of the metric of Minkowski; infinity for the largest difference.
    """
    tree = tree_of(rows, power)
    if tree is not None:
        return tree
    if len(rows) < COMPILED_FROM or not compiled():
        return _Lists(rows, power)
    from outgrow.ml.neighbors.wide import AllPairs

    return AllPairs(rows)


class _Lists:
    """Without kernels: lists of the near rows of some at a time, from scikit-learn's tree."""

    def __init__(self, rows: np.ndarray, power: float) -> None:
        self._rows = rows
        how = {} if np.isinf(power) else {"p": power}
        metric = "chebyshev" if np.isinf(power) else "minkowski"
        self._tree = KDTree(rows, metric=metric, **how) if len(rows) else None

    def weights_near(
        self, weight: np.ndarray, radius: float, enough: float, run: Callable[..., Any] = map
    ) -> np.ndarray:
        if self._tree is None:
            return weight
        near, found = self._counts(radius), np.empty(len(weight))
        for part in parts_of(near):
            lists = self._tree.query_radius(self._rows[part], radius)
            ends = np.cumsum([0, *map(len, lists)])[:-1]
            found[part] = np.add.reduceat(weight[np.concatenate(lists)], ends)
        return found

    def tied(self, radius: float) -> np.ndarray:
        n = len(self._rows)
        labels: np.ndarray = np.arange(n)
        if self._tree is None:
            return labels
        for part in parts_of(self._counts(radius)):
            lists = self._tree.query_radius(self._rows[part], radius)
            ones = np.repeat(labels[part], [len(each) for each in lists])
            others = labels[np.concatenate(lists)]
            graph = sp.coo_array((np.ones(len(ones), dtype=bool), (ones, others)), shape=(n, n))
            labels = connected_components(graph, directed=False)[1][labels]
        return labels

    def _counts(self, radius: float) -> np.ndarray:
        """How many rows are within a radius of each."""
        assert self._tree is not None
        starts = range(0, len(self._rows), _ROWS)
        return np.concatenate(
            [self._tree.query_radius(self._rows[at : at + _ROWS], radius, count_only=True) for at in starts]
        )


def parts_of(counts: np.ndarray) -> list[slice]:
    """Slices of rows that have no more pairs than are held at once, but for rows with more by themselves.

    Parameters
    ----------
    counts : shape (rows,), how many pairs each row is in.
    """
    ends, cuts = np.cumsum(counts), [0]
    while cuts[-1] < len(counts):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, before + _PAIRS, side="right"))))
    return [slice(*cut) for cut in pairwise(cuts)]
