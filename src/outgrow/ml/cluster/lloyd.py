"""Lloyd's algorithm from many starts at once: one pass over the rows for each step of all of them.

Where it pays and Numba is installed, `bounded.py` looks only at rows whose center may have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.row_arrays import RowArrays, give_back, room_for
from outgrow.ml.cluster.centers import Centers, squared_distances
from outgrow.ml.cluster.nearest import closest, compiled
from outgrow.ml.cluster.seeding import farthest_rows
from outgrow.ml.cluster.unit import unit_rows

_ROUNDING = 1e-9
"""The share of a cluster's weight that is but rounding, once its rows are taken from it."""
_FEW = 1 << 15
"""Clusters times rows up to which a dense product takes less time than a sparse matrix takes to make."""
_STATE_BYTES = 4 + 3 * 8
"""For each row: a label, two bounds, and its squared distance from the origin."""


@dataclass(eq=False)
class Walk:
    """One run of the algorithm, over the rows of a fold.

    Attributes
    ----------
    origin : near the rows; centers are taken relative to it.
    slack : it ends when the centers move, in summed squares, by no more than this.
    sizes : ndarray of shape (clusters,), how many rows each has at the end, of those that weigh something.
    weights : ndarray of shape (clusters,), what the rows of each weighed in the last step.
    sums : ndarray of shape (clusters, width), the weighted rows of each, as the last pass left them.
    moved : ndarray of shape (clusters,), how far the centers have gone since the last pass.
    known : the labels and bounds of all rows, on all ranks, where the last pass has left them; else None.
    spherical : whether rows and centers have length 1.
    """

    fold: int
    centers: np.ndarray
    origin: np.ndarray
    slack: float
    max_iter: int
    steps: int = 0
    done: bool = False
    inertia: float = np.inf
    sizes: np.ndarray = field(default_factory=lambda: np.zeros(0))
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(0))
    moved: np.ndarray = field(default_factory=lambda: np.zeros(0))
    known: RowArrays | None = None
    spherical: bool = False


def lloyd(rows: FoldedView, walks: Sequence[Walk]) -> None:
    """Let every walk go to its end, and find its inertia and the sizes of its clusters; one pass over the
    rows serves all of them.

    Parameters
    ----------
    rows : the rows of all folds; a walk sees those its fold learns from.
    walks : are changed in place: where they are, and at the end `inertia` and `sizes`.
    """
    run, need = rows.view.run, _STATE_BYTES * len(walks)
    kernels = compiled(rows.view.cells * max(len(walk.centers) for walk in walks))
    remembers = room_for(rows.view, need, wanted=kernels is not None)
    going, count = list(walks), 0
    while going:
        count += 1
        known = [walk.known or RowArrays() if remembers else None for walk in going]
        steps = [_step(walk, own, kernels) for walk, own in zip(going, known, strict=True)]
        # of a pass that is only recalled, the sums themselves say what they are
        whole = np.array([float(going[0].known is None)])
        found = rows.reduce(
            lambda block, going=going, steps=steps, whole=whole: (  # type: ignore[misc]
                np.concatenate(_of_all(rows, block, going, [step.sums for step in steps])),
                whole,
            )
        )
        ends = accumulate(len(walk.centers) for walk in going)
        for walk, own, sums in zip(going, known, np.split(found[0], list(ends)[:-1]), strict=True):
            walk.known = None if run.recalled else own
            _advance(rows, walk, sums, whole=bool(found[1][0]))
        run.tell("iteration", count, going[0].max_iter, loss=float(found[0][:, -1].sum()))
        going = [walk for walk in going if not walk.done]
    steps = [_step(walk, walk.known, kernels) for walk in walks]
    costs = rows.reduce(lambda block: tuple(_of_all(rows, block, walks, [step.costs for step in steps])))
    for walk, cost in zip(walks, costs, strict=True):
        walk.inertia, walk.sizes, walk.known = float(cost[0]), cost[1:], None
    if remembers:
        give_back(rows.view, need)


def _of_all(
    rows: FoldedView, block: Block, walks: Sequence[Walk], functions: Sequence[Callable[..., np.ndarray]]
) -> list[np.ndarray]:
    """What a function for each walk gives of a block and what its rows weigh in the walk's fold."""
    weights = rows.weights(block)
    return [
        function(block, None if weights is None else weights[walk.fold])
        for walk, function in zip(walks, functions, strict=True)
    ]


def _advance(rows: FoldedView, walk: Walk, found: np.ndarray, *, whole: bool) -> None:
    walk.sums = found[:, :-2].copy() if whole else walk.sums + found[:, :-2]
    weights, new = found[:, -2].copy(), walk.sums.copy()
    if (weights <= 0).any():
        _fill(rows, walk, new, weights)
    filled = weights > 0
    new[filled] /= weights[filled, None]
    new[~filled] = walk.centers[~filled]
    if walk.spherical:
        new = unit_rows(new)
    squares = ((new - walk.centers) ** 2).sum(axis=1)
    walk.weights, walk.centers, walk.moved = weights, new, np.sqrt(squares)
    walk.steps += 1
    walk.done = float(squares.sum()) <= walk.slack or walk.steps == walk.max_iter


def _fill(rows: FoldedView, walk: Walk, sums: np.ndarray, weights: np.ndarray) -> None:
    """Give clusters without rows those farthest from their centers, and take these from their clusters.

    Where every row lies on a center, clusters stay without.
    """
    empty = np.flatnonzero(weights <= 0)
    far = farthest_rows(rows.fold(walk.fold), walk.centers, walk.origin, len(empty))
    owners = closest(Centers.of(walk.centers, walk.origin), far.rows)
    for cluster, owner, row, weight in zip(empty, owners, far.rows, far.weight, strict=False):
        left = weights[owner] - weight
        if left > _ROUNDING * weights[owner]:
            sums[owner] -= weight * row
            weights[owner] = left
            sums[cluster], weights[cluster] = weight * row, weight


def cluster_sums(X: Any, centers: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """For each cluster: summed rows, weight, and cost, of shape (clusters, width + 2).

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    centers : shape (clusters, width).
    labels : shape (rows,), the cluster of each row.
    weight : shape (rows,); None where all weigh one.
    """
    clusters, own = len(centers), np.ones(len(labels)) if weight is None else weight
    if clusters * len(own) <= _FEW and not is_sparse(X):
        shares = np.zeros((clusters, len(own)))
        shares[labels, np.arange(len(own))] = own
        sums = shares @ X
    else:
        sums = sp.csr_array((own, labels, np.arange(len(own) + 1)), shape=(len(own), clusters)).T @ X
    cost = own * squared_distances(X, centers, labels)
    beside = [np.bincount(labels, values, clusters) for values in (own, cost)]
    return np.column_stack([sums.toarray() if is_sparse(sums) else sums, *beside])


def _step(walk: Walk, known: RowArrays | None, kernels: ModuleType | None) -> Any:
    """One pass of a walk, compiled where there are kernels."""
    centers = Centers.of(walk.centers, walk.origin)
    return _Step(centers) if kernels is None else kernels.BoundedStep(centers, known, walk.moved)


@dataclass(frozen=True, eq=False)
class _Step:
    """One pass of a walk over all rows, as `BoundedStep` makes without looking at all."""

    centers: Centers

    def sums(self, block: Block, weight: np.ndarray | None) -> np.ndarray:
        """For each cluster: summed rows, weight, and cost.

        Parameters
        ----------
        block : the rows.
        weight : shape (rows,); None where all weigh one.
        """
        return cluster_sums(block.X, self.centers.exact, self.centers.closest(block.X), weight)

    def costs(self, block: Block, weight: np.ndarray | None) -> np.ndarray:
        """The weighted squared distance to the nearest centers, then the rows of each center.

        Parameters
        ----------
        block, weight : as in `sums`.
        """
        labels = self.centers.closest(block.X)
        squares = squared_distances(block.X, self.centers.exact, labels)
        cost = squares.sum() if weight is None else weight @ squares
        counted = labels if weight is None else labels[weight > 0]
        return np.append(cost, np.bincount(counted, minlength=len(self.centers.exact)))
