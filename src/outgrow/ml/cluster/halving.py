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


def crossed(
    X: Any,
    centers: np.ndarray,
    weight: np.ndarray | None,
    mode: np.ndarray,
    gone: np.ndarray,
    pair: np.ndarray,
    side: np.ndarray,
    reach: np.ndarray,
) -> np.ndarray:
    """What the rows that go over to the other of their two centers change in the sums of each; all rows of
    pairs that end.

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    centers : shape (pairs, 2, width).
    weight : shape (rows,); None where all weigh one.
    mode : int8 of shape (pairs,), 0 where a pair stands still, 1 where it moves, 2 where it ends.
    gone : shape (pairs,), how far the centers have gone since the first pass, together.
    pair : int32 of shape (rows,), the pair of each; -1 for none.
    side, reach : shape (rows,), int8 and float64, as the kernel `moved_over` has them; are changed.

    Returns
    -------
    Shape (2 pairs, width + 3), as of `halves`.
    """
    flat = centers.reshape(-1, centers.shape[2])
    kernels = _kernels(X, len(flat))
    if kernels is not None:
        sums = np.zeros((len(flat), flat.shape[1] + 3))
        own = _NONE if weight is None else weight
        kernels.moved_over(_ready(X), pair, flat, own, mode, gone, side, reach, sums)
        return sums
    moves = np.where(pair >= 0, mode[pair], 0) > 0
    going = np.where(moves, pair, -1).astype(np.int32)
    made = halves(X, going, flat, weight)
    known = moves & (side >= 0) & (mode[pair] == 1)
    if known.any():
        made -= _at(X, 2 * pair + side, known, weight, made.shape)
    near, far = pair_squares(X[moves], 2 * pair[moves], flat)
    side[moves] = is_second(near, far)
    return made


def _at(X: Any, place: np.ndarray, which: np.ndarray, weight: np.ndarray | None, shape: Any) -> np.ndarray:
    """The sums of some rows at places, without costs."""
    rows = np.flatnonzero(which)
    own = np.ones(len(rows)) if weight is None else weight[rows]
    members = sp.csr_array((own, place[rows], np.arange(len(own) + 1)), shape=(len(own), shape[0]))
    sums = members.T @ X[rows]
    sums = sums.toarray() if is_sparse(sums) else sums
    counts = np.bincount(place[rows], (own > 0).astype(np.float64), shape[0])
    return np.column_stack([sums, members.sum(axis=0), np.zeros(shape[0]), counts])


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
