"""Where k-means begins: k-means|| over the rows, k-means++ over what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.hashing import unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.row_arrays import RowArrays, give_back, room_for
from outgrow.ml.cluster.centers import ALIKE, Centers, squared_distances
from outgrow.ml.cluster.nearest import closest
from outgrow.stats.moments import Moments
from outgrow.stats.state import State

ROUNDS = 5
ROWS_PER_CLUSTER = 2_000
_FEW = 1 << 16
"""Numbers in rows that are gathered, and all candidates: passes would take longer."""
_SEEN_BYTES = 4 + 2 * 8
"""For each row: which center is nearest, how far it is, and a hash."""
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


class NearestFound:
    """The rows that were found to be centers, and which is nearest to each row.

    What was learned of a row is remembered where there is memory, so that it is compared with new ones alone.
    """

    def __init__(self, view: MatrixView, origin: np.ndarray, first: FoundRows) -> None:
        self._view = view
        self._origin = origin
        self._arrays = RowArrays() if room_for(view, _SEEN_BYTES) else None
        self.rows, self.key = first.rows, first.key

    def add(self, found: FoundRows) -> None:
        """Take in more rows, but those that are there."""
        new = ~np.isin(found.key, self.key)
        self.rows = np.concatenate([self.rows, found.rows[new]])
        self.key = np.concatenate([self.key, found.key[new]])

    def forget(self) -> None:
        """Give the memory back."""
        if self._arrays is not None:
            give_back(self._view, _SEEN_BYTES)

    def cost(self, block: Block) -> np.ndarray:
        """The weighted squared distances of rows from the nearest."""
        squares = self._seen(block)[1]
        return np.array([squares.sum() if block.weight is None else block.weight @ squares])

    def taken(self, block: Block, factor: float, seed: int, turn: int) -> FoundRows:
        """Rows, each taken with a chance in proportion to its squared distance.

        Parameters
        ----------
        block : among which to choose.
        factor : by which the weighted squared distance is multiplied to get the chance.
        seed : another one takes others.
        turn : so does another turn.
        """
        _, squares, source = self._seen(block)
        block = replace(block, source=source)
        chance = factor * (squares if block.weight is None else squares * block.weight)
        chosen = block.take(unit(block.hashes(seed + turn + 1)) < chance)
        return FoundRows(_dense(chosen.X), chosen.hashes(seed))

    def shares(self, block: Block) -> np.ndarray:
        """What the rows weigh that are nearest to each."""
        return np.bincount(self._seen(block)[0], block.weight, len(self.rows)).astype(np.float64)

    def _seen(self, block: Block) -> Sequence[np.ndarray]:
        """Of each row which is nearest, how far it is, squared, and the hash of the row."""
        kept = None if self._arrays is None else self._arrays.get(block)
        if kept is None:
            kept = (*self._nearest(block, 0), block.source_hashes(), np.array(len(self.rows)))
        elif kept[3] < len(self.rows):
            labels, squares = self._nearest(block, int(kept[3]))
            closer = squares < kept[1] * (1 - ALIKE)
            labels, squares = np.where(closer, labels, kept[0]), np.where(closer, squares, kept[1])
            kept = labels, squares, kept[2], np.array(len(self.rows))
        if self._arrays is not None:
            self._arrays.put(block, *kept)
        return kept[:3]

    def _nearest(self, block: Block, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of the found from some `first` on is nearest to each row, and how far it is, squared."""
        centers = self.rows[first:]
        labels = closest(Centers.of(centers, self._origin), block.X)
        return labels + first, squared_distances(block.X, centers, labels)


def scalable_start(view: MatrixView, clusters: int, moments: Moments, seed: int) -> np.ndarray:
    """Centers by k-means|| (Bahmani et al. 2012): in each of 5 rounds every row is taken with a chance in
    proportion to its squared distance, about 2 k rows a round; k-means++ then chooses among them.

    With many rows per cluster, a hashed share of them takes part. The chance of a row comes from its hash. Of
    few rows all are candidates.

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
    random, origin = np.random.default_rng(seed), moments.mean
    if view.rows * view.width <= _FEW:
        all_rows = view.reduce(lambda block: _least_hashes(block, view.rows, seed))
        return first_of(all_rows.rows, all_rows.weight, clusters, random)
    part = view.sampled(ROWS_PER_CLUSTER * clusters / max(1, view.rows), seed)
    part = part if part.rows >= 10 * clusters else view
    first = part.reduce(lambda block: _least_hashes(block, 1, seed))
    nearest = NearestFound(part, origin, FoundRows(first.rows, first.key))
    nothing = NOTHING * float(moments.m2.sum())
    for turn in range(ROUNDS):
        total = float(part.reduce(nearest.cost)[0])
        if total <= nothing:
            break
        factor = 2 * clusters / total
        take = partial(nearest.taken, factor=factor, seed=seed, turn=turn)
        nearest.add(part.reduce(take).distinct())
    weights = part.reduce(nearest.shares)
    nearest.forget()
    order = np.argsort(nearest.key)
    return plus_plus(nearest.rows[order], weights[order], clusters, random)


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


def plus_plus(rows: np.ndarray, weights: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Weighted greedy k-means++, then Lloyd's steps among the candidates.

    Parameters
    ----------
    rows, weights, clusters, rng : as for `first_of`.
    """
    centers = first_of(rows, weights, clusters, rng)
    return centers if len(rows) <= clusters else _settle(rows, weights, centers)


def first_of(rows: np.ndarray, weights: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Weighted greedy k-means++ (Arthur and Vassilvitskii 2007).

    Parameters
    ----------
    rows, weights : the candidates, of shape (rows, width), and what they weigh.
    clusters : how many centers.
    rng : decides which.
    """
    if len(rows) <= clusters:
        return np.concatenate([rows, rows[rng.integers(0, len(rows), clusters - len(rows))]])
    rows = np.ascontiguousarray(rows)
    centers = [rows[rng.choice(len(rows), p=weights / weights.sum())]]
    nearest = ((rows - centers[0]) ** 2).sum(axis=1)
    trials = 2 + int(np.log(clusters))
    while len(centers) < clusters:
        chance = nearest * weights
        if chance.sum() <= 0:
            chance = np.where(nearest > 0, 1.0, 1e-12)
        tried = rng.choice(len(rows), size=trials, p=chance / chance.sum())
        apart = rows[tried, None, :] - rows
        candidates = np.minimum(nearest, np.einsum("tij,tij->ti", apart, apart))
        costs = candidates @ weights
        best = int(np.argmax(costs <= costs.min() * (1 + ALIKE)))
        nearest = candidates[best]
        centers.append(rows[tried[best]])
    return np.array(centers)


def _settle(rows: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> np.ndarray:
    origin, labels = rows.mean(axis=0), np.full(len(rows), -1)
    for _ in range(20):
        before, labels = labels, closest(Centers.of(centers, origin), rows)
        if (labels == before).all():
            break
        totals = np.bincount(labels, weights, len(centers))
        sums = np.stack([np.bincount(labels, weights * column, len(centers)) for column in rows.T], axis=1)
        centers = np.where(totals[:, None] > 0, sums / np.where(totals > 0, totals, 1)[:, None], centers)
    return centers


def _distances(X: Any, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Squared distance of each row to its nearest center."""
    return squared_distances(X, centers, closest(Centers.of(centers, origin), X))


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if is_sparse(X) else np.asarray(X)
