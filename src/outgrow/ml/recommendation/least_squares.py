"""The least squares of ALS: all ratings in one place, or each rank those of some users and of some items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.engine.context import FitContext
from outgrow.engine.memory import Store
from outgrow.engine.shard import Shard
from outgrow.ml.recommendation.half_step import HalfStep, How, Penalty, Side
from outgrow.ml.recommendation.ratings import KnownKeys, Ratings

_PAIRS = 1 << 16
"""Pairs whose factors are multiplied at once."""
_PLACED_BYTES = 24
"""What a rating takes on its way: two numbers of keys, its value and its weight."""


def products(users: np.ndarray, items: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The products of the factors of pairs, of shape (pairs,).

    Parameters
    ----------
    users, items : factors of shape (users, k) and (items, k).
    pairs : the number of the user, and of the item, of each.
    """
    made = np.empty(len(pairs[0]))
    for start in range(0, len(made), _PAIRS):
        part = slice(start, start + _PAIRS)
        made[part] = np.einsum("nk,nk->n", users[pairs[0][part]], items[pairs[1][part]])
    return made


@dataclass(frozen=True)
class Feedback:
    """What a rating says.

    Attributes
    ----------
    implicit : it counts what a user did, and all other pairs count as not liked.
    confidence : how much a count of 1 adds to the confidence that the item is liked.
    """

    implicit: bool
    confidence: float

    def terms(self, strengths: Any, counts: Any) -> tuple[Any, Any, Any]:
        """What pairs count: in the normal equations v v' and v, and in the penalty.

        Parameters
        ----------
        strengths : CSR array of ratings times weights.
        counts : of the weights, with the same entries.
        """
        if not self.implicit:
            return counts, strengths, counts
        sure = self.confidence * np.abs(strengths.data)
        liked = strengths.data > 0
        return (
            _like(strengths, sure),
            _like(strengths, (1 + sure) * liked),
            _like(strengths, liked.astype(np.float64)),
        )

    def loss(self, quadratic: Any, linear: Any, users: np.ndarray, items: np.ndarray) -> float:
        """The weighted squared errors of the pairs of CSR arrays; of implicit ones beyond those of no rating.

        Parameters
        ----------
        quadratic, linear : as `terms` gives them.
        users : factors of shape (rows, k).
        items : of shape (columns, k).
        """
        rows = np.repeat(np.arange(quadratic.shape[0]), np.diff(quadratic.indptr))
        predicted = products(users, items, (rows, quadratic.indices))
        if self.implicit:
            liked = (linear.data > 0).astype(np.float64)
            return float(((1 + quadratic.data) * (liked - predicted) ** 2 - predicted**2).sum())
        return float(quadratic.data @ (linear.data / quadratic.data - predicted) ** 2)


class LeastSquares(Protocol):
    """The ratings, as alternating steps need them.

    Attributes
    ----------
    mean : the weighted mean of the ratings.
    users, items : the half-steps of either.
    """

    mean: float

    @property
    def users(self) -> Solvable: ...

    @property
    def items(self) -> Solvable: ...

    def loss(self, run: FitContext, users: np.ndarray, items: np.ndarray) -> float:
        """The squared errors without the penalty; of implicit ratings without those of pairs without one.

        Parameters
        ----------
        run : the fit.
        users, items : their factors.
        """


class Solvable(Protocol):
    """The ratings by user, or by item; `counts` has how many ratings the penalty of each counts."""

    counts: np.ndarray

    def solved(
        self, run: FitContext, fixed: np.ndarray, before: np.ndarray, penalty: Penalty, how: How
    ) -> np.ndarray:
        """See `Side.solved`.

        Parameters
        ----------
        run, fixed, before, penalty, how : as there.
        """


class HeldSquares:
    """All ratings, on every rank.

    Parameters
    ----------
    ratings : all of them.
    feedback : what they say.
    """

    def __init__(self, ratings: Ratings, feedback: Feedback) -> None:
        self.mean = float(ratings.values @ ratings.weights / ratings.weights.sum())
        self._ratings, self._feedback = ratings, feedback
        quadratic, linear, counts = feedback.terms(
            ratings.matrix(ratings.values * ratings.weights), ratings.matrix(ratings.weights)
        )
        self._terms = quadratic, linear
        self.users = Side(quadratic, linear, np.asarray(counts.sum(axis=1)).ravel())
        self.items = Side(quadratic.T.tocsr(), linear.T.tocsr(), np.asarray(counts.sum(axis=0)).ravel())

    def loss(self, run: FitContext, users: np.ndarray, items: np.ndarray) -> float:
        """See `LeastSquares`.

        Parameters
        ----------
        run : the fit.
        users, items : their factors.
        """
        if self._feedback.implicit:
            return self._feedback.loss(*self._terms, users, items)
        ratings = self._ratings
        return float(ratings.weights @ (ratings.values - products(users, items, ratings.places)) ** 2)


class PlacedSquares:
    """Ratings placed by their users, and once more by their items; all ranks make it together.

    Parameters
    ----------
    shard : the rows.
    known : their users and items.
    feedback : what they say.
    """

    def __init__(self, shard: Shard, known: KnownKeys, feedback: Feedback) -> None:
        names = ("user", "item", "value", "weight")

        def coded(batch: Batch) -> Batch:
            columns = known.coded(batch)
            return Batch(dict(zip(names, map(pa.array, columns), strict=True)), len(columns[0]))

        self._feedback = feedback
        rows, nbytes = shard.transformed(coded), float(_PLACED_BYTES * known.rows)
        sizes = len(known.keys[0]), len(known.keys[1])
        by_user = rows.exchange(["user"], nbytes=nbytes)
        sums = by_user.reduce(_sums)
        self.mean = float(sums[0] / sums[1])
        self._within = 0.0 if feedback.implicit else float(by_user.reduce(_within)[0])
        self.users = PlacedSide(by_user, ("user", "item"), sizes, feedback)
        by_item = rows.exchange(["item"], nbytes=nbytes, last=True)
        self.items = PlacedSide(by_item, ("item", "user"), sizes[::-1], feedback)

    def loss(self, run: FitContext, users: np.ndarray, items: np.ndarray) -> float:
        """See `LeastSquares`.

        Parameters
        ----------
        run : the fit; each rank adds its users.
        users, items : their factors.
        """
        own = sum(
            self._feedback.loss(block.quadratic, block.linear, users[block.rows], items)
            for block in self.users.blocks()
        )
        return self._within + float(run.call(lambda: run.combine(np.array([float(own)])))[0])


@dataclass(frozen=True, eq=False)
class RatingBlock:
    """All ratings of some users, or of some items.

    Attributes
    ----------
    rows : the numbers of those, ascending.
    quadratic, linear : CSR arrays of shape (rows, others), as `Feedback.terms` gives them.
    """

    rows: np.ndarray
    quadratic: Any
    linear: Any

    @property
    def nbytes(self) -> int:
        """What the arrays take."""
        entries = self.quadratic
        return int(
            self.rows.nbytes + entries.indptr.nbytes + entries.indices.nbytes + 2 * entries.data.nbytes
        )


class PlacedSide:
    """The half-steps of users or items whose ratings lie in blocks, past the memory budget in a file.

    Parameters
    ----------
    placed : the ratings of this rank; they are let go.
    names : the column by which they are placed, and that of the others.
    sizes : how many there are of each, over all ranks.
    feedback : what ratings say.
    """

    def __init__(
        self, placed: Shard, names: tuple[str, str], sizes: tuple[int, int], feedback: Feedback
    ) -> None:
        run = placed.run
        self._store: Store[RatingBlock] = Store(run.memory)
        own = np.zeros(sizes[0])

        def built(unit: Any) -> list[Any]:
            held = []
            for batch in unit():
                rows, at = np.unique(np.asarray(batch[names[0]]), return_inverse=True)
                places, shape = (at, np.asarray(batch[names[1]])), (len(rows), sizes[1])
                weights = np.asarray(batch["weight"])
                strengths = _csr(np.asarray(batch["value"]) * weights, places, shape)
                quadratic, linear, counts = feedback.terms(strengths, _csr(weights, places, shape))
                own[rows] = np.asarray(counts.sum(axis=1)).ravel()
                block = RatingBlock(rows, quadratic, linear)
                held.append(self._store.hold(block, block.nbytes))
            return held

        self._store.extend(run.map(built, placed.rows.last_units()))
        entries = np.array([float(sum(block.quadratic.nnz for block in self.blocks()))])
        self.counts, total = run.call(lambda: run.combine((own, entries)))
        self._entries = int(total[0])

    def blocks(self) -> Any:
        """The blocks of this rank, one after the other."""
        return (self._store.get(number) for number in range(len(self._store)))

    def solved(
        self, run: FitContext, fixed: np.ndarray, before: np.ndarray, penalty: Penalty, how: How
    ) -> np.ndarray:
        """See `Side.solved`.

        Parameters
        ----------
        run : the fit; each rank solves its own blocks.
        fixed, before, penalty, how : as there.
        """
        made, weights = np.zeros_like(before), penalty.of(self.counts)
        half = HalfStep(fixed, how, weights, self._entries)

        def solve(number: int) -> None:
            block = self._store.get(number)
            part = np.zeros((len(block.rows), before.shape[1]))
            side = Side(block.quadratic, block.linear, self.counts[block.rows])
            units, function = side.work(half, before[block.rows], part, weights[block.rows])
            for unit in units:
                function(unit)
            made[block.rows] = part

        for _ in run.map(solve, range(len(self._store))):
            pass
        return run.call(lambda: run.combine(made)) if run.comm.size > 1 else made


def _csr(values: np.ndarray, places: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> Any:
    made = sp.csr_array((values, places), shape=shape)
    made.sum_duplicates()
    made.indices, made.indptr = made.indices.astype(np.int32), made.indptr.astype(np.int32)
    return made


def _like(matrix: Any, values: np.ndarray) -> Any:
    """A CSR array with the entries of another and other values."""
    return type(matrix)((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _sums(batch: Batch) -> np.ndarray:
    """The ratings times their weights, and the weights, summed."""
    weights = np.asarray(batch["weight"])
    return np.array([float(np.asarray(batch["value"]) @ weights), float(weights.sum())])


def _within(batch: Batch) -> np.ndarray:
    """The squared errors that remain where ratings of one pair differ: no factors change them."""
    users, items = np.asarray(batch["user"]).astype(np.int64), np.asarray(batch["item"])
    _, pairs = np.unique(users << 32 | items, return_inverse=True)
    weights, values = np.asarray(batch["weight"]), np.asarray(batch["value"])
    means = np.bincount(pairs, weights * values) / np.bincount(pairs, weights)
    return np.array([float(weights @ (values - means[pairs]) ** 2)])
