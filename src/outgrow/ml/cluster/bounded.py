"""A step of Lloyd's algorithm that looks only at rows whose center may have changed, by compiled code.

Of each row two bounds are kept: how far its center is at most, and how far any other is at least (Hamerly
2010). They follow from how far centers have moved; only where they cross are distances computed anew. What
changes in a pass are the rows that went from one cluster to another: the sums of others stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.context import one_blas_thread
from outgrow.engine.row_arrays import RowArrays
from outgrow.ml.cluster import kernels
from outgrow.ml.cluster.centers import Centers

_NONE = np.zeros(0)


def closest(centers: Centers, X: Any) -> np.ndarray:
    """The index of the center of each row.

    Parameters
    ----------
    centers : among which to choose.
    X : shape (rows, width), dense or CSR.
    """
    labels, bounds = np.empty(X.shape[0], dtype=np.int32), np.empty((3, X.shape[0]))
    with one_blas_thread():
        _rows(X).nearest(np.arange(len(labels)), centers, labels, bounds)
    return labels


@dataclass(frozen=True, eq=False)
class BoundedStep:
    """One pass of a walk.

    Attributes
    ----------
    arrays : where labels and bounds go; None where nothing is remembered.
    moved : ndarray of shape (clusters,), how far each center has gone since they were written.
    """

    centers: Centers
    arrays: RowArrays | None
    moved: np.ndarray

    @cached_property
    def _away(self) -> np.ndarray:
        """How far any center but this has gone, for each."""
        away, farthest = np.full(len(self.moved), self.moved.max()), int(self.moved.argmax())
        away[farthest] = np.delete(self.moved, farthest).max(initial=0.0)
        return away

    def sums(self, block: Block, weight: np.ndarray | None) -> np.ndarray:
        """For each cluster: summed rows, weight, and a bound of the cost.

        The rows are all of them, or where something was remembered those that came less those that went.

        Parameters
        ----------
        block : the rows.
        weight : shape (rows,); None where all weigh one.
        """
        clusters, width = self.centers.exact.shape
        rows, total = _rows(block.X), np.zeros((clusters, width + 2))
        labels, before, bounds = self._labels(block, rows)
        rows.summed(labels, before, _NONE if weight is None else weight, bounds[0], total)
        return total

    def costs(self, block: Block, weight: np.ndarray | None) -> np.ndarray:
        """The weighted squared distance to the nearest centers, then the rows of each center.

        Parameters
        ----------
        block, weight : as in `sums`.
        """
        rows, total = _rows(block.X), np.zeros(1 + len(self.centers.exact))
        labels = self._labels(block, rows)[0]
        rows.costs(labels, self.centers.exact, _NONE if weight is None else weight, total)
        return total

    def _labels(self, block: Block, rows: _Dense | _Sparse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cluster of each row, that before where it is known, and the bounds."""
        kept = None if self.arrays is None else self.arrays.get(block)
        found = np.arange(len(block))
        if kept is None:
            labels, bounds = np.empty(len(block), dtype=np.int32), np.empty((3, len(block)))
            before = labels[:0]
        else:
            labels, bounds = kept
            before, least = labels.copy(), self.centers.least
            found = found[: kernels.doubtful(labels, bounds, self.moved, self._away, least, found)]
        rows.nearest(found, self.centers, labels, bounds)
        if self.arrays is not None:
            self.arrays.put(block, labels, bounds)
        return labels, before, bounds


class _Dense:
    """Rows as kernels take them."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = np.ascontiguousarray(X, dtype=np.float64)

    def nearest(self, rows: np.ndarray, centers: Centers, labels: np.ndarray, bounds: np.ndarray) -> None:
        """As `kernels.nearest_dense`."""
        kernels.nearest_dense(self.X, rows, centers.origin, centers.tables, labels, bounds)

    def summed(self, *arguments: np.ndarray) -> None:
        """As `kernels.summed_dense`."""
        kernels.summed_dense(self.X, *arguments)

    def costs(self, *arguments: np.ndarray) -> None:
        """As `kernels.costs_dense`."""
        kernels.costs_dense(self.X, *arguments)


class _Sparse:
    """The rows of a CSR matrix as kernels take them; those kernels are compiled when first met."""

    def __init__(self, X: Any) -> None:
        from outgrow.ml.cluster import sparse_kernels

        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        self._kernels = sparse_kernels
        self._matrix = X.data, X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int64, copy=False)

    def nearest(self, rows: np.ndarray, centers: Centers, labels: np.ndarray, bounds: np.ndarray) -> None:
        """As `kernels.nearest_dense`."""
        tables = centers.turned_tables
        self._kernels.nearest_sparse(*self._matrix, rows, centers.origin, tables, labels, bounds)

    def summed(self, *arguments: np.ndarray) -> None:
        """As `kernels.summed_dense`."""
        self._kernels.summed_sparse(*self._matrix, *arguments)

    def costs(self, *arguments: np.ndarray) -> None:
        """As `kernels.costs_dense`."""
        self._kernels.costs_sparse(*self._matrix, *arguments)


def _rows(X: Any) -> _Dense | _Sparse:
    return _Sparse(X) if is_sparse(X) else _Dense(X)
