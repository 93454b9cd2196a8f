"""What projections on directions have in common: names, answers, the way back, and exports."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.base.invertible import KEPT_TYPES
from outgrow.ml.core.columns import require_numeric
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow

WIDEST = 4096
"""Columns whose products are held as a matrix."""


class Projection(InvertibleTransformer):
    """Projects columns on directions that it learns, `components_`, and puts the projections in their place.

    Hooks: `_learn_directions(shard, names, task)`; `_centre()`, what is subtracted before; `_divisors()`, by
    what projections are divided, and `_multipliers()`, which take that back.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns).
    input_names_ : list of the names of the columns, those of vectors spelt out.
    output_name_ : what the names of its columns begin with.
    """

    _follows_type = ("components_",)
    takes_dictionaries = True
    stem: ClassVar[str]
    """What the names of its columns begin with, where these are free."""
    components_: np.ndarray
    input_names_: list[str]
    output_name_: str

    def _learn_directions(self, shard: Shard, names: list[str], task: Task) -> None:
        raise NotImplementedError

    def _centre(self) -> np.ndarray | None:
        return None

    def _divisors(self) -> np.ndarray | None:
        return None

    def _multipliers(self) -> np.ndarray | None:
        return self._divisors()

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        who = type(self).__name__
        require_numeric(shard.example, names, who)
        self.input_names_ = list(column_names(shard.example.select(names))) if names else []
        if not self.input_names_:
            raise DataError(f"{who} has no columns to project. Name some that are there, and hold values.")
        self._learn_directions(shard, names, task)
        others = shard.example.drop(names)
        taken = {*others.columns, *column_names(others)}
        self.output_name_ = _free_stem(self.stem, taken, len(self.components_))

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        X = batch.matrix(names)
        check_finite(X.data if is_sparse(X) else X, "X")
        projected = np.asarray(X @ self.components_.T)
        centre, divisors = self._centre(), self._divisors()
        if centre is not None:
            projected = projected - centre @ self.components_.T
        if divisors is not None:
            projected = projected / divisors
        return batch.replace_numbers(names, projected, self._output_names)

    @property
    def _output_names(self) -> list[str]:
        return _names(self.output_name_, len(self.components_))

    def _revert(self, batch: Batch) -> Batch:
        made = self._output_names
        X, centre, multipliers = batch.matrix(made), self._centre(), self._multipliers()
        rows = (X if multipliers is None else X * multipliers) @ self.components_
        rows = rows if centre is None else rows + centre
        return batch.replace_numbers(made, rows, self.input_names_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = KEPT_TYPES
        return tags

    def _to_onnx(self, table: Table) -> Table:
        graph, who = table.graph, type(self).__name__
        X = graph.finite(table.matrix(self.selected_, who), who, missing=False)
        components = self.components_.astype(np.float64)
        Z = graph.node("MatMul", X, graph.constant(components.T))
        centre, divisors = self._centre(), self._divisors()
        if centre is not None:
            Z = graph.node("Sub", Z, graph.constant((centre @ components.T)[None, :]))
        if divisors is not None:
            Z = graph.node("Div", Z, graph.constant(divisors[None, :]))
        names = self._output_names
        parts = graph.split(Z, [1] * len(names))
        return table.replace(self.selected_, {n: Column(part) for n, part in zip(names, parts, strict=True)})

    def _twin_in(self, flow: Flow, name: str, made: Any) -> Flow:
        """The flow of scikit-learn after this step.

        Parameters
        ----------
        flow : the steps before.
        name : what the step is called.
        made : an object of scikit-learn that knows what was learned.
        """
        block = flow.block(self.selected_, name, made)
        made.n_features_in_ = len(block.labels)
        if flow.frame:
            made.feature_names_in_ = np.array(block.labels, dtype=object)
        block.makes = [(column, 1) for column in self._output_names]
        return flow.then(name, flow.beside(self.selected_, [block]))


def signed(components: np.ndarray) -> np.ndarray:
    """Components whose largest entry is positive, as scikit-learn turns them.

    Parameters
    ----------
    components : shape (components, columns).
    """
    if not components.size:
        return components
    sizes = np.abs(components)
    # the first of equals, as rounding must not choose the sign
    largest = np.argmax(sizes >= sizes.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.ascontiguousarray(components * signs[:, None])


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}{i}" for i in range(count)]


def _free_stem(stem: str, taken: set[str], count: int) -> str:
    """`pca`, or `pca2_` and so on: the first under which all names are free."""
    stems = itertools.chain([stem], (f"{stem}{number}_" for number in itertools.count(2)))
    return next(free for free in stems if taken.isdisjoint(_names(free, count)))
