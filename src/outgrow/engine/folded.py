"""One matrix and several choices of its rows: what fits on different folds share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import compress
from typing import Any, TypeVar

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.stats.state import State, merge

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class FoldedView:
    """The resident blocks of a matrix, ordered by place, and for each fold the rows it learns from.

    Attributes
    ----------
    view : all rows.
    train : ndarray of shape (places, folds), whether a fold learns from the rows at a place; None where there
        is one fold, of all rows.
    counts : ndarray of shape (folds,), the rows of each fold over all ranks.
    at : ndarray of shape (places,), the rows at each place over all ranks; None where there is one fold.
    class_weights : ndarray of shape (folds, classes), the summed weight of each class, where y are classes.
    """

    view: MatrixView
    train: np.ndarray | None
    counts: np.ndarray
    class_weights: np.ndarray | None
    at: np.ndarray | None = None

    @classmethod
    def whole(cls, view: MatrixView) -> FoldedView:
        """One fold, of all rows."""
        weights = None if view.labels.classes is None else view.class_weights[None, :]
        return cls(view, None, np.array([view.rows]), weights)

    @classmethod
    def of(cls, view: MatrixView, train: np.ndarray) -> FoldedView:
        """The folds of a view whose rows have places; what they hold is counted where they are.

        All ranks call this together. A fold without rows, or that lacks a class, is refused by `check`, not
        here.

        Parameters
        ----------
        view : all rows, of which no part has been chosen.
        train : booleans of shape (places, folds), whether a fold learns from the rows at a place.
        """
        assert view.keep is None, "folds are chosen from all rows"
        classes = 1 if view.labels.classes is None else len(view.classes)

        rows = np.zeros((len(train), 1 + classes))
        for block in view.blocks():
            place = np.asarray(block.place)
            rows[:, 0] += np.bincount(place, minlength=len(train))
            if view.labels.classes is not None:
                cell = place.astype(np.intp) * classes + np.asarray(block.y)
                rows[:, 1:] += np.bincount(cell, block.weight, rows[:, 1:].size).reshape(-1, classes)
        by_place = view.run.call(lambda: view.run.combine(rows))
        totals = train.T.astype(np.float64) @ by_place
        weights = None if view.labels.classes is None else totals[:, 1:]
        return cls(view, train, totals[:, 0].astype(np.int64), weights, by_place[:, 0].astype(np.int64))

    @property
    def folds(self) -> int:
        return len(self.counts)

    def reduce(self, fold: Callable[[Block], R | None]) -> R:
        """Merge `fold(tile)` over every tile of every rank, whatever fold its rows belong to: one pass."""
        return self.view.reduce(fold)

    def each(self, statistic: Callable[[Block], State | None]) -> list[Any]:
        """A statistic of the rows of each fold, from one pass.

        That of a fold is merged from those of its places. Nothing is subtracted, so nothing cancels.
        """
        places = 1 if self.train is None else len(self.train)

        def fold(block: Block) -> tuple[State | None, ...]:
            found: list[State | None] = [None] * places
            for place, part in self.parts(block):
                found[place] = statistic(part)
            return tuple(found)

        by_place: Any = self.reduce(fold)
        if self.train is None:
            return list(by_place)
        return [reduce(merge, compress(by_place, self.train[:, k]), None) for k in range(self.folds)]

    def weights(self, block: Block) -> np.ndarray | None:
        """What the rows of a block weigh in each fold, of shape (folds, rows); None where all weigh one."""
        if self.train is None:
            return None if block.weight is None else block.weight[None, :]
        learnt = self.train.T[:, block.place].astype(np.float64)
        return learnt if block.weight is None else learnt * block.weight

    def parts(self, block: Block) -> Iterator[tuple[int, Block]]:
        """The rows of a block by their place: slices of it."""
        if self.train is None:
            yield 0, block
            return
        edges = np.searchsorted(np.asarray(block.place), np.arange(len(self.train) + 1))
        for k in range(len(self.train)):
            if edges[k] < edges[k + 1]:
                yield k, block.take(slice(edges[k], edges[k + 1]))

    def learners(self, place: int, folds: np.ndarray) -> np.ndarray:
        """Which of some candidates learn from the rows at a place, as indices into `folds`.

        Parameters
        ----------
        place : its number.
        folds : integers of shape (candidates,), the fold of each.
        """
        return np.flatnonzero(np.ones(len(folds), bool) if self.train is None else self.train[place, folds])

    def on(self, run: FitContext) -> FoldedView:
        """The same rows and folds in another run."""
        return replace(self, view=self.view.on(run))

    def thinned(self, step: int) -> FoldedView:
        """Every `step`-th row of each block; see `MatrixView.thinned`."""
        return replace(self, view=self.view.thinned(step))

    def fold(self, k: int) -> MatrixView:
        """The rows of one fold.

        Raises
        ------
        DataError
            When it has none, or lacks a class.
        """
        self.check(k)
        if self.train is None:
            return self.view
        weights = None if self.class_weights is None else self.class_weights[k]
        labels = replace(self.view.labels, rows=int(self.counts[k]), counts=weights)
        return replace(self.view, keep=self.train[:, k], labels=labels)

    def check(self, k: int) -> None:
        """Raise DataError when a fold has no rows, or lacks a class."""
        if self.counts[k] == 0:
            raise DataError("A fold has no rows to learn from. Use fewer folds, or more rows.")
        if self.class_weights is not None and (self.class_weights[k] == 0).any():
            missing = self.view.classes[self.class_weights[k] == 0].tolist()
            raise DataError(f"A fold lacks the class(es) {missing}. Use fewer folds.")
