"""The nearest of some rows, exactly: whatever rounding does, of rows as far the first are found."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors as Index

from outgrow.errors import DataError
from outgrow.ml.cluster.unit import unit_rows
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
        powers = {"minkowski": p, "manhattan": 1.0, "chebyshev": np.inf}
        self._power = float(powers.get(metric, 2.0))
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

    def nearest(self, X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each of some others.

        Parameters
        ----------
        X : shape (queries, width).
        count : how many rows each gets; at most as many as there are.

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
            keys, places = self.tree.nearest(X, count)
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
