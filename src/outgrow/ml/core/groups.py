"""Many groups fitted at once, from states that are keyed by group.

An estimator that can say, in `_group_form`, how it is solved for all groups together; what it learns is then
stacked: arrays whose first axis are the groups, in the order of their keys' hashes. A form is ordinary code
over `GroupView.reduce`, as a fit is over `Shard.reduce`; everything else fits one group after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.keys import key_codes, key_values
from outgrow.data.matrix import numbers
from outgrow.engine.checks import weight_column
from outgrow.engine.shard import Shard
from outgrow.ml.core.task import Task
from outgrow.stats.grouped import GroupedSums, Keys, Segments

R = TypeVar("R")

Stacked = dict[str, np.ndarray]
"""Learned attributes of all groups; the first axis are the groups."""

SOLVED = 8192
"""Groups whose matrices are solved in one go; more would only take memory."""


class GroupForm(Protocol):
    """How an estimator is fitted for all groups at once.

    What is not promised: that the rows of a group come together, or that `apply` is asked about all groups.
    """

    missing: bool
    """Whether features may be missing."""

    def learn(self, view: GroupView) -> Stacked:
        """What all groups learn, under the names of the estimator's attributes."""

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """What the groups make of rows: changed columns, or predictions.

        Rows come in any order. They are finite, but for NaN where `missing` is true, when a fitted estimator
        answers; not during a fit, in which a bad value may spoil its own group only.

        Parameters
        ----------
        X : ndarray of shape (rows, columns), those that the estimator works on.
        learned : what `learn` gave; arrays whose first axis are the groups.
        place : ndarray of shape (rows,), the place of each row's group on that axis.

        Returns
        -------
        ndarray
            Of the shape of X from a transformer, of shape (rows,) from a model.
        """

    def beside(self) -> dict[str, Any]:
        """Further attributes that a fitted estimator of one group needs."""


@dataclass(frozen=True, eq=False)
class GroupBlock:
    """The rows of a batch, sorted by group.

    Attributes
    ----------
    joint : ndarray of shape (columns, rows): those that the estimator works on, and y where there is one.
    weight : ndarray of shape (rows,), or None.
    """

    segments: Segments
    joint: np.ndarray
    has_y: bool
    weight: np.ndarray | None

    @property
    def features(self) -> np.ndarray:
        """The columns without y."""
        return self.joint[:-1] if self.has_y else self.joint


@dataclass(frozen=True, eq=False)
class Layer:
    """A transformer on its way through the groups: its form, its columns, and what it learned."""

    form: GroupForm
    columns: np.ndarray
    hashes: np.ndarray
    learned: Stacked

    def __call__(self, X: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The matrix, of shape (rows, columns), changed for the groups at `place`."""
        out = X.copy(order="F")
        out[:, self.columns] = self.form.apply(X[:, self.columns], self.learned, place)
        return out


@dataclass(eq=False)
class GroupView:
    """The rows of a shard as a form sees them: grouped, behind the transformers before it.

    Attributes
    ----------
    keys : the keys there are, and how many rows each has; known after the first pass.
    """

    shard: Shard
    by: tuple[str, ...]
    task: Task
    names: list[str]
    layers: list[Layer] = field(default_factory=list)
    columns: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    keys: Keys | None = None
    rows: GroupedSums | None = None

    def reduce(self, fold: Callable[[GroupBlock], R]) -> R:
        """Merge `fold(block)` over every batch of every rank: one pass."""
        if self.keys is not None:
            return self.shard.reduce(lambda batch: fold(self._block(batch)[0]), encoded=True, large=True)

        def first(batch: Batch) -> Any:
            block, keys = self._block(batch)
            return fold(block), keys, GroupedSums(keys.hashes, block.segments.counts[:, None] * 1.0)

        found, self.keys, self.rows = self.shard.reduce(first, encoded=True, large=True)
        return found

    def _block(self, batch: Batch) -> tuple[GroupBlock, Keys]:
        found, codes = key_codes(batch, self.by)
        segments = Segments.coded(found, codes)
        X = batch.matrix(self.names)
        for layer in self.layers:
            X = layer(X, np.searchsorted(layer.hashes, found)[codes])
        columns = [X[:, j] for j in self.columns]
        if self.task.target is not None:
            columns.append(_target(batch, self.task.target))
        joint = np.empty((len(columns), batch.num_rows))
        for column, out in zip(columns, joint, strict=True):
            np.take(column, segments.order, out=out, mode="clip")  # other modes copy first
        weight = self.task.weight
        block = GroupBlock(
            segments,
            joint,
            self.task.target is not None,
            None if weight is None else weight_column(batch, weight)[segments.order],
        )
        firsts = key_values(batch.select(self.by), self.by).take(pa.array(segments.firsts))
        return block, Keys.of(segments.hashes, firsts)


def _target(batch: Batch, name: str) -> np.ndarray:
    """The target as numbers; a missing one spoils its own group only."""
    return numbers(batch[name]).astype(np.float64)
