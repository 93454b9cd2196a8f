"""An estimator as what it is made of: steps that change rows, and a model behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from outgrow import artifact
from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
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
    for step in steps:
        step._expect(kinds_of(shard.example, task))
        step._fit_shard(shard, task, last=False)
        shard = learned_from(step, shard)
    return without_numbers(shard, task)


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
