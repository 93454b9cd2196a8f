"""Where k-means begins: k-means|| over the rows, k-means++ over what it found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.batch import is_sparse
from outgrow.data.hashing import matrix_row_hash, unit
from outgrow.engine.matrix import Block, MatrixView
from outgrow.stats.state import State

ROUNDS = 5
ROWS_PER_CLUSTER = 2_000


@dataclass(frozen=True, eq=False)
class FoundRows(State):
    """Rows that were chosen, of shape (found, width)."""

    rows: np.ndarray

    def merge(self, other: FoundRows) -> FoundRows:
        return FoundRows(np.concatenate([self.rows, other.rows]))


@dataclass(frozen=True, eq=False)
class TopRows(State):
    """The `many` rows with the greatest scores."""

    many: int
    score: np.ndarray
    rows: np.ndarray

    def merge(self, other: TopRows) -> TopRows:
        score, rows = np.concatenate([self.score, other.score]), np.concatenate([self.rows, other.rows])
        order = np.lexsort((*rows.T[::-1], -score))[: self.many]
        return TopRows(self.many, score[order], rows[order])


def scalable_start(view: MatrixView, clusters: int, origin: np.ndarray, seed: int) -> np.ndarray:
    """Centers by k-means|| (Bahmani et al. 2012): in each of 5 rounds every row is taken with a chance in
    proportion to its squared distance, about 2 k rows a round; k-means++ then chooses among them.

    With many rows per cluster, a hashed share of them takes part. The chance of a row comes from its hash.
    """
    part = view.sampled(ROWS_PER_CLUSTER * clusters / max(1, view.rows), seed)
    part = part if part.rows >= 10 * clusters else view
    found = part.reduce(lambda block: _least_hash(block, seed)).rows
    for turn in range(ROUNDS):
        total = _total(part, found, origin)
        if total <= 0:
            break
        take = partial(_take, centers=found, origin=origin, factor=2 * clusters / total, seed=seed + turn + 1)
        found = np.concatenate([found, part.reduce(take).rows])
    found = np.unique(found, axis=0)
    weights = part.reduce(lambda block: _shares(block, found, origin))
    return _plus_plus(found, weights, clusters, np.random.default_rng(seed))


def farthest_rows(view: MatrixView, centers: np.ndarray, origin: np.ndarray, many: int) -> np.ndarray:
    """The rows farthest from their centers: new places for centers without rows."""

    def fold(block: Block) -> TopRows:
        squares = _distances(block.X, centers, origin)
        order = np.argsort(-squares)[:many]
        return TopRows(many, squares[order], _dense(block.X[order]))

    rows = view.reduce(fold).rows
    return rows if len(rows) == many else np.resize(rows, (many, rows.shape[1]))


def _least_hash(block: Block, seed: int) -> TopRows:
    """The row with the least hash: the same first center on any partitioning."""
    score = -unit(matrix_row_hash(block.X, seed + 101))
    if block.weight is not None:
        score = np.where(block.weight > 0, score, -2.0)
    place = int(np.argmax(score)) if len(block) else 0
    return TopRows(1, score[place : place + 1], _dense(block.X[place : place + 1]))


def _total(view: MatrixView, centers: np.ndarray, origin: np.ndarray) -> float:
    """The weighted squared distances of all rows from their centers."""
    return float(
        view.reduce(lambda block: np.array([_weighted(block, _distances(block.X, centers, origin))]))[0]
    )


def _take(block: Block, centers: np.ndarray, origin: np.ndarray, factor: float, seed: int) -> FoundRows:
    chance = factor * _distances(block.X, centers, origin)
    if block.weight is not None:
        chance = chance * block.weight
    return FoundRows(_dense(block.X[unit(matrix_row_hash(block.X, seed)) < chance]))


def _shares(block: Block, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    nearest = np.argmax(_affinity(block.X, centers, origin), axis=1)
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
        best = int(np.argmin(candidates @ weights))
        nearest = candidates[best]
        centers.append(rows[tried[best]])
    return _settle(rows, weights, np.array(centers))


def _settle(rows: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> np.ndarray:
    origin = rows.mean(axis=0)
    for _ in range(20):
        labels = np.argmax(_affinity(rows, centers, origin), axis=1)
        totals = np.bincount(labels, weights, len(centers))
        sums = np.stack([np.bincount(labels, weights * column, len(centers)) for column in rows.T], axis=1)
        centers = np.where(totals[:, None] > 0, sums / np.where(totals > 0, totals, 1)[:, None], centers)
    return centers


def _affinity(X: Any, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Greater for nearer centers, of shape (rows, centers)."""
    apart = centers - origin
    return np.asarray(X @ apart.T) - (apart @ origin + 0.5 * (apart**2).sum(axis=1))


def _distances(X: Any, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Squared distance of each row to its nearest center."""
    nearest = centers[np.argmax(_affinity(X, centers, origin), axis=1)]
    return ((_dense(X) - nearest) ** 2).sum(axis=1)


def _weighted(block: Block, values: np.ndarray) -> float:
    return float(values.sum() if block.weight is None else block.weight @ values)


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if is_sparse(X) else np.asarray(X)
