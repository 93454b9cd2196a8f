"""Trees that see samples of the rows, chosen by their hashes: the same on any number of ranks.

XGBoost itself draws by the position of a row on its rank, so another cut of the rows would grow other trees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from scipy.special import pdtr

from outgrow._optional import optional
from outgrow.data.hashing import mix, unit
from outgrow.engine.collective import Communicator
from outgrow.ml.trees.plan import Draw

COPIES = 16
"""So many rows with the same features are drawn one by one; more of them are drawn in so many parts."""
LEAST_BUCKETS, MOST_BUCKETS = 1 << 10, 1 << 20


class RowSample:
    """What the rows of this rank weigh in the sample that a tree sees.

    Rows with the same features have one hash. Were they all drawn or left out together, a tree would lack
    whole groups of them where values are few. So each of m such rows weighs the share that is drawn of m: as
    much together as if they had been drawn one by one, and the same on any rank. How many there are of a
    row is counted in buckets of hashes, less what chance puts into a bucket.

    Parameters
    ----------
    hashes : uint64 array of shape (rows,).
    copies : how many rows like each there are over all ranks, at most `COPIES`.
    draw : how the rows of a tree are drawn.
    """

    def __init__(self, hashes: np.ndarray, copies: np.ndarray, draw: Draw) -> None:
        self._share, self._bounds = draw.share, poisson_bounds(draw.share) if draw.replacement else None
        self._hashes = hashes
        self._several = np.flatnonzero(copies > 1)
        self._groups, places, self._group = np.unique(
            hashes[self._several], return_index=True, return_inverse=True
        )
        self._copies = copies[self._several][places]
        self._starts = np.cumsum(self._copies) - self._copies
        self._repeated = np.repeat(self._groups, self._copies)
        self._copy = np.arange(len(self._repeated)) - np.repeat(self._starts, self._copies)

    @classmethod
    def of(cls, comm: Communicator, hashes: np.ndarray, rows: int, draw: Draw) -> Self:
        """The sample of this rank's part of all rows; all ranks call it.

        Parameters
        ----------
        comm : adds up over ranks how many rows are in each bucket.
        hashes : uint64 of shape (rows of this rank,).
        rows : how many there are over all ranks.
        draw : how the rows of a tree are drawn.
        """
        bits = int(np.clip(16 * rows, LEAST_BUCKETS, MOST_BUCKETS)).bit_length() - 1
        bucket = (hashes >> np.uint64(64 - bits)).astype(np.intp)
        counts = comm.allreduce(np.bincount(bucket, minlength=1 << bits).astype(np.float64))
        load = rows / len(counts)
        copies = np.floor(counts[bucket] - load - 2 * np.sqrt(load))
        return cls(hashes, np.clip(copies, 1, COPIES).astype(np.intp), draw)

    def weights(self, tree: int) -> np.ndarray:
        """What each row weighs for a tree: how often it was drawn, or the mean of rows like it; float32."""
        return self._mean(tree, lambda times: times)

    def left_out(self, tree: int) -> np.ndarray:
        """Whether a tree saw nothing of each row, or the share of rows like it that were not drawn."""
        return self._mean(tree, lambda times: times == 0)

    def _mean(self, tree: int, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        keys = mix(np.arange(tree * COPIES, (tree + 1) * COPIES, dtype=np.uint64))
        drawn = of(self._times(self._hashes ^ keys[0])).astype(np.float32)
        if len(self._several):
            times = of(self._times(self._repeated ^ keys[self._copy])).astype(np.float64)
            drawn[self._several] = (np.add.reduceat(times, self._starts) / self._copies)[self._group]
        return drawn

    def _times(self, keys: np.ndarray) -> np.ndarray:
        """How often rows are drawn, of their hashes as a seed has changed them."""
        chance = unit(mix(keys))
        if self._bounds is None:
            return (chance < self._share).astype(np.intp)
        return np.searchsorted(self._bounds, chance, side="right")


def poisson_bounds(mean: float) -> np.ndarray:
    """The shares of rows that are drawn never, at most once, at most twice, ..."""
    bounds: np.ndarray = pdtr(np.arange(int(mean + 12 * np.sqrt(mean) + 12)), mean)
    return bounds


class TreesApart:
    """XGBoost's objective of a forest: each tree lowers the squared error by itself, on its own sample.

    Parameters
    ----------
    sample : what rows weigh for each tree; None where each sees all rows.
    trees : how many there will be, of whose answers the mean is taken.
    done : how many there are already.
    targets : how many numbers a tree answers; a rank without rows has no labels that say so.
    """

    def __init__(self, sample: RowSample | None, trees: int, done: int, targets: int) -> None:
        self._sample, self._trees, self._next = sample, trees, done
        self._shape = (-1, targets) if targets > 1 else (-1,)

    def __call__(self, answers: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """The first and second derivatives for the next tree, as if there were none before it."""
        y = rows.get_label().reshape(self._shape if len(answers) else (0, *self._shape[1:]))
        weight = weights_of(rows)
        if self._sample is not None:
            weight = weight * self._sample.weights(self._next)
        self._next += 1
        hesses = np.broadcast_to(weight if y.ndim == 1 else weight[:, None], y.shape)
        return -y * hesses, np.ascontiguousarray(hesses)


def sampling(rows: Any, sample: RowSample) -> Any:
    """A callback that lets each round of boosting see its own sample of the rows.

    Parameters
    ----------
    rows : XGBoost's matrix of this rank, whose weights each round sets anew; they are put back at the end.
    sample : what the rows weigh for each tree.
    """
    weight = weights_of(rows)

    class Sampling(optional("xgboost", "trees").callback.TrainingCallback):  # type: ignore[misc]
        def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """Weigh the rows for the next tree; False lets the training go on.

            Parameters
            ----------
            model : the booster so far; its number of rounds says which tree is next.
            epoch : the round, counted from where this training went on; not used.
            evals_log : not used.
            """
            rows.set_weight(weight * sample.weights(model.num_boosted_rounds()))
            return False

        def after_training(self, model: Any) -> Any:
            rows.set_weight(weight)
            return model

    return Sampling()


def weights_of(rows: Any) -> np.ndarray:
    """What the rows of XGBoost's matrix weigh."""
    weight: np.ndarray = rows.get_weight()
    return weight if len(weight) else np.ones(rows.num_row(), dtype=np.float32)
