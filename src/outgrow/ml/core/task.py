"""What a fit is about: which columns are what, and the columns that later calls must bring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.kind import Kind
from outgrow.data.matrix import Column, Matrix
from outgrow.data.schema import conformed
from outgrow.data.source import empty_batch
from outgrow.errors import ParameterError


@dataclass(frozen=True)
class Task:
    """What a fit is about.

    Attributes
    ----------
    target, weight : the columns of y and of weights, or None.
    columns : the columns to learn from.
    weighted_step : the one step of a pipeline that gets the weights; None for all of them.
    aside : further columns that are no features.
    named : whether the columns have names of their own, as those of tables have.
    roles : the columns of what else a model learns from, such as an exposure, by the name of the role.
    row : the column with a number for each row, where there is one: see `Shard.identified`.
    """

    target: str | None
    weight: str | None
    columns: tuple[str, ...]
    weighted_step: str | None = None
    aside: tuple[str, ...] = ()
    named: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    row: str | None = None

    def features(self, example: Batch) -> list[str]:
        """The columns of a batch that are features."""
        others = (self.target, self.weight, self.row, *self.aside, *self.roles.values())
        return [name for name in example.columns if name not in others]

    def weighing(self, step: str) -> Task:
        """The task of a step of a pipeline, without the weights if they are another's."""
        if self.weight is None or self.weighted_step in (None, step):
            return self
        return replace(self, weight=None, aside=(*self.aside, self.weight))


def target_names(example: Batch, task: Task) -> list[str] | None:
    """What several targets are called; None where there is one.

    Parameters
    ----------
    example : a batch with the target: vectors where several numbers are learnt, structs for several classes.
    task : says which column is the target.
    """
    target = None if task.target is None else example[task.target]
    if isinstance(target, Matrix):
        return list(target.names)
    return list(target.type.names) if target is not None and pa.types.is_struct(target.type) else None


def width(example: Batch, names: Iterable[str]) -> int:
    """How many columns these are, vectors spelt out.

    Parameters
    ----------
    example : a batch that has them; it needs no rows.
    names : of its columns.
    """
    columns = map(example.held.get, names)
    return sum(column.width if isinstance(column, Matrix) else 1 for column in columns)


def column_names(batch: Batch) -> np.ndarray:
    """The names of the columns of a batch, vectors spelt out."""
    vectors = {name: column.names for name, column in batch.held.items() if isinstance(column, Matrix)}
    names = [part for name in batch.columns for part in vectors.get(name, (name,))]
    return np.array(names, dtype=object)


def renamed(names: Iterable[str], columns: Mapping[str, str]) -> np.ndarray:
    """Names of made columns, such as `x0` or `x0_a`, with other names for the columns they are made of.

    Parameters
    ----------
    names : of the made columns.
    columns : from the name that a column has in them to the one it gets.

    Examples
    --------
    >>> renamed(["x1", "x1_a", "x10_a", "pca0"], {"x1": "wind", "x10": "day"}).tolist()
    ['wind', 'wind_a', 'day_a', 'pca0']
    """

    def new(name: str) -> str:
        for old, given in columns.items():
            before, found, behind = name.partition(old)
            if found and before in ("", "missingindicator_") and behind[:1] in ("", "_"):
                return f"{before}{given}{behind}"
        return name

    return np.array([new(name) for name in names], dtype=object)


def names_after(fitted: Any, names: np.ndarray, given: Any) -> np.ndarray:
    """Names of made columns, with names that were given for the columns of the array of the fit.

    Parameters
    ----------
    fitted : a fitted estimator.
    names : the names of what it makes, from those that the columns have in its `columns_`.
    given : a name for each column of the fit: the `input_features` of `get_feature_names_out`.

    Raises
    ------
    ParameterError
        When they are not as many as the columns, or not those of the DataFrame of the fit.
    """
    known = getattr(fitted, "feature_names_in_", None)
    if known is not None and list(given) != list(known):
        raise ParameterError("input_features is not equal to feature_names_in_")
    if len(given) != fitted.n_features_in_:
        raise ParameterError("input_features should have length equal to number of features")
    return renamed(names, dict(zip(fitted.columns_, given, strict=False)))


def kinds_of(example: Batch, task: Task) -> dict[str, Kind]:
    """The features of a batch, name to kind.

    Parameters
    ----------
    example : a batch that shows the types of the columns; it needs no rows.
    task : says which of them are no features.
    """
    return {name: _kind(example[name]) for name in task.features(example)}


def _kind(column: Column) -> Kind:
    return Kind.vector(column.width) if isinstance(column, Matrix) else Kind.of(column.type)


def promised_example(columns: Mapping[str, Kind]) -> Batch:
    """A batch without rows, with the columns (name to kind) that a fit promised."""
    schema = pa.schema([(name, kind.form.arrow or pa.string()) for name, kind in columns.items()])
    return conformed(empty_batch(schema), columns)
