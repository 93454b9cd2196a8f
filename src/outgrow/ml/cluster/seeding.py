"""Where k-means begins: k-means|| over the rows, k-means++ over what it found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.hashing import unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.cluster.centers import ALIKE, Centers, squared_distances
from outgrow.ml.cluster.nearest import closest
from outgrow.stats.moments import Moments
from outgrow.stats.state import State

ROUNDS = 5
ROWS_PER_CLUSTER = 2_000
NOTHING = 1e-28
"""The share of the summed squares that is but rounding: every row then lies on a center."""


@dataclass(frozen=True, eq=False)
class FoundRows(State):
    """Rows that were chosen, of shape (found, width), and the hash of each."""

    rows: np.ndarray
    key: np.ndarray

    def merge(self, other: FoundRows) -> FoundRows:
        return FoundRows(np.concatenate([self.rows, other.rows]), np.concatenate([self.key, other.key]))

    def distinct(self) -> FoundRows:
        """Each row once, in the order of the hashes, which do not change with the last bits of the values."""
        key, places = np.unique(self.key, return_index=True)
        return FoundRows(self.rows[places], key)


@dataclass(frozen=True, eq=False)
class TopRows(State):
    """The `many` rows with the greatest scores and their weights; of equals, those with the least hashes."""

    many: int
    score: np.ndarray
    rows: np.ndarray
    key: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, many: int, score: np.ndarray, block: Block, key: np.ndarray) -> TopRows:
        """The top rows of a block.

        Parameters
        ----------
        many : how many to keep.
        score : shape (rows,), of the block's rows.
        block : the rows; without weights each weighs 1.
        key : uint64 of shape (rows,), the hashes of the rows.
        """
        order = np.lexsort((key, -score))[:many]
        weight = np.ones(len(order)) if block.weight is None else block.weight[order]
        return cls(many, score[order], _dense(block.X[order]), key[order], weight)

    def merge(self, other: TopRows) -> TopRows:
        fields = ("score", "rows", "key", "weight")
        score, rows, key, weight = (np.concatenate([getattr(self, f), getattr(other, f)]) for f in fields)
        order = np.lexsort((key, -score))[: self.many]
        return TopRows(self.many, score[order], rows[order], key[order], weight[order])


def scalable_start(view: MatrixView, clusters: int, moments: Moments, seed: int) -> np.ndarray:
    """Centers by k-means|| (Bahmani et al. 2012): in each of 5 rounds every row is taken with a chance in
    proportion to its squared distance, about 2 k rows a round; k-means++ then chooses among them.

    With many rows per cluster, a hashed share of them takes part. The chance of a row comes from its hash.

    Parameters
    ----------
    view : the rows; all ranks call this, and get the same.
    clusters : how many centers.
    moments : of the columns: their mean is the origin, their squares say which distances are but rounding.
    seed : another one starts elsewhere.

    Returns
    -------
    Shape (clusters, width).
    """
    origin = moments.mean
    part = view.sampled(ROWS_PER_CLUSTER * clusters / max(1, view.rows), seed)
    part = part if part.rows >= 10 * clusters else view
    first = part.reduce(lambda block: _least_hashes(block, 1, seed))
    found = FoundRows(first.rows, first.key)
    nothing = NOTHING * float(moments.m2.sum())
    for turn in range(ROUNDS):
        total = _total(part, found.rows, origin)
        if total <= nothing:
            break
        take = partial(
            _take, centers=found.rows, origin=origin, factor=2 * clusters / total, seed=seed, turn=turn
        )
        found = found.merge(part.reduce(take)).distinct()
    weights = part.reduce(lambda block: _shares(block, found.rows, origin))
    return _plus_plus(found.rows, weights, clusters, np.random.default_rng(seed))


def sampled_rows(view: MatrixView, clusters: int, seed: int) -> np.ndarray:
    """About 2,000 rows for each cluster, or all, in the order of their hashes.

    Parameters
    ----------
    view : the rows; all ranks get the same.
    clusters : how many there will be.
    seed : another one gives other hashes.

    Returns
    -------
    Dense, of shape (found, width).
    """
    part = view.sampled(ROWS_PER_CLUSTER * clusters / max(1, view.rows), seed)
    found = part.reduce(lambda block: FoundRows(_dense(block.X), block.hashes(seed)))
    rows: np.ndarray = found.rows[np.argsort(found.key, kind="stable")]
    return rows


def first_rows(view: MatrixView, clusters: int, seed: int) -> np.ndarray:
    """The rows of the least hashes, of those that weigh something, as centers.

    Parameters
    ----------
    view : the rows; all ranks get the same.
    clusters : how many centers; where there are fewer rows, they come again.
    seed : another one gives other hashes.

    Returns
    -------
    Shape (clusters, width).
    """
    rows = view.reduce(lambda block: _least_hashes(block, clusters, seed)).rows
    return np.resize(rows, (clusters, view.width))


def farthest_rows(view: MatrixView, centers: np.ndarray, origin: np.ndarray, many: int) -> TopRows:
    """The rows farthest from their centers, those left out that weigh nothing or lie on theirs.

    Parameters
    ----------
    view : the rows; all ranks get the same.
    centers : shape (clusters, width).
    origin : shape (width,), near the rows.
    many : so many rows, or fewer.
    """

    def fold(block: Block) -> TopRows:
        # as float32, rows that are as far but for rounding are equal
        squares = _distances(block.X, centers, origin).astype(np.float32)
        weighs = squares if block.weight is None else np.where(block.weight > 0, squares, 0.0)
        return TopRows.of(many, weighs, block, block.hashes(0))

    top: TopRows = view.reduce(fold)
    far = top.score > 0
    return TopRows(many, top.score[far], top.rows[far], top.key[far], top.weight[far])


def _least_hashes(block: Block, many: int, seed: int) -> TopRows:
    """The rows with the least hashes: the same first centers on any partitioning."""
    key = block.hashes(seed)
    weighs = np.ones(len(block)) if block.weight is None else (block.weight > 0).astype(np.float64)
    return TopRows.of(many, weighs, block, key)


def _total(view: MatrixView, centers: np.ndarray, origin: np.ndarray) -> float:
    """The weighted squared distances of all rows from their centers."""
    return float(
        view.reduce(lambda block: np.array([_weighted(block, _distances(block.X, centers, origin))]))[0]
    )


def _take(
    block: Block, centers: np.ndarray, origin: np.ndarray, factor: float, seed: int, turn: int
) -> FoundRows:
    chance = factor * _distances(block.X, centers, origin)
    if block.weight is not None:
        chance = chance * block.weight
    taken = unit(block.hashes(seed + turn + 1)) < chance
    return FoundRows(_dense(block.X[taken]), block.hashes(seed)[taken])


def _shares(block: Block, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    nearest = closest(Centers.of(centers, origin), block.X)
    return np.bincount(nearest, block.weight, len(centers)).astype(np.float64)


def _plus_plus(rows: np.ndarray, weights: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Weighted greedy k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps among the candidates."""
    if len(rows) <= clusters:
        return np.concatenate([rows, rows[rng.integers(0, len(rows), clusters - len(rows))]])
    centers = [rows[rng.choice(len(rows), p=weights / weights.sum())]]
    nearest = ((rows - centers[0]) ** 2).sum(axis=1)
    trials = 2 + int(np.log(clusters))
    while len(centers) < clusters:
        chance = nearest * weights
        if chance.sum() <= 0:
            chance = np.where(nearest > 0, 1.0, 1e-12)
        tried = rng.choice(len(rows), size=trials, p=chance / chance.sum())
        candidates = np.minimum(nearest, ((rows[tried, None, :] - rows) ** 2).sum(axis=2))
        costs = candidates @ weights
        best = int(np.argmax(costs <= costs.min() * (1 + ALIKE)))
        nearest = candidates[best]
        centers.append(rows[tried[best]])
    return _settle(rows, weights, np.array(centers))


def _settle(rows: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> np.ndarray:
    origin = rows.mean(axis=0)
    for _ in range(20):
        labels = closest(Centers.of(centers, origin), rows)
        totals = np.bincount(labels, weights, len(centers))
        sums = np.stack([np.bincount(labels, weights * column, len(centers)) for column in rows.T], axis=1)
        centers = np.where(totals[:, None] > 0, sums / np.where(totals > 0, totals, 1)[:, None], centers)
    return centers


def _distances(X: Any, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Squared distance of each row to its nearest center."""
    return squared_distances(X, centers, closest(Centers.of(centers, origin), X))


def _weighted(block: Block, values: np.ndarray) -> float:
    return float(values.sum() if block.weight is None else block.weight @ values)


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if is_sparse(X) else np.asarray(X)
