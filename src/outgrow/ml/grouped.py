"""Estimators and pipelines fitted for many groups at once, where each of their steps can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.matrix import Matrix
from outgrow.engine.shard import Shard
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import FewValues, resolve
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.groups import GroupForm, GroupView, Layer, Stacked
from outgrow.ml.core.task import Task
from outgrow.ml.steps import steps_of
from outgrow.stats.grouped import Keys


@dataclass(frozen=True, eq=False)
class GroupFit:
    """What all groups learned.

    Attributes
    ----------
    stacked : for each step, in order, what it learned.
    """

    keys: Keys
    rows: np.ndarray
    stacked: list[Stacked]


def forms_of(estimator: Any, example: Batch, features: Sequence[str]) -> list[GroupForm] | None:
    """The forms of all steps; None where a step has none, or a feature is no number.

    Parameters
    ----------
    estimator : of outgrow, or another, which has no form.
    example : a batch that shows the types of the columns; it needs no rows.
    features : the columns to learn from; without any there is nothing to do for all groups at once.
    """
    columns = [example[name] for name in features]
    if any(isinstance(column, Matrix) or not is_numeric(column.type) for column in columns):
        return None
    steps = steps_of(estimator)
    if any(isinstance(getattr(step, "columns", None), FewValues) for step in steps):
        return None  # which of the columns those are is another question in each group
    found = [step._group_form() if isinstance(step, Estimator) else None for step in steps]
    return None if None in found or not features else found  # type: ignore[return-value]


def columns_of(step: Estimator, example: Batch, names: Sequence[str]) -> np.ndarray:
    """The places among `names` of the columns that a step works on.

    Parameters
    ----------
    step : a transformer, which says so by its `columns`; a model works on all of them.
    example : a batch that shows the types of the columns; it needs no rows.
    names : the columns that reach it, in their order.
    """
    chosen = resolve(step.columns, example, names) if isinstance(step, Transformer) else list(names)
    return np.array([list(names).index(name) for name in chosen], dtype=np.intp)


def numeric_example(names: Sequence[str]) -> Batch:
    """A batch without rows, with columns of numbers."""
    return Batch({name: pa.array([], pa.float64()) for name in names}, 0)


def fit_groups(
    estimator: Any,
    forms: Sequence[GroupForm],
    shard: Shard,
    by: tuple[str, ...],
    task: Task,
    names: list[str],
) -> GroupFit:
    """Fit the steps of an estimator for all groups, one after the other: one pass or a few for each.

    Parameters
    ----------
    estimator : an estimator or pipeline; it is not changed.
    forms : of each of its steps, as `forms_of` gives them.
    shard : the rows of this rank; a group may have some on any.
    by : the columns of the key.
    task : says which columns are the target and the weight.
    names : the features, all of them numbers.
    """
    view = GroupView(shard, by, task, names)
    stacked = []
    example = numeric_example(names)
    for step, form in zip(steps_of(estimator), forms, strict=True):
        view.columns = columns_of(step, example, names)
        learned = form.learn(view)
        assert view.keys is not None
        stacked.append(learned)
        view.layers = [*view.layers, Layer(form, view.columns, view.keys.hashes, learned)]
    assert view.keys is not None
    assert view.rows is not None
    return GroupFit(view.keys, view.rows.sums[:, 0], stacked)
