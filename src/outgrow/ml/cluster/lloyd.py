"""Lloyd's algorithm from many starts at once: the distances to all their centers are one product a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from outgrow.data.batch import is_sparse
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import Block
from outgrow.ml.cluster.nearest import Centers, products
from outgrow.ml.cluster.seeding import farthest_rows

CHUNK = 1 << 18
"""Distances that are worked on at once: they stay in a core's cache."""


@dataclass(eq=False)
class Walk:
    """One run of the algorithm, over the rows of a fold.

    Attributes
    ----------
    origin : near the rows; centers are taken relative to it.
    slack : it ends when the centers move, in summed squares, by no more than this.
    """

    fold: int
    centers: np.ndarray
    origin: np.ndarray
    slack: float
    max_iter: int
    steps: int = 0
    done: bool = False
    inertia: float = np.inf


def lloyd(rows: FoldedView, walks: Sequence[Walk]) -> None:
    """Let every walk go to its end, and find its inertia; one pass over the rows serves all of them."""
    going, count = list(walks), 0
    while going:
        count += 1
        runs = list(pairwise(accumulate((len(walk.centers) for walk in going), initial=0)))
        sums = rows.reduce(lambda block, going=going, runs=runs: _sums(rows, block, going, runs))  # type: ignore[misc]
        for walk, (a, b) in zip(going, runs, strict=True):
            _advance(rows, walk, sums[a:b])
        rows.view.run.tell("iteration", count, going[0].max_iter, loss=float(sums[:, -1].sum()))
        going = [walk for walk in going if not walk.done]
    inertias = rows.reduce(lambda block: _costs(rows, block, walks))
    for walk, inertia in zip(walks, inertias.tolist(), strict=True):
        walk.inertia = inertia


def _advance(rows: FoldedView, walk: Walk, sums: np.ndarray) -> None:
    weights, new = sums[:, -2], sums[:, :-2].copy()
    filled = weights > 0
    new[filled] /= weights[filled, None]
    if not filled.all():
        new[~filled] = farthest_rows(rows.fold(walk.fold), walk.centers, walk.origin, int((~filled).sum()))
    moved = float(((new - walk.centers) ** 2).sum())
    walk.centers = new
    walk.steps += 1
    walk.done = moved <= walk.slack or walk.steps == walk.max_iter


def _sums(
    rows: FoldedView, block: Block, walks: Sequence[Walk], runs: Sequence[tuple[int, int]]
) -> np.ndarray:
    """For each cluster of each walk: summed rows, weight, and what of the cost depends on the centers."""
    centers = [Centers.of(walk.centers, walk.origin) for walk in walks]
    apart = np.concatenate([each.apart for each in centers])
    constants = np.concatenate([each.constants for each in centers])
    total = np.zeros((len(apart), rows.view.width + 2))
    step = max(256, CHUNK // len(apart))
    for start in range(0, len(block), step):
        part = block.take(slice(start, start + step))
        member, weights = products(part.X, apart, constants), rows.weights(part)
        for walk, own, (a, b) in zip(walks, centers, runs, strict=True):
            weight = None if weights is None else weights[walk.fold]
            total[a:b, -1] -= _assign(own, member[a:b], weight)
        X = part.X
        total[:, :-2] += np.asarray((X.T @ member.T).T) if is_sparse(X) else member @ X
        total[:, -2] += member.sum(axis=1)
    return total


def _assign(centers: Centers, scores: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Turn the scores of the clusters of one walk into each row's membership; the weighted best scores."""
    best = scores.max(axis=0)
    nearest = centers.ties(scores, best)
    if np.count_nonzero(nearest) != len(best):
        first = nearest.argmax(axis=0)
        nearest[:] = False
        nearest[first, np.arange(len(best))] = True
    scores[:] = nearest
    if weight is not None:
        scores *= weight
    return scores @ best


def _costs(rows: FoldedView, block: Block, walks: Sequence[Walk]) -> np.ndarray:
    """The weighted squared distances of the rows to the nearest centers of each walk."""
    X, weights = block.X.toarray() if is_sparse(block.X) else block.X, rows.weights(block)
    found = np.empty(len(walks))
    for i, walk in enumerate(walks):
        labels = Centers.of(walk.centers, walk.origin).closest(block.X)
        squares = ((X - walk.centers[labels]) ** 2).sum(axis=1)
        found[i] = squares.sum() if weights is None else weights[walk.fold] @ squares
    return found
