"""An estimator as what it is made of: steps that change rows, and a model behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from outgrow import artifact
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
    for step in steps:
        step._expect(kinds_of(shard.example, task))
        step._fit_shard(shard, task, last=False)
        shard = shard.transformed(step._transform, encoded=step.takes_dictionaries)
    return shard


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
