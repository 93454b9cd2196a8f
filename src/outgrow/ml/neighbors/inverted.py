"""The nearest rows by inverted lists, approximately: only cells whose centres are near are looked at.

Rows are dealt into cells by k-means (Jégou, Douze and Schmid 2011, without the quantisation: distances are
exact, and what is missed lies in cells that nobody looked at).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from outgrow.ml.neighbors.index import compiled

_STEPS = 8
"""Steps of k-means."""
_SAMPLED = 64
"""So many rows for each cell are shown to k-means."""
_ASKED = 256
"""Rows whose neighbours are looked for to see how many are found."""
_BESIDE = 8
"""So many more rows than wanted have their distances worked out exactly."""
_TOGETHER = 1 << 22
"""Numbers that are worked on at once."""


@dataclass(frozen=True, eq=False)
class InvertedLists:
    """Rows in cells.

    Attributes
    ----------
    rows : ndarray of shape (n, width), in the order of their hashes.
    centers : ndarray of shape (cells, width).
    cells : ndarray of shape (n,), the cell of each row.
    probes : how many cells are looked at for each query.
    """

    rows: np.ndarray
    centers: np.ndarray
    cells: np.ndarray
    probes: int

    @classmethod
    def learned(cls, rows: np.ndarray, count: int, recall: float) -> tuple[InvertedLists, float]:
        """Lists that look at as few cells as find the share of the neighbours, and the share they find.

        Parameters
        ----------
        rows : shape (n, width), in an order that chance gives.
        count : for how many neighbours.
        recall : the share of them that is to be found.
        """
        number = max(1, int(np.sqrt(len(rows))))
        centers = rows[:number].copy()
        shown = rows[: _SAMPLED * number]
        for _ in range(_STEPS):
            labels = _nearest_centers(shown, centers)
            sizes = np.bincount(labels, minlength=number)
            sums = np.zeros_like(centers)
            np.add.at(sums, labels, shown)
            centers[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0, None]
        cells = _nearest_centers(rows, centers).astype(np.int32)
        step = max(1, len(rows) // _ASKED)
        asked = np.arange(0, len(rows), step)[:_ASKED]
        count = min(count + 1, len(rows))  # each asked row is the nearest of its own
        _, exact = cls(rows, centers, cells, number).nearest(rows[asked], count)
        probes, found = 1, 0.0
        while True:
            lists = cls(rows, centers, cells, min(probes, number))
            _, places = lists.nearest(rows[asked], count)
            met = (places[:, :, None] == exact[:, None, :]).any(axis=2) & (places != asked[:, None])
            wanted = (exact != asked[:, None]).sum()
            found = float(met.sum() / wanted) if wanted else 1.0
            if found >= recall or probes >= number:
                return lists, found
            probes = max(probes + 1, int(probes * 1.3))

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """The places of the rows cell by cell, and where those of each cell begin."""
        order = np.argsort(self.cells, kind="stable")
        return order, np.searchsorted(self.cells[order], np.arange(len(self.centers) + 1))

    @cached_property
    def _by_cell(self) -> np.ndarray:
        return np.ascontiguousarray(self.rows[self._order[0]])

    def nearest(self, X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean distances, ascending, and places, of the nearest rows of the cells that are looked at.

        Parameters
        ----------
        X : shape (queries, width).
        count : how many rows, at most as there are. Of queries whose cells hold fewer, more are looked at.

        Returns
        -------
        Both of shape (queries, count); of rows as far the first come first.
        """
        keys = np.full((len(X), count), np.inf)
        places = np.full((len(X), count), len(self.rows), dtype=np.int64)
        order, edges = self._order
        X = np.ascontiguousarray(X, dtype=np.float64)
        step = max(1, _TOGETHER // len(self.centers))
        for start in range(0, len(X), step):
            part = slice(start, start + step)
            ranked = np.argsort(_squares(X[part], self.centers), axis=1, kind="stable")
            reached = np.cumsum(np.diff(edges)[ranked], axis=1)
            enough = np.maximum((reached < count).sum(axis=1) + 1, self.probes)
            if compiled():
                from outgrow.ml.neighbors.inverted_kernels import looked_at

                looked_at(self._by_cell, order, edges, X[part], ranked, enough, keys[part], places[part])
                continue
            query, rank = np.nonzero(np.arange(len(self.centers)) < enough[:, None])
            self._look(X[part], query, ranked[query, rank], order, edges, keys[part], places[part])
        return np.sqrt(keys), places

    def _look(
        self,
        X: np.ndarray,
        query: np.ndarray,
        cell: np.ndarray,
        order: np.ndarray,
        edges: np.ndarray,
        keys: np.ndarray,
        places: np.ndarray,
    ) -> None:
        """Keep the nearest rows of pairs of a query and a cell, cell by cell."""
        turn = np.argsort(cell, kind="stable")
        query, cell = query[turn], cell[turn]
        starts = np.searchsorted(cell, np.arange(len(self.centers) + 1))
        for number in np.unique(cell).tolist():
            asking = query[starts[number] : starts[number + 1]]
            held = order[edges[number] : edges[number + 1]]
            if len(held):
                self._keep_nearest(X, asking, held, keys, places)

    def _keep_nearest(
        self, X: np.ndarray, asking: np.ndarray, held: np.ndarray, keys: np.ndarray, places: np.ndarray
    ) -> None:
        count = keys.shape[1]
        step = max(1, _TOGETHER // (len(held) + (count + _BESIDE) * X.shape[1]))
        for start in range(0, len(asking), step):
            few = asking[start : start + step]
            near = np.broadcast_to(held, (len(few), len(held)))
            if len(held) > count + _BESIDE:
                # squares of products say which rows may be near; the exact distances follow
                centre = self.rows[held[0]]
                rows = self.rows[held] - centre
                rough = (rows**2).sum(axis=1) - 2 * (X[few] - centre) @ rows.T
                near = held[np.argpartition(rough, count + _BESIDE, axis=1)[:, : count + _BESIDE]]
            apart = self.rows[near] - X[few][:, None, :]
            far = np.einsum("ijk,ijk->ij", apart, apart)
            both, at = np.hstack([keys[few], far]), np.hstack([places[few], near])
            best = np.lexsort((at, both), axis=1)[:, :count]
            keys[few], places[few] = np.take_along_axis(both, best, 1), np.take_along_axis(at, best, 1)


def _squares(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances, the same for a row whichever rows stand beside it."""
    found = np.zeros((len(X), len(centers)))
    for k in range(X.shape[1]):
        found += (X[:, k, None] - centers[:, k]) ** 2
    return found


def _nearest_centers(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    step = max(1, _TOGETHER // len(centers))
    half = (centers**2).sum(axis=1) / 2
    parts = [
        (half - rows[start : start + step] @ centers.T).argmin(axis=1) for start in range(0, len(rows), step)
    ]
    return np.concatenate(parts)
