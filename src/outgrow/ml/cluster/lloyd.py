"""Lloyd's algorithm from many starts at once: the distances to all their centers are one product a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.ml.cluster.nearest import FEW, Centers, Scores, chunks
from outgrow.ml.cluster.seeding import farthest_rows

WIDE, MANY = 100, 256
"""Rows of at least so many columns are summed by a dense product up to so many clusters: a sparse one would
turn the columns into rows first."""
_ROUNDING = 1e-9
"""The share of a cluster's weight that is but rounding, once its rows are taken from it."""


@dataclass(eq=False)
class Walk:
    """One run of the algorithm, over the rows of a fold.

    Attributes
    ----------
    origin : near the rows; centers are taken relative to it.
    slack : it ends when the centers move, in summed squares, by no more than this.
    sizes : ndarray of shape (clusters,), how many rows each has at the end, of those that weigh something.
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


def lloyd(rows: FoldedView, walks: Sequence[Walk]) -> None:
    """Let every walk go to its end, and find its inertia and the sizes of its clusters; one pass over the
    rows serves all of them.

    Parameters
    ----------
    rows : the rows of all folds; a walk sees those its fold learns from.
    walks : are changed in place: where they are, and at the end `inertia` and `sizes`.
    """
    going, count = list(walks), 0
    while going:
        count += 1
        runs = list(pairwise(accumulate((len(walk.centers) for walk in going), initial=0)))
        sums = rows.reduce(lambda block, going=going, runs=runs: _sums(rows, block, going, runs))  # type: ignore[misc]
        for walk, (a, b) in zip(going, runs, strict=True):
            _advance(rows, walk, sums[a:b])
        rows.view.run.tell("iteration", count, going[0].max_iter, loss=float(sums[:, -1].sum()))
        going = [walk for walk in going if not walk.done]
    found = rows.reduce(lambda block: tuple(_costs(rows, block, walks)))
    for walk, own in zip(walks, found, strict=True):
        walk.inertia, walk.sizes = float(own[0]), own[1:]


def _advance(rows: FoldedView, walk: Walk, sums: np.ndarray) -> None:
    weights, new = sums[:, -2].copy(), sums[:, :-2].copy()
    if (weights <= 0).any():
        _fill(rows, walk, new, weights)
    filled = weights > 0
    new[filled] /= weights[filled, None]
    new[~filled] = walk.centers[~filled]
    moved = float(((new - walk.centers) ** 2).sum())
    walk.centers = new
    walk.steps += 1
    walk.done = moved <= walk.slack or walk.steps == walk.max_iter


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


def _sums(
    rows: FoldedView, block: Block, walks: Sequence[Walk], runs: Sequence[tuple[int, int]]
) -> np.ndarray:
    """For each cluster of each walk: summed rows, weight, and what of the cost depends on the centers."""
    centers = [Centers.of(walk.centers, walk.origin) for walk in walks]
    apart = np.concatenate([each.apart for each in centers])
    constants = np.concatenate([each.constants for each in centers])
    weights = rows.weights(block)
    found = [
        [own.nearest(scores.part(a, b)) for own, (a, b) in zip(centers, runs, strict=True)]
        for scores in (
            Scores.of(block.X[chunk], apart, constants) for chunk in chunks(len(block), len(apart))
        )
    ]
    total, members = np.zeros((len(apart), rows.view.width + 2)), []
    for i, (walk, (a, b)) in enumerate(zip(walks, runs, strict=True)):
        labels, best = (np.concatenate(column) for column in zip(*(part[i] for part in found), strict=True))
        weight = np.ones(len(block)) if weights is None else weights[walk.fold]
        total[a:b, -1] = -np.bincount(labels, weight * best, b - a)
        total[a:b, -2] = np.bincount(labels, weight, b - a)
        members.append((labels + a, weight))
    total[:, :-2] = _summed(block.X, members, len(apart))
    return total


def _summed(X: Any, members: Sequence[tuple[np.ndarray, np.ndarray]], clusters: int) -> np.ndarray:
    """The weighted rows of each cluster, from the cluster of each row and its weight in each walk."""
    if not is_sparse(X) and clusters <= (FEW if X.shape[1] < WIDE else MANY):
        member, place = np.zeros((clusters, X.shape[0])), np.arange(X.shape[0])
        for labels, weight in members:
            member[labels, place] = weight
        return member @ X
    labels, weights = (np.stack(column, axis=1) for column in zip(*members, strict=True))
    ends = np.arange(len(labels) + 1) * labels.shape[1]
    table = sp.csr_array((weights.ravel(), labels.ravel(), ends), shape=(len(labels), clusters))
    found = table.T @ X
    return found.toarray() if is_sparse(X) else found


def _costs(rows: FoldedView, block: Block, walks: Sequence[Walk]) -> Iterator[np.ndarray]:
    """For each walk the weighted squared distances to the nearest centers, then the rows of each center."""
    for walk in walks:
        centers, total = Centers.of(walk.centers, walk.origin), np.zeros(len(walk.centers) + 1)
        for chunk in chunks(len(block), max(len(walk.centers), rows.view.width)):
            part = block.take(chunk)
            labels, weights = centers.closest(part.X), rows.weights(part)
            apart = (part.X.toarray() if is_sparse(part.X) else part.X) - walk.centers[labels]
            squares = np.einsum("ij,ij->i", apart, apart)
            weight = None if weights is None else weights[walk.fold]
            total[0] += squares.sum() if weight is None else weight @ squares
            counted = labels if weight is None else labels[weight > 0]
            total[1:] += np.bincount(counted, minlength=len(walk.centers))
        yield total
