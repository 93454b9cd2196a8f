"""The nearest of some rows, exactly: whatever rounding does, of rows as far the first are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors as Index

from outgrow.errors import DataError
from outgrow.ml.cluster.unit import unit_rows
from outgrow.ml.neighbors.density import parts_of
from outgrow.ml.neighbors.index import tree_of

METRICS = ("minkowski", "euclidean", "manhattan", "chebyshev", "cosine")
_FEW_COLUMNS = 15
"""Up to so many columns scikit-learn's tree finds neighbours faster than a look at all rows."""
_BESIDE = 8
"""So many more rows are looked at than are wanted, so that equals are told apart exactly."""
_ALIKE = 1e-7
"""The share by which distances may be off that an index tells; those nearer to each other are looked at."""
_TOGETHER = 1 << 21
"""Numbers that are worked on at once."""

_LISTED = 256
"""Rows whose near rows are listed at once without a tree."""


@dataclass(frozen=True, eq=False)
class Near:
    """Rows within a radius of queries.

    Attributes
    ----------
    counts : ndarray of shape (queries,), how many each query has.
    distances, places : ndarrays of shape (pairs,), those of the first query first, the nearest first.
    """

    counts: np.ndarray
    distances: np.ndarray
    places: np.ndarray

    @property
    def queries(self) -> np.ndarray:
        """The query of each pair."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def power_of(metric: str, p: float) -> float:
    """The power by which differences are raised; infinite for the largest of them.

    Parameters
    ----------
    metric, p : one of `METRICS`, and the power of 'minkowski'.
    """
    powers = {"minkowski": p, "manhattan": 1.0, "chebyshev": np.inf}
    return float(powers.get(metric, 2.0))


class Search:
    """Finds the nearest of some rows.

    Parameters
    ----------
    rows : shape (rows, width), dense.
    metric : one of `METRICS`.
    p : the power of 'minkowski'.

    Attributes
    ----------
    tree : a tree of the rows, or of their directions, where it pays; else None.
    """

    def __init__(self, rows: np.ndarray, metric: str, p: float) -> None:
        self._cosine = metric == "cosine"
        self._power = power_of(metric, p)
        rows = unit_rows(rows) if self._cosine else rows
        self._rows = np.ascontiguousarray(rows)
        self.tree = tree_of(self._rows, self._power) if len(rows) else None
        if self.tree is None:
            self._index = self._made(p)

    def _made(self, p: float) -> Any:
        """The index of scikit-learn, where there is no tree."""
        rows = self._rows
        tree = rows.shape[1] <= _FEW_COLUMNS
        # what looks at all rows squares them: far from zero the differences would be lost
        self._origin = np.zeros(rows.shape[1]) if tree else rows.mean(axis=0)
        named = {1.0: "manhattan", 2.0: "euclidean", np.inf: "chebyshev"}
        how: dict[str, Any] = {"metric": named.get(self._power, "minkowski"), "p": p}
        return Index(algorithm="kd_tree" if tree else "brute", **how).fit(rows - self._origin)

    def nearest(
        self, X: np.ndarray, count: int, run: Callable[..., Any] = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each of some others.

        Parameters
        ----------
        X : shape (queries, width).
        count : how many rows each gets; at most as many as there are.
        run : of a tree, as for `KdTree.nearest`.

        Returns
        -------
        Their distances, ascending, and their places, both of shape (queries, count); of rows as far from a
        query the first come first.
        """
        distances, places = np.empty((len(X), count)), np.empty((len(X), count), dtype=np.int64)
        if not len(X):
            return distances, places
        X = unit_rows(X) if self._cosine else X
        if self.tree is not None:
            keys, places = self.tree.nearest(X, count, run)
            distances = self.tree.lengths(keys)
            return (0.5 * distances**2 if self._cosine else distances), places
        wanted = min(len(self._rows), count + _BESIDE)
        rough, near = self._index.kneighbors(X - self._origin, n_neighbors=wanted)
        step = max(1, _TOGETHER // (wanted * X.shape[1]))
        for start in range(0, len(X), step):
            part = slice(start, start + step)
            distances[part], places[part] = self._ordered(X[part], near[part], count)
        if wanted < len(self._rows):
            scale = _ALIKE * (rough[:, -1] + np.abs(X - self._origin).max(axis=1))
            for query in np.flatnonzero(rough[:, -1] - distances[:, -1] <= scale):
                distances[query], places[query] = self._among_all(X[query], count)
        return (0.5 * distances**2 if self._cosine else distances), places

    def within(self, X: np.ndarray, radius: float) -> Iterator[Near]:
        """The rows within a radius of each of some others, a part of these at a time.

        Parameters
        ----------
        X : shape (queries, width).
        radius : of the metric.
        """
        X = unit_rows(X) if self._cosine else X
        radius = float(np.sqrt(2 * radius)) if self._cosine else radius
        if self.tree is None:
            for start in range(0, len(X), _LISTED):
                yield self._listed(X[start : start + _LISTED], radius)
            return
        counts = self.tree.counts_within(X, radius)
        for part in parts_of(counts):
            keys, places = self.tree.within(X[part], radius, counts[part])
            yield self._near(counts[part], self.tree.lengths(keys), places)

    def _listed(self, X: np.ndarray, radius: float) -> Near:
        """The near rows by scikit-learn's index, which is asked for a little more than the radius."""
        farthest = np.abs(X - self._origin).max(initial=0.0)
        rough = self._index.radius_neighbors(
            X - self._origin, radius * (1 + _ALIKE) + _ALIKE * farthest, return_distance=False
        )
        places = np.concatenate([np.zeros(0, np.int64), *rough])
        query = np.repeat(np.arange(len(X)), [len(each) for each in rough])
        step = max(1, _TOGETHER // X.shape[1])
        parts = [slice(start, start + step) for start in range(0, len(query), step)]
        found = [self._distances(self._rows[places[part]] - X[query[part]]) for part in parts]
        distances = np.concatenate([np.zeros(0), *found])
        kept = distances <= radius
        return self._near(np.bincount(query[kept], minlength=len(X)), distances[kept], places[kept])

    def _near(self, counts: np.ndarray, distances: np.ndarray, places: np.ndarray) -> Near:
        """Each query's rows with the nearest first, and of those as far the first."""
        query = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((places, distances, query))
        distances = 0.5 * distances**2 if self._cosine else distances
        return Near(counts, distances[order], places[order])

    def _ordered(self, X: np.ndarray, near: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest of some rows, and how far they are."""
        found = self._distances(self._rows[near] - X[:, None, :])
        order = np.lexsort((near, found), axis=1)[:, :count]
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(near, order, axis=1)

    def _among_all(self, x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        step = max(1, _TOGETHER // len(x))
        found = np.concatenate(
            [
                self._distances(self._rows[start : start + step] - x)
                for start in range(0, len(self._rows), step)
            ]
        )
        order = np.argsort(found, kind="stable")[:count]
        return found[order], order

    def _distances(self, apart: np.ndarray) -> np.ndarray:
        """The lengths of differences, along the last axis."""
        if self._power == 2:
            found: np.ndarray = np.sqrt(np.einsum("...j,...j->...", apart, apart))
            return found
        apart = np.abs(apart)
        if np.isinf(self._power):
            return np.asarray(apart.max(axis=-1))
        return np.asarray((apart**self._power).sum(axis=-1) ** (1 / self._power))


def check_count(wanted: int, rows: int) -> None:
    """Refuse more neighbours than there are rows.

    Parameters
    ----------
    wanted : `n_neighbors`.
    rows : how many rows there are to choose from.

    Raises
    ------
    DataError
        When there are fewer rows.
    """
    if wanted > rows:
        raise DataError(
            f"Expected n_neighbors <= n_samples, but n_neighbors = {wanted}, n_samples = {rows}. Ask "
            "for fewer neighbours, or learn from more rows."
        )
