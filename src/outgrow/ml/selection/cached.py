"""Rows that many settings are tried on, one after the other: what the trials have in common is made once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sklearn.base import clone

from outgrow.engine.context import FitContext
from outgrow.engine.dataset import Dataset
from outgrow.engine.matrix import ValidationRows
from outgrow.engine.shard import Shard
from outgrow.engine.together import side_by_side
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.evaluation import Scores, score_answers, score_view
from outgrow.ml.selection.folds import Folds, check_places
from outgrow.ml.steps import digest, learn_steps, steps_of

KEPT = 3
"""For so many settings of the steps before the model the rows stay prepared, if there is memory for them."""
Tell = Callable[[float, Mapping[str, float]], None]
"""Called with the share of a fit that is done and the metrics so far; what it raises ends the trial."""


class CachedCrossValidator:
    """Cross-validates one setting after the other over rows of this process.

    Each gets the scores that `cross_validate` would give. The rows are read and given their folds once, what
    stands before the model is learnt once for all settings that share it, and trees find the rows in bins.

    Parameters
    ----------
    rows : where they are read; their engine is `Local`.
    target, weight : columns.
    folds : how rows are held out.
    roles : columns of what else estimators learn from, by the name of the role.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, outgrow as og
    >>> from outgrow.ml.selection.cached import CachedCrossValidator
    >>> rows = og.dataset(pa.table({"x": np.arange(40.0), "y": 3 * np.arange(40.0)}))
    >>> bench = CachedCrossValidator(rows, "y", None, og.KFold(4))
    >>> [round(bench.scores(og.Ridge(alpha=alpha))[0]["r2"], 1) for alpha in (0.0, 1e4)]
    [1.0, 0.5]
    """

    def __init__(
        self,
        rows: Dataset,
        target: str | None,
        weight: str | None,
        folds: Folds,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        self._rows, self._target, self._weight = rows, target, weight
        self._folds, self._roles = folds, roles or {}
        self._placed: Shard | None = None
        self._ready: OrderedDict[str, list[Shard]] = OrderedDict()
        self._spilled = 0

    def scores(self, estimator: Any, tell: Tell | None = None) -> list[Scores]:
        """The scores of each fold on the rows it did not learn from.

        Parameters
        ----------
        estimator : a model or a pipeline; it is not changed.
        tell : hears of the first fold under way, from models that learn in rounds.

        Raises
        ------
        DataError
            When a fold lacks rows or a class.
        """
        estimator = clone(estimator)
        estimator.check_parameters()
        opened = open_training(
            *(estimator, self._rows, self._target, self._weight),
            hidden=self._folds.hidden,
            roles=self._roles,
        )
        task = opened.task(estimator.columns_)
        *before, last = steps_of(estimator)
        placed = self._place(opened.dataset)
        try:
            parts = self._prepared(placed, before, task)
            fits = [partial(self._fit, k, part, last, task) for k, part in enumerate(parts)]
            if tell is None:
                return side_by_side(placed.run, fits)
            first = fits[0](placed.run, tell)  # by itself: what ends the trial spares the other folds
            return [first, *side_by_side(placed.run, fits[1:])]
        finally:
            self._tidy(placed)

    def _place(self, rows: Dataset) -> Shard:
        """The rows with the place of each, and folds that can be tested."""
        if self._placed is None:
            folds = self._folds
            shard = rows.engine.hold(rows.scan, stage="fit settings")
            hidden = [name for name in folds.hidden if name not in self._roles.values()]
            placed = shard.placed(folds.placing(shard, self._target), hidden=hidden)
            check_places(folds, placed.count_places(len(folds.train_places(0))))
            self._placed = placed
        return self._placed

    def _prepared(self, placed: Shard, before: list[Any], task: Task) -> list[Shard]:
        """The rows that each fold learns from, after steps that learned from them."""
        key = digest(before)
        if key not in self._ready:

            def prepare(k: int, run: FitContext) -> Shard:
                part = replace(placed, run=run).subset(self._folds.train_places(k))
                return learn_steps([clone(step) for step in before], part, task)

            works = [partial(prepare, k) for k in range(self._folds.count)]
            self._ready[key] = side_by_side(placed.run, works)
        self._ready.move_to_end(key)
        return self._ready[key]

    def _fit(
        self, k: int, part: Shard, last: Any, task: Task, run: FitContext, tell: Tell | None = None
    ) -> Scores:
        model = clone(last)
        watch = ValidationRows(self._folds.test_places(k))
        if tell is not None:
            watch.tell = lambda share, answers: tell(share, score_answers(model, answers, watch.rows))
        model._expect(kinds_of(part.example, task))
        model._fit_shard(replace(part, run=run, watch=watch), task, last=False)
        return score_view(model, watch.rows)

    def _tidy(self, placed: Shard) -> None:
        """Let go of what only this trial needed; and, where memory was short, of what others need anew."""
        short = placed.run.memory.spilled > self._spilled
        self._spilled = placed.run.memory.spilled
        while len(self._ready) > (1 if short else KEPT):
            self._ready.popitem(last=False)
        placed.forget_matrices(
            but=[steps for parts in self._ready.values() for part in parts for steps in part.every_step]
        )
