"""Lloyd's algorithm from many starts at once, which looks only at rows whose center may have changed.

Of each row two bounds are kept: how far its center is at most, and how far any other is at least (Hamerly
2010). They follow from how far centers have moved; only where they cross are distances computed anew. What
changes in a pass are the rows that went from one cluster to another: the sums of others stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.row_arrays import RowArrays, room_for
from outgrow.ml.cluster.nearest import ALIKE, FEW, Centers, chunks
from outgrow.ml.cluster.seeding import farthest_rows

WIDE, MANY = 100, 256
"""Rows of at least so many columns are summed by a dense product up to so many clusters."""
_ROUNDING = 1e-9
"""The share of a cluster's weight that is but rounding, once its rows are taken from it."""
_LOST = 1e-13
"""What rounding adds to squared distances at most, as a share of the squares they are a difference of."""
_STATE_BYTES = 4 + 3 * 8
"""For each row: a label, two bounds, and its squared distance from the origin."""

Members = Sequence[tuple[np.ndarray, np.ndarray]]
"""Clusters of rows, and what the rows weigh there."""


@dataclass(eq=False)
class Walk:
    """One run of the algorithm, over the rows of a fold.

    Attributes
    ----------
    origin : near the rows; centers are taken relative to it.
    slack : it ends when the centers move, in summed squares, by no more than this.
    sizes : ndarray of shape (clusters,), how many rows each has at the end, of those that weigh something.
    sums : ndarray of shape (clusters, width), the weighted rows of each, as the last pass left them.
    moved : ndarray of shape (clusters,), how far the centers have gone since the last pass.
    known : the labels and bounds of all rows, on all ranks, where the last pass has left them; else None.
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
    sums: np.ndarray = field(default_factory=lambda: np.zeros(0))
    moved: np.ndarray = field(default_factory=lambda: np.zeros(0))
    known: RowArrays | None = None


def lloyd(rows: FoldedView, walks: Sequence[Walk]) -> None:
    """Let every walk go to its end, and find its inertia and the sizes of its clusters; one pass over the
    rows serves all of them.

    Parameters
    ----------
    rows : the rows of all folds; a walk sees those its fold learns from.
    walks : are changed in place: where they are, and at the end `inertia` and `sizes`.
    """
    run, need = rows.view.run, _STATE_BYTES * len(walks)
    remembers = room_for(rows.view, need)
    going, count = list(walks), 0
    while going:
        count += 1
        steps = [_Step.of(walk, remembers=remembers) for walk in going]
        runs = list(pairwise(accumulate((len(walk.centers) for walk in going), initial=0)))
        # of a pass that is only recalled, the sums themselves say what they are
        sums, whole = rows.reduce(lambda block, steps=steps: _sums(rows, block, steps))  # type: ignore[misc]
        for step, (a, b) in zip(steps, runs, strict=True):
            step.walk.known = None if run.recalled else step.arrays
            _advance(rows, step.walk, sums[a:b], whole=bool(whole[0]))
        run.tell("iteration", count, going[0].max_iter, loss=float(sums[:, -1].sum()))
        going = [walk for walk in going if not walk.done]
    steps = [_Step.of(walk, remembers=remembers) for walk in walks]
    found = rows.reduce(lambda block: tuple(step.costs(rows, block) for step in steps))
    for walk, own in zip(walks, found, strict=True):
        walk.inertia, walk.sizes, walk.known = float(own[0]), own[1:], None
    if remembers:
        run.memory.give(need * sum(len(block) for block in rows.view.tiles))


def _sums(rows: FoldedView, block: Block, steps: Sequence[_Step]) -> tuple[np.ndarray, np.ndarray]:
    """Of the clusters of all walks what `_Step.sums` gives; and whether these are whole sums."""
    return np.concatenate([step.sums(rows, block) for step in steps]), np.array([float(steps[0].whole)])


def _advance(rows: FoldedView, walk: Walk, found: np.ndarray, *, whole: bool) -> None:
    walk.sums = found[:, :-2].copy() if whole else walk.sums + found[:, :-2]
    weights, new = found[:, -2].copy(), walk.sums.copy()
    if (weights <= 0).any():
        _fill(rows, walk, new, weights)
    filled = weights > 0
    new[filled] /= weights[filled, None]
    new[~filled] = walk.centers[~filled]
    squares = ((new - walk.centers) ** 2).sum(axis=1)
    walk.centers, walk.moved = new, np.sqrt(squares)
    walk.steps += 1
    walk.done = float(squares.sum()) <= walk.slack or walk.steps == walk.max_iter


def _fill(rows: FoldedView, walk: Walk, sums: np.ndarray, weights: np.ndarray) -> None:
    """Give clusters without rows those farthest from their centers, and take these from their clusters.

    Where every row lies on a center, clusters stay without.
    """
    empty = np.flatnonzero(weights <= 0)
    far = farthest_rows(rows.fold(walk.fold), walk.centers, walk.origin, len(empty))
    owners = Centers.of(walk.centers, walk.origin).closest(far.rows)
    for cluster, owner, row, weight in zip(empty, owners, far.rows, far.weight, strict=False):
        left = weights[owner] - weight
        if left > _ROUNDING * weights[owner]:
            sums[owner] -= weight * row
            weights[owner] = left
            sums[cluster], weights[cluster] = weight * row, weight


@dataclass(frozen=True, eq=False)
class _Step:
    """One pass of a walk.

    Attributes
    ----------
    arrays : where labels and bounds go; None where nothing is remembered.
    away : ndarray of shape (clusters,), how far any other center has gone since the last pass.
    """

    walk: Walk
    centers: Centers
    arrays: RowArrays | None
    away: np.ndarray

    @classmethod
    def of(cls, walk: Walk, *, remembers: bool) -> _Step:
        away = np.zeros(0)
        if walk.known is not None:
            away = np.full(len(walk.moved), walk.moved.max())
            farthest = int(walk.moved.argmax())
            away[farthest] = np.delete(walk.moved, farthest).max(initial=0.0)
        arrays = (walk.known or RowArrays()) if remembers else None
        return cls(walk, Centers.of(walk.centers, walk.origin), arrays, away)

    @property
    def whole(self) -> bool:
        """Whether this pass sums all rows, rather than those whose cluster changes."""
        return self.walk.known is None

    def sums(self, rows: FoldedView, block: Block) -> np.ndarray:
        """For each cluster: summed rows, weight, and a bound of the cost.

        The rows are all of them, or those that came less those that went.
        """
        weights, clusters = rows.weights(block), len(self.walk.centers)
        weight = np.ones(len(block)) if weights is None else weights[self.walk.fold]
        labels, before, squares = self._labels(block)
        total = np.empty((clusters, rows.view.width + 2))
        total[:, -1] = np.bincount(labels, weight * squares, clusters)
        total[:, -2] = np.bincount(labels, weight, clusters)
        if before is None:
            total[:, :-2] = _summed(block.X, [(labels, weight)], clusters)
            return total
        changed = np.flatnonzero(labels != before)
        own = weight[changed]
        members = [(labels[changed], own), (before[changed], -own)]
        total[:, :-2] = _summed(block.X[changed], members, clusters) if len(changed) else 0.0
        return total

    def _labels(self, block: Block) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """The cluster of each row, that before, and its squared distance or a bound of it."""
        kept = None if self.whole or self.arrays is None else self.arrays.get(block)
        if kept is None:
            squares = _squares(block.X, self.walk.origin)
            labels, upper, lower = self._nearest(block.X, squares)
            if self.arrays is not None:
                self.arrays.put(block, labels, upper, lower, squares)
            return labels, None, upper**2
        before, upper, lower, squares = kept
        upper = upper + self.walk.moved[before]
        lower = lower - self.away[before]
        apart, beside = upper**2, np.maximum(lower, 0.0) ** 2
        # the winner must be alone, and by more than what counts as equal
        unsure = np.flatnonzero(~(beside - apart > ALIKE * (squares + apart + 2 * self.centers.least)))
        labels = before
        if len(unsure):
            labels = before.copy()
            part = block.X if len(unsure) == len(block) else block.X[unsure]
            labels[unsure], upper[unsure], lower[unsure] = self._nearest(part, squares[unsure])
        assert self.arrays is not None
        self.arrays.put(block, labels, upper, lower, squares)
        return labels, before, upper**2

    def _nearest(self, X: Any, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, and bounds that hold whatever rounding does."""
        labels, best, second, error = self.centers.nearest(X)
        largest = 2 * (self.walk.origin @ self.walk.origin + (self.centers.apart**2).sum(axis=1).max())
        lost = _LOST * (squares + largest) + 2 * error
        upper = np.sqrt(np.maximum(squares - 2 * best, 0.0) + lost)
        lower = np.sqrt(np.maximum(squares - 2 * second - lost, 0.0))
        return labels, upper, lower

    def costs(self, rows: FoldedView, block: Block) -> np.ndarray:
        """The weighted squared distance to the nearest centers, then the rows of each center."""
        labels, weights = self._labels(block)[0], rows.weights(block)
        weight = None if weights is None else weights[self.walk.fold]
        total = np.zeros(len(self.walk.centers) + 1)
        for chunk in chunks(len(block), rows.view.width):
            X = block.X[chunk].toarray() if is_sparse(block.X) else block.X[chunk]
            apart = X - self.walk.centers[labels[chunk]]
            squares = np.einsum("ij,ij->i", apart, apart)
            total[0] += squares.sum() if weight is None else weight[chunk] @ squares
        counted = labels if weight is None else labels[weight > 0]
        total[1:] += np.bincount(counted, minlength=len(self.walk.centers))
        return total


def _squares(X: Any, origin: np.ndarray) -> np.ndarray:
    """The squared distance of each row from the origin."""
    found = np.empty(X.shape[0])
    for chunk in chunks(X.shape[0], len(origin)):
        apart = (X[chunk].toarray() if is_sparse(X) else X[chunk]) - origin
        np.einsum("ij,ij->i", apart, apart, out=found[chunk])
    return found


def _summed(X: Any, members: Members, clusters: int) -> np.ndarray:
    """The weighted rows of each cluster; rows may be members of several."""
    if not is_sparse(X) and clusters <= (FEW if X.shape[1] < WIDE else MANY):
        member, place = np.zeros((clusters, X.shape[0])), np.arange(X.shape[0])
        for labels, weight in members:
            member[labels, place] += weight
        return member @ X
    labels, weights = (np.stack(column, axis=1) for column in zip(*members, strict=True))
    ends = np.arange(len(labels) + 1) * labels.shape[1]
    table = sp.csr_array((weights.ravel(), labels.ravel(), ends), shape=(len(labels), clusters))
    found = table.T @ X
    return found.toarray() if is_sparse(X) else found
