"""An estimator as what it is made of: steps that change rows, and a model behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from outgrow import artifact
from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.engine.together import together
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.persistence import describe


def steps_of(estimator: Any) -> list[Any]:
    """The steps of a pipeline; an estimator that is none is its own last step."""
    return [step for _, step in estimator.active_steps] if isinstance(estimator, Estimator) else [estimator]


def learn_steps(steps: Sequence[Any], shard: Shard, task: Task) -> Shard:
    """Let transformers learn, one after the other; the rows after all of them.

    Parameters
    ----------
    steps : transformers of outgrow; they are changed.
    shard : the rows of this rank, from which the first of them learns.
    task : says which columns are the target and the weight.
    """
    shard, task = with_rows_told_apart(steps, shard, task)
    for neighbours in side_by_side_runs(steps, shard.example):
        shard = learn_side_by_side(neighbours, shard, [task] * len(neighbours))
    return without_numbers(shard, task)


def side_by_side_runs(steps: Sequence[Any], example: Batch) -> Iterator[list[Any]]:
    """Neighbours that can learn in the same passes: none sees what another one changes.

    These are steps that name their columns, columns that are there before all of them, and no two the same.

    Parameters
    ----------
    steps : transformers of outgrow.
    example : a batch without rows, before the first of them.
    """
    run: list[Any] = []
    known: set[str] = set()
    for step in steps:
        names = _named_columns(step)
        alone = not names or not known or names & known or not names <= set(example.columns)
        if run and alone:
            yield run
            run, known = [], set()
        run.append(step)
        known |= names
    if run:
        yield run


def _named_columns(step: Any) -> set[str]:
    """The columns that a step names, where it looks at no others while it learns."""
    columns = getattr(step, "columns", None)
    if not getattr(step, "looks_at_its_columns", False) or columns is None or callable(columns):
        return set()
    return {columns} if isinstance(columns, str) else set(columns)


def learn_side_by_side(steps: Sequence[Any], shard: Shard, tasks: Sequence[Task]) -> Shard:
    """Let transformers learn, in the same passes where they are several; the rows after all of them.

    Parameters
    ----------
    steps : as `side_by_side_runs` gives them; they are changed.
    shard : the rows of this rank, before the first of them.
    tasks : for each of them, which columns are the target and the weight.
    """
    pairs = list(zip(steps, tasks, strict=True))
    for step, task in pairs:
        step._expect(kinds_of(shard.example, task))
    if len(pairs) == 1:
        steps[0]._fit_shard(shard, tasks[0], last=False)
        return learned_from(steps[0], shard)
    together(shard, [partial(step._fit_shard, task=task, last=False) for step, task in pairs])
    for step, task in pairs:  # those before it may have put new columns beside its own
        step._expect(kinds_of(shard.example, task))
        step._settle(shard.example, step.selected_)
        shard = learned_from(step, shard)
    return shard


def learned_from(step: Any, shard: Shard) -> Shard:
    """The rows from which a transformer has learned, as the steps behind it see them.

    Parameters
    ----------
    step : the fitted transformer.
    shard : the rows as they reached it.
    """
    encoded = step.takes_dictionaries
    if not step.cross_fits:
        return shard.transformed(step._transform, encoded=encoded)
    return shard.transformed(step._transform_training, encoded=encoded, unseen=step._transform)


def with_rows_told_apart(steps: Sequence[Any], shard: Shard, task: Task) -> tuple[Shard, Task]:
    """The rows with a number for each, where a step needs it, and the task that names the column.

    Parameters
    ----------
    steps : transformers, and perhaps a model.
    shard : the rows of this rank, as they were read.
    task : what the fit is about.
    """
    if task.row is not None or not any(getattr(step, "cross_fits", False) for step in steps):
        return shard, task
    beside = (name for name in (task.target, task.weight) if name is not None)
    identified, name = shard.identified([*task.columns, *beside])
    return identified, replace(task, row=name)


def without_numbers(shard: Shard, task: Task) -> Shard:
    """The rows without the column that tells them apart.

    Parameters
    ----------
    shard : the rows.
    task : names the column, where there is one.
    """
    if task.row is None:
        return shard
    return shard.transformed(partial(Batch.drop, names=(task.row,)), encoded=True)


def through(steps: Sequence[Any], shard: Shard) -> Shard:
    """The rows after transformers that have learned.

    Parameters
    ----------
    steps : the transformers, in order.
    shard : the rows of this rank, before the first of them.
    """
    for step in steps:
        shard = shard.transformed(step._transform, encoded=step.takes_dictionaries)
    return shard


def digest(estimators: Sequence[Estimator]) -> str:
    """Equal for estimators of equal classes and parameters."""
    described = artifact.pack([describe(each) for each in estimators])
    return hashlib.sha256(described).hexdigest()
