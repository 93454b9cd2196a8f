"""Which rows of a fit tell what a row of it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError
from outgrow.ml.core.task import Task
from outgrow.ml.preprocessing.target_statistics import Sums


@dataclass(frozen=True, eq=False)
class Dealing:
    """Rows at places, and which places tell of which.

    Attributes
    ----------
    place : gives the place of each row of a batch.
    tells : boolean of shape (places, places): row p says which places tell what the rows at p become. Where
        none does, as in the first window of `TimeFolds`, rows become the mean of y at their own place.
    """

    place: Callable[[Batch], np.ndarray]
    tells: np.ndarray

    @property
    def places(self) -> int:
        return len(self.tells)

    def check(self, rows: np.ndarray, owner: Any) -> None:
        """Refuse places of which no row tells.

        Parameters
        ----------
        rows : how many rows are at each place, of shape (places,).
        owner : the encoder, for the message.
        """
        told = self.tells.any(axis=1) & (rows > 0)
        if (told & (self.tells @ rows == 0)).any():
            raise DataError(
                f"TargetEncoder(cv={owner.cv!r}): the {int(rows.sum())} row(s) of the fit fall into one "
                "fold: no others tell what they become. Fit on more rows, or deal them otherwise."
            )

    def encodings(self, sums: Sums, smooth: float | str, shift: float) -> np.ndarray:
        """What the categories of a column become at each place, of shape (places, categories + 1, targets).

        Parameters
        ----------
        sums : of the column, place by place.
        smooth, shift : as for `Sums.encodings`.
        """
        return np.stack([self._at(p, sums, smooth, shift) for p in range(self.places)])

    def _at(self, place: int, sums: Sums, smooth: float | str, shift: float) -> np.ndarray:
        if self.tells[place].any():
            return sums.of(self.tells[place]).encodings(smooth, shift)[0]
        made, mean = sums.of(np.arange(self.places) == place).encodings(smooth, shift)
        return np.broadcast_to(mean, made.shape)


def dealing(cv: Any, number: int, shard: Shard, task: Task) -> Dealing:
    """How the rows of a fit are dealt.

    Parameters
    ----------
    cv : how many folds by hash, or folds such as `og.GroupKFold`.
    number : the seed of the hash.
    shard, task : the rows, and what the fit is about; there is one place where no row is told apart.

    Raises
    ------
    ParameterError
        When folds hold out rows once only.
    """
    if task.row is None:
        return Dealing(lambda batch: np.zeros(batch.num_rows, dtype=np.int64), np.ones((1, 1), dtype=bool))
    if not hasattr(cv, "placing"):
        return Dealing(partial(_by_hash, name=task.row, seed=number, folds=cv), ~np.eye(cv, dtype=bool))
    cv.check()
    if cv.count < 2:
        raise ParameterError(
            f"TargetEncoder(cv={cv!r}): rows are held out once only, and the others would be told "
            "their own y. Give at least 2 folds."
        )
    trained = np.stack([cv.train_places(k) for k in range(cv.count)])
    tells = np.zeros((trained.shape[1],) * 2, dtype=bool)
    for k, train in enumerate(trained):
        tells[cv.test_places(k)] = train
    _check_columns(cv, shard.example, task)
    given = cv.placing(shard, task.target)
    return Dealing(lambda batch: given(batch).astype(np.int64), tells)


def _check_columns(cv: Any, example: Batch, task: Task) -> None:
    """Refuse folds by columns that do not reach the encoder."""
    named = (*getattr(cv, "columns", ()), *([cv.column] if hasattr(cv, "column") else []))
    absent = [name for name in named if name not in example.columns]
    if absent:
        there = [name for name in example.columns if name not in (task.row, task.weight)]
        raise ColumnNotFoundError(
            f"TargetEncoder(cv={cv!r}): no column {', '.join(map(repr, absent))} reaches the encoder; there "
            f"are {there}. Keep it in the steps before, in cross-validation by feature=True of its folds."
        )


def _by_hash(batch: Batch, name: str, seed: int, folds: int) -> np.ndarray:
    return (seeded(np.asarray(batch[name]), seed) % np.uint64(folds)).astype(np.int64)
