"""Rows that go down a tree of centers, by compiled code where that pays."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.ml.cluster.centers import ALIKE, chunks
from outgrow.ml.cluster.nearest import compiled

_NONE = np.zeros(0)
_DIFFERENCES = 16
"""Times as long as for a product NumPy takes for differences: compiled code is soon worth it."""


@dataclass(frozen=True, eq=False)
class CenterTree:
    """Nodes, each with two children or none; a row goes to the child whose center is nearer.

    Attributes
    ----------
    left : int32 of shape (nodes,), the first child of each, behind which the second is; -1 for leaves.
    centers : ndarray of shape (nodes, width).
    """

    left: np.ndarray
    centers: np.ndarray

    def leaves(self, X: Any, nodes: np.ndarray | None = None) -> np.ndarray:
        """The leaf of each row.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        nodes : where the rows are known to be; None for the root.
        """
        nodes = np.zeros(X.shape[0], dtype=np.int32) if nodes is None else nodes.copy()
        kernels = _kernels(X, 2 * len(self.left))
        if kernels is not None:
            kernels.descended(_ready(X), nodes, self.left, self.centers)
            return nodes
        while len(going := np.flatnonzero(self.left[nodes] >= 0)):
            first = self.left[nodes[going]]
            near, far = pair_squares(X[going], first, self.centers)
            nodes[going] = first + is_second(near, far)
        return nodes


def halves(X: Any, pair: np.ndarray, centers: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The sums of the rows that are nearer to each center than to the other of its pair.

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    pair : int32 of shape (rows,), which pair of centers each row has; -1 for none.
    centers : shape (2 pairs, width), those of a pair one after the other.
    weight : shape (rows,); None where all weigh one.

    Returns
    -------
    Shape (2 pairs, width + 3): summed rows, weight, cost, and how many rows weigh something.
    """
    kernels = _kernels(X, len(centers))
    if kernels is not None:
        sums = np.zeros((len(centers), centers.shape[1] + 3))
        kernels.halved(_ready(X), pair, centers, _NONE if weight is None else weight, sums)
        return sums
    going = np.flatnonzero(pair >= 0)
    X, first = X[going], 2 * pair[going]
    own = np.ones(len(going)) if weight is None else weight[going]
    near, far = pair_squares(X, first, centers)
    second = is_second(near, far)
    place = first + second
    members = sp.csr_array((own, place, np.arange(len(own) + 1)), shape=(len(own), len(centers)))
    sums = members.T @ X
    beside = [own, own * np.where(second, far, near), (own > 0).astype(np.float64)]
    columns = [np.bincount(place, values, len(centers)) for values in beside]
    return np.column_stack([sums.toarray() if is_sparse(sums) else sums, *columns])


def pair_squares(X: Any, first: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared distances of rows from two centers each, of shape (rows,).

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    first : shape (rows,), the first center of each, behind which the second is.
    centers : shape (centers, width).
    """
    near, far = np.empty(len(first)), np.empty(len(first))
    if is_sparse(X):
        own, squares = np.asarray(X.multiply(X).sum(axis=1)).ravel(), (centers**2).sum(axis=1)
        for one in np.unique(first):
            rows = np.flatnonzero(first == one)
            apart = own[rows, None] - 2 * (X[rows] @ centers[one : one + 2].T) + squares[one : one + 2]
            near[rows], far[rows] = np.maximum(apart, 0.0).T
        return near, far
    for part in chunks(len(first), centers.shape[1]):
        for found, which in ((near, first[part]), (far, first[part] + 1)):
            apart = X[part] - centers[which]
            np.einsum("ij,ij->i", apart, apart, out=found[part])
    return near, far


def is_second(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Whether the second of two centers is nearer, by more than rounding: of two as far, it is the first.

    Parameters
    ----------
    near, far : shape (rows,), the squared distances from the first and from the second.
    """
    return near - far > ALIKE * (near + far)


def _ready(X: Any) -> np.ndarray:
    return np.ascontiguousarray(X, dtype=np.float64)


def _kernels(X: Any, centers: int) -> ModuleType | None:
    """The kernels, for dense rows where they pay and Numba is installed."""
    if is_sparse(X) or compiled(_DIFFERENCES * X.size * centers) is None:
        return None
    from outgrow.ml.cluster import halving_kernels

    return halving_kernels
