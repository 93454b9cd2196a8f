"""What may be asked of a model that holds rows: which of them are near, as arrays, graphs and tables."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.context import one_blas_thread
from outgrow.engine.local import Local
from outgrow.errors import ParameterError
from outgrow.ml.cluster.unit import unit_rows
from outgrow.ml.core.parameters import Integer, Number, OneOf
from outgrow.ml.neighbors.inverted import InvertedLists
from outgrow.ml.neighbors.known_rows import check_extent
from outgrow.ml.neighbors.search import Near, Search, check_count, power_of

ALGORITHMS = ("auto", "ball_tree", "kd_tree", "brute", "ivf")
_PIECE = 512
"""Rows that a thread looks for the neighbours of at once."""
_MODES = OneOf("connectivity", "distance")


class KnownRows:
    """Holds rows of the fit, and calls them by ids.

    Hook: `_values(X)`, the numbers that are compared.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, width).
    ids_ : ndarray of shape (n_samples_fit_,), what each is called.
    """

    rows_: np.ndarray
    ids_: np.ndarray
    n_samples_fit_: int
    metric: str
    p: float
    _search: Search | None = None

    if TYPE_CHECKING:  # the other bases of a class have it

        def _values(self, X: Any) -> Any: ...

    def _check_extent(self) -> None:
        if self.metric != "cosine":
            check_extent(self.rows_, power_of(self.metric, self.p))

    def _restored(self) -> None:
        self._search = Search(self.rows_, self.metric, self.p) if hasattr(self, "rows_") else None

    def _finder(self) -> Search:
        """What finds rows; made when it is first needed."""
        if self._search is None:
            self._restored()
        assert self._search is not None
        return self._search

    def _columns(self, places: np.ndarray) -> np.ndarray:
        """Which columns of a graph rows are, in the order of their ids."""
        rank = np.empty(len(self.ids_), dtype=np.int64)
        rank[np.argsort(self.ids_, kind="stable")] = np.arange(len(rank))
        return rank[places]

    def _graph(self, counts: np.ndarray, places: np.ndarray, values: np.ndarray) -> sp.csr_matrix:
        ends = np.concatenate([[0], np.cumsum(counts)])
        shape = len(counts), self.n_samples_fit_
        return sp.csr_matrix((values, self._columns(places), ends), shape=shape)

    def _check(self, method: str, **values: Any) -> None:
        """Refuse arguments of a method that cannot be."""
        domains = {"n_neighbors": Integer(low=1), "radius": Number(low=0), "mode": _MODES}
        check_is_fitted(self)
        for name, value in values.items():
            domains[name].check(f"{type(self).__name__}.{method}", name, value)


class NearestQueries(KnownRows):
    """Finds so many rows for each.

    Attributes
    ----------
    recall_ : with algorithm='ivf', the share of the `n_neighbors` of 256 rows that is found; else 1.
    centers_, cells_, probes_ : with algorithm='ivf', ndarrays of the centres of the cells and of the cell of
        each row, and how many cells are looked at; else empty.
    """

    n_neighbors: int
    algorithm: str
    recall: float
    recall_: float
    centers_: np.ndarray
    cells_: np.ndarray
    probes_: int
    _lists: InvertedLists | None = None

    def _restored(self) -> None:
        self._lists, self._search = None, None
        if not len(getattr(self, "cells_", ())):
            super()._restored()

    def _finder(self) -> Search:
        if self._search is None:  # asked for radii, which are exact
            super()._restored()
        return super()._finder()

    def _learn_cells(self) -> None:
        """Deal the rows into cells, where only near cells are to be looked at."""
        self.recall_, self.probes_, self._lists = 1.0, 0, None
        self.centers_, self.cells_ = np.zeros((0, self.rows_.shape[1])), np.zeros(0, dtype=np.int32)
        if self.algorithm == "ivf":
            self._check_euclidean()
            made, self.recall_ = InvertedLists.learned(
                self._compared(self.rows_), self.n_neighbors, float(self.recall)
            )
            self.centers_, self.cells_, self.probes_ = made.centers, made.cells, made.probes
            self._lists = made

    def _check_euclidean(self) -> None:
        euclidean = self.metric in ("euclidean", "cosine") or (self.metric == "minkowski" and self.p == 2)
        if not euclidean:
            raise ParameterError(
                f"{type(self).__name__}(algorithm='ivf', metric={self.metric!r}, p={self.p!r}): cells are "
                "those of Euclidean distances. Give metric='euclidean' or 'cosine', or another algorithm."
            )

    def _compared(self, X: np.ndarray) -> np.ndarray:
        return unit_rows(X) if self.metric == "cosine" else X

    def _by_cells(self, X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The distances and places of the nearest rows of the nearest cells."""
        if self._lists is None:
            rows = self._compared(self.rows_)
            self._lists = InvertedLists(rows, self.centers_, self.cells_, int(self.probes_))
        distances, places = self._lists.nearest(self._compared(X), count)
        return (0.5 * distances**2 if self.metric == "cosine" else distances), places

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each row, as arrays.

        Parameters
        ----------
        X : rows in any form that a model takes; None for those of the fit, in the order of their ids, each of
            which is then no neighbour of its own.
        n_neighbors : how many; None for those of the parameter.
        return_distance : whether distances are given, too.

        Returns
        -------
        Distances, ascending, and ids, both of shape (rows, n_neighbors); or the ids alone.

        Raises
        ------
        DataError
            When there are not as many rows.
        """
        distances, places = self._nearest_of(X, n_neighbors, "kneighbors")
        return (distances, self.ids_[places]) if return_distance else self.ids_[places]

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> sp.csr_matrix:
        """The nearest rows of each row, as a sparse matrix.

        Parameters
        ----------
        X, n_neighbors : as for `kneighbors`.
        mode : 'connectivity' for ones, 'distance' for distances.

        Returns
        -------
        CSR matrix of shape (rows, n_samples_fit_); its columns are the rows of the fit in the order of their
        ids.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> X = np.array([[0.0], [1.0], [5.0]])
        >>> og.NearestNeighbors(n_neighbors=1).fit(X).kneighbors_graph(mode="distance").toarray().tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 4.0, 0.0]]
        """
        self._check("kneighbors_graph", mode=mode)
        distances, places = self._nearest_of(X, n_neighbors, "kneighbors_graph")
        values = np.ones(places.size) if mode == "connectivity" else distances.ravel()
        return self._graph(np.full(len(places), places.shape[1]), places.ravel(), values)

    def _nearest_of(self, X: Any, n_neighbors: int | None, method: str) -> tuple[np.ndarray, np.ndarray]:
        """Distances and places."""
        check_is_fitted(self)
        count = self.n_neighbors if n_neighbors is None else n_neighbors
        self._check(method, n_neighbors=count)
        check_count(count, self.n_samples_fit_ - (X is None))
        return self._on_threads(self._values(X), count) if X is not None else self._others(count)

    def _on_threads(self, X: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        """What `_nearest` finds, by all cores of this machine; of rows alone, the calling thread does it."""
        X = np.asarray(X, dtype=np.float64)
        cells, threads = len(getattr(self, "cells_", ())) > 0, Local().slots
        if threads < 2 or len(X) <= _PIECE or not (cells or self._finder().tree):
            return self._nearest(X, count)
        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
            if not cells:
                return self._finder().nearest(X, count, pool.map)
            starts = range(0, len(X), _PIECE)
            parts = [*pool.map(lambda start: self._by_cells(X[start : start + _PIECE], count), starts)]
        distances, places = zip(*parts, strict=True)
        return np.concatenate(distances), np.concatenate(places)

    def _nearest(self, X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The distances and places of the nearest rows."""
        X = np.asarray(X, dtype=np.float64)
        cells = getattr(self, "cells_", ())  # models that were saved before have none
        return self._by_cells(X, count) if len(cells) else self._finder().nearest(X, count)

    def _others(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each row of the fit but itself, in the order of their ids."""
        distances, places = self._on_threads(self.rows_, count + 1)
        own = places == np.arange(len(places))[:, None]
        own[~own.any(axis=1), -1] = True  # of more rows alike than are found, itself is none
        order = np.argsort(self.ids_, kind="stable")
        kept = [table[~own].reshape(len(own), count)[order] for table in (distances, places)]
        return kept[0], kept[1]


class RadiusQueries(KnownRows):
    """Finds the rows within a radius of each."""

    radius: float

    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The rows within a radius of each row; those as far as the radius are in it.

        Parameters
        ----------
        X : rows in any form that a model takes; None for those of the fit, in the order of their ids, each of
            which is then no neighbour of its own.
        radius : how far they may be; None for that of the parameter.
        return_distance : whether distances are given, too.
        sort_results : accepted as in scikit-learn; the nearest always come first.

        Returns
        -------
        Distances and ids, both of shape (rows,), of which each is an array; or the ids alone.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> X = np.array([[0.0], [1.0], [5.0]])
        >>> distances, neighbors = og.NearestNeighbors(1, radius=4).fit(X).radius_neighbors(np.array([[4.0]]))
        >>> distances[0].tolist(), neighbors[0].tolist()
        ([1.0, 3.0, 4.0], [2, 1, 0])
        """
        near = self._within(X, radius, "radius_neighbors")
        ends = np.cumsum(near.counts)[:-1]
        ids = _lists(np.split(self.ids_[near.places], ends), len(near.counts))
        if not return_distance:
            return ids
        return _lists(np.split(near.distances, ends), len(near.counts)), ids

    def radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = False,
    ) -> sp.csr_matrix:
        """The rows within a radius of each row, as a sparse matrix.

        Parameters
        ----------
        X, radius, sort_results : as for `radius_neighbors`.
        mode : 'connectivity' for ones, 'distance' for distances.

        Returns
        -------
        CSR matrix of shape (rows, n_samples_fit_); its columns are the rows of the fit in the order of their
        ids.
        """
        self._check("radius_neighbors_graph", mode=mode)
        near = self._within(X, radius, "radius_neighbors_graph")
        values = np.ones(len(near.places)) if mode == "connectivity" else near.distances
        return self._graph(near.counts, near.places, values)

    def _within(self, X: Any, radius: float | None, method: str) -> Near:
        check_is_fitted(self)
        radius = self.radius if radius is None else radius
        self._check(method, radius=radius)
        if X is not None:
            values = np.asarray(self._values(X), dtype=np.float64)
            return _together(self._finder().within(values, float(radius)))
        order = np.argsort(self.ids_, kind="stable")
        near = _together(self._finder().within(self.rows_[order], float(radius)))
        other = near.places != order[near.queries]
        counts = np.bincount(near.queries[other], minlength=len(order))
        return Near(counts, near.distances[other], near.places[other])

    def radius_edges(self, radius: float | None = None) -> pa.Table:
        """Which rows of the fit are within a radius of each other, as a table of edges.

        Parameters
        ----------
        radius : how far they may be; None for that of the parameter.

        Returns
        -------
        A table with the columns `src` and `dst`, which are ids, and `distance`; each pair comes once, the
        lower id first. `og.graph_clusters` takes such tables.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> og.NearestNeighbors(1).fit(np.array([[0.0], [1.0], [5.0]])).radius_edges(4).to_pylist()
        [{'src': 0, 'dst': 1, 'distance': 1.0}, {'src': 1, 'dst': 2, 'distance': 4.0}]
        """
        near = self._within(None, radius, "radius_edges")
        src = np.sort(self.ids_, kind="stable")[near.queries]
        dst = self.ids_[near.places]
        once = (src < dst) | ((src == dst) & (near.queries < self._columns(near.places)))
        columns = {"src": src[once], "dst": dst[once], "distance": near.distances[once]}
        return pa.table(columns)


def _together(parts: Iterator[Near]) -> Near:
    nothing = Near(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
    whole = [nothing, *parts]
    return Near(
        np.concatenate([part.counts for part in whole]),
        np.concatenate([part.distances for part in whole]),
        np.concatenate([part.places for part in whole]),
    )


def _lists(parts: list[np.ndarray], count: int) -> np.ndarray:
    """An array of arrays."""
    made = np.empty(count, dtype=object)
    for k in range(count):
        made[k] = parts[k]
    return made
