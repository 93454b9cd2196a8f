"""Core distances, and the spanning tree of least distances between rows of which each is at least as far as
its core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neighbors import NearestNeighbors as Index

from outgrow.ml.neighbors.index import compiled, tree_of

if TYPE_CHECKING:
    from outgrow.ml.neighbors.kd_tree import KdTree

_WORTH = 256
"""Rows from which on kernels, which have to be loaded, are worth it."""
_FEW_COLUMNS = 15
"""Up to so many columns a tree finds neighbours faster than a look at all rows."""


@dataclass(frozen=True, eq=False)
class Space:
    """Rows, or bubbles of rows, and how far they are from each other.

    Attributes
    ----------
    rows : ndarray of shape (n, width).
    weight : ndarray of shape (n,).
    power : of the metric of Minkowski; infinity for the largest difference.
    cosine : rows have length 1, and half the square of their distance is what counts.
    extent : ndarray of shape (n,), how far the rows of a bubble are from each other on average; None of rows.
    """

    rows: np.ndarray
    weight: np.ndarray
    power: float
    cosine: bool = False
    extent: np.ndarray | None = None

    def within(self, count: float | np.ndarray, places: Any) -> np.ndarray:
        """How far the nearest of some rows of a bubble is expected to be (Breunig et al. 2001).

        Parameters
        ----------
        count : which of the nearest.
        places : of the bubbles.
        """
        assert self.extent is not None
        share = np.minimum(count / self.weight[places], 1.0)
        near: np.ndarray = share ** (1 / self.rows.shape[1]) * self.extent[places]
        return near

    def told(self, apart: np.ndarray) -> np.ndarray:
        """Distances of the metric, from those of the rows as they are here."""
        return 0.5 * apart**2 if self.cosine else apart

    @cached_property
    def tree(self) -> KdTree | None:
        """A tree of the rows, where it pays; bubbles have none."""
        return tree_of(self.rows, self.power) if self.extent is None else None

    def between(self, apart: np.ndarray, at: int, places: np.ndarray) -> np.ndarray:
        """How far bubbles are from one, by how far their middles are.

        Parameters
        ----------
        apart : shape (others,), of the middles; of rows it is the answer.
        at : the one.
        places : of the others.
        """
        if self.extent is None:
            return apart
        gap = apart - self.extent[at] - self.extent[places]
        here, there = self.within(1.0, at), self.within(1.0, places)
        return np.where(gap >= 0, gap + here + there, np.maximum(here, there))


def nearest_of(
    queries: np.ndarray, rows: np.ndarray, count: int, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """The distances and places of the nearest rows of others, of shape (queries, count).

    Parameters
    ----------
    queries : shape (queries, width).
    rows : shape (rows, width).
    count : how many, at most as there are rows.
    power : of the metric.
    """
    named = {1.0: "manhattan", 2.0: "euclidean", np.inf: "chebyshev"}
    tree = rows.shape[1] <= _FEW_COLUMNS
    # what looks at all rows squares them: far from zero the differences would be lost
    origin = np.zeros(rows.shape[1]) if tree else rows.mean(axis=0)
    how: dict[str, Any] = {"metric": named[power]} if power in named else {"metric": "minkowski", "p": power}
    index = Index(algorithm="kd_tree" if tree else "brute", **how).fit(rows - origin)
    distances, places = index.kneighbors(queries - origin, n_neighbors=count)
    return distances, places


def lengths(columns: np.ndarray, x: np.ndarray, power: float, room: np.ndarray) -> np.ndarray:
    """How far rows are from one.

    Parameters
    ----------
    columns : shape (width, rows), the rows on their side.
    x : shape (width,), the one.
    power : of the metric.
    room : shape (2, rows), to work in; the first is the answer.
    """
    total, step = room
    total[:] = 0.0
    for column, value in zip(columns, x, strict=True):
        np.subtract(column, value, out=step)
        if power == 2:
            np.multiply(step, step, out=step)
        else:
            np.abs(step, out=step)
            if np.isinf(power):
                np.maximum(total, step, out=total)
                continue
            if power != 1:
                np.power(step, power, out=step)
        np.add(total, step, out=total)
    if power == 2:
        np.sqrt(total, out=total)
    elif power != 1 and not np.isinf(power):
        np.power(total, 1 / power, out=total)
    return total


@dataclass(frozen=True, eq=False)
class Cores:
    """How far from each row, itself counted, the rows are that weigh enough together.

    Attributes
    ----------
    distances : ndarray of shape (n,).
    keys : the same, as the tree compares distances; None without a tree.
    near : of each row the keys and the places of the nearest, of shape (n, any); None without a tree.
    """

    distances: np.ndarray
    keys: np.ndarray | None = None
    near: tuple[np.ndarray, np.ndarray] | None = None


def core_distances(space: Space, least: int, run: Callable[..., Any] = map) -> Cores:
    """How far of each row the rows are, itself counted, that weigh so much together.

    Parameters
    ----------
    space : whose rows weigh that much at least.
    least : `min_samples`.
    run : what calls a function with each of some parts, such as `map` of a pool of threads.
    """
    rows = len(space.rows)
    count, tree = min(least, rows), space.tree
    while True:
        if tree is None:
            keys, places = nearest_of(space.rows, space.rows, count, space.power)
        else:
            keys, places = tree.nearest(tree.rows, count, run)
        reached = np.cumsum(space.weight[places], axis=1) >= least * (1 - 1e-12)
        if count == rows or reached[:, -1].all():
            break
        count = min(rows, 2 * count)
    own = keys[np.arange(rows), np.argmax(reached, axis=1)]
    if tree is None:
        return Cores(space.told(own))
    return Cores(space.told(tree.lengths(own)), own, (keys, places))


def spanning_tree(
    space: Space, cores: Cores, alpha: float, run: Callable[..., Any] = map
) -> tuple[np.ndarray, np.ndarray]:
    """The tree of least mutual reachability distances: by the space's tree, else (Prim 1957) in time that is
    the square of the rows.

    The distance of two rows is the largest of theirs, divided by `alpha`, and their core distances.

    Parameters
    ----------
    space : at least one row.
    cores : their core distances.
    alpha : above 0.
    run : as for `core_distances`.

    Returns
    -------
    The two ends of each edge, of shape (n - 1, 2), and its length, of shape (n - 1,).
    """
    n, core = len(space.rows), cores.distances
    if cores.keys is not None and cores.near is not None:
        return _by_tree(space, cores.keys, cores.near, alpha, run)
    ends, sizes = np.empty((n - 1, 2), dtype=np.int64), np.empty(n - 1)
    if n <= _WORTH or not compiled():
        _by_numpy(space, core, alpha, ends, sizes)
        return ends, sizes
    none = np.zeros(0)
    extent = none if space.extent is None else space.extent
    inner = none if space.extent is None else space.within(1.0, np.arange(n))
    rows = np.ascontiguousarray(space.rows)
    _kernels().spanning_tree(
        rows, np.ascontiguousarray(core), space.power, float(alpha), space.cosine, extent, inner, ends, sizes
    )
    return ends, sizes


def _by_tree(
    space: Space,
    keys: np.ndarray,
    near: tuple[np.ndarray, np.ndarray],
    alpha: float,
    run: Callable[..., Any],
) -> tuple[np.ndarray, np.ndarray]:
    assert space.tree is not None
    scale = 1 / alpha if space.cosine else 1 / space.tree.powered(alpha)
    ends, sizes = _kernels().least_tree(space.tree, keys, scale, near, run)
    return ends, space.told(space.tree.lengths(sizes))


def _kernels() -> Any:
    """The compiled functions."""
    from outgrow.ml.neighbors import spanning

    return spanning


def _by_numpy(space: Space, core: np.ndarray, alpha: float, ends: np.ndarray, sizes: np.ndarray) -> None:
    """The tree without kernels: the same, but for which of equal edges it takes."""
    n = len(space.rows)
    columns = space.rows[1:].T.copy()
    places, best = np.arange(1, n), np.full(n - 1, np.inf)
    source, cores, room = np.zeros(n - 1, dtype=np.int64), core[1:].copy(), np.empty((2, n - 1))
    at = 0
    for step in range(n - 1):
        m = n - 1 - step
        apart = lengths(columns[:, :m], space.rows[at], space.power, room[:, :m])
        apart = space.told(space.between(apart, at, places[:m]))
        if alpha != 1:
            apart = apart / alpha
        np.maximum(apart, cores[:m], out=apart)
        np.maximum(apart, core[at], out=apart)
        nearer = apart < best[:m]
        np.copyto(best[:m], apart, where=nearer)
        source[:m][nearer] = at
        j = int(np.argmin(best[:m]))
        at = int(places[j])
        ends[step], sizes[step] = (source[j], at), best[j]
        for part in (columns, places, best, source, cores):
            part[..., j] = part[..., m - 1]
