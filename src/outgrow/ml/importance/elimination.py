"""Leaving out the columns that matter least to a model, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.ml.adapters import as_step
from outgrow.ml.core.parameters import FLAG, Integer, Number, Unused
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.importance.base import ModelSelection, importances, is_model_of_matrix

Fits = Callable[[np.ndarray], Any]
"""Gives the model that learned from some columns, as indices."""
STEP = Integer(low=1) | Number(above=0, below=1)
VERBOSE = Unused(Integer(low=0) | FLAG)


class Elimination(ModelSelection):
    """Lets a model learn, leaves out the columns of which it makes least, and goes on with the others.

    Attributes
    ----------
    ranking_ : ndarray of int, of shape (n_columns,): 1 for those that are kept, 2 for those that were left
        out last, and so on.
    """

    step: float
    ranking_: np.ndarray

    def _chosen(self) -> np.ndarray:
        return np.asarray(self.ranking_ == 1)

    @property
    def n_features_(self) -> int:
        """How many columns are kept."""
        return int(self.support_.sum())

    def _steps(self, width: int) -> int:
        """How many columns are left out at once."""
        return int(max(1, self.step * width)) if 0 < self.step < 1 else int(self.step)

    def _eliminate(
        self, fits: Fits, width: int, goal: int, told: Callable[[Any, np.ndarray], None] | None = None
    ) -> np.ndarray:
        """The rank of each column.

        Parameters
        ----------
        fits : the models.
        width : how many columns there are.
        goal : how many are kept.
        told : is shown each model that gave importances, and the columns it learned from.
        """
        ranking, left, step = np.ones(width, dtype=np.int64), np.arange(width), self._steps(width)
        while len(left) > goal:
            model = fits(left)
            if told is not None:
                told(model, left)
            squares = importances(model, self.importance_getter, _sum_of_squares)
            order = np.argsort(squares, kind="stable")
            left = np.sort(left[order[min(step, len(left) - goal) :]])
            gone = np.ones(width, dtype=bool)
            gone[left] = False
            ranking[gone] += 1
        return ranking

    def _fits(self, shard: Shard, names: Sequence[str], task: Task) -> Fits:
        """Models that learn from some columns: of one matrix where they can."""
        model = as_step(clone(self.estimator))
        if not is_model_of_matrix(model):
            return lambda columns: self._learned_by(*self._narrowed(shard, names, columns), task)
        return self._fits_of(self._matrix_of(model, shard, names, task), shard, names, task)

    def _matrix_of(
        self, model: Any, shard: Shard, names: Sequence[str], task: Task, *, hashed: bool = False
    ) -> MatrixView:
        """The matrix that a model learns from.

        Parameters
        ----------
        model : notes the columns.
        shard, names, task : the rows, the columns of the choice, and what the fit is about.
        hashed : whether rows are told apart as they were read.
        """
        own = self._model_task(shard, names, task)
        shard = model._prepared(shard, own)
        spec = model._expect_features(shard, own)
        return shard.matrix(replace(spec, hashed=task.columns) if hashed else spec)

    def _fits_of(self, view: MatrixView, shard: Shard, names: Sequence[str], task: Task) -> Fits:
        """The same, where the matrix of all columns is known."""
        learn = clone(self.estimator)._learner_of_columns(view)

        def learned(columns: np.ndarray) -> Any:
            narrow, kept = self._narrowed(shard, names, columns)
            own, one = self._model_task(narrow, kept, task), clone(self.estimator)
            one._expect(kinds_of(narrow.example, own))
            one._expect_features(one._prepared(narrow, own), own)
            learn(one, columns)
            return one

        return learned

    def _narrowed(
        self, shard: Shard, names: Sequence[str], columns: np.ndarray
    ) -> tuple[Shard, Sequence[str]]:
        """The rows with some of the columns alone, and the names of these."""
        support = np.zeros(len(self.input_names_), dtype=bool)
        support[columns] = True
        narrow = self._kept_of(shard, support)
        return narrow, [name for name in names if name in narrow.example.columns]


def _sum_of_squares(values: np.ndarray) -> np.ndarray:
    return np.asarray((values**2).sum(axis=0))
