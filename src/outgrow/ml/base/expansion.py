"""Transformers that put new columns of numbers in the place of those they work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.data.names import distinct, numbered
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base.transformers import Transformer
from outgrow.ml.core.columns import require_numeric
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.table import Column as OnnxColumn
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import with_learned

MOST_COLUMNS = 10_000
"""Columns of numbers that a table is given at most; more are a vector, or too many."""


class Expansion(Transformer):
    """Makes new numbers of those of a row, and puts them in their place.

    Hooks: `_learn_columns(shard, names, task)` learns what it needs, `_labels(inputs)` names the new numbers,
    given the names of the old ones, and `_expanded(X)` makes them, sparse or dense. Dense ones become columns
    of their own, sparse ones a vector called `output_name_`.

    Attributes
    ----------
    input_names_ : list of the names of the numbers it works on, those of vectors spelt out.
    output_names_ : list of the names of the numbers it makes.
    output_name_ : what they are called together.
    """

    takes_dictionaries = True
    looks_at_its_columns = True
    takes_sparse: ClassVar[bool] = False
    takes_missing: ClassVar[bool] = False
    stem: ClassVar[str]
    """What the new numbers are called together."""

    input_names_: list[str]
    output_names_: list[str]
    output_name_: str

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        """Learn from rows whose columns are numbers; nothing by default."""

    def _labels(self, inputs: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def _expanded(self, X: Any) -> Any:
        raise NotImplementedError

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        who = type(self).__name__
        require_numeric(shard.example, names, who)
        if not names:
            raise DataError(f"{who} has no columns to work on. Name some that are there, and hold values.")
        example = shard.example.select(names)
        if not self.takes_sparse and is_sparse(example.matrix(names)):
            raise ParameterError(f"{who} does not support sparse input. Give dense columns.")
        self.input_names_ = list(column_names(example))
        self._learn_columns(shard, names, task)
        self._settle(shard.example, names)

    def _settle(self, example: Batch, names: list[str]) -> None:
        others = example.drop(names)
        taken = {*others.columns, *column_names(others)}
        self.output_names_ = distinct(self._labels(self.input_names_), taken)
        self.output_name_ = numbered(self.stem, taken)
        self._restored()

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = self._expanded(self._numbers(batch, names))
        return batch.replace_numbers(names, made, self.output_names_, self.output_name_)

    def _numbers(self, batch: Batch, names: list[str]) -> Any:
        """The numbers it works on as one matrix.

        Raises
        ------
        DataError
            When a value is infinite, or missing where that is not allowed.
        """
        X = batch.matrix(names, order="K")
        check_finite(X.data if is_sparse(X) else X, "X", missing=self.takes_missing)
        return X

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives; `input_features` are those of an array's columns."""
        check_is_fitted(self)
        if input_features is None or len(self.columns_) != len(self.selected_):
            return super().get_feature_names_out(input_features)
        super().get_feature_names_out(input_features)  # refuses names that are not those of the fit
        return np.array(self._labels(list(input_features)), dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.takes_missing
        tags.input_tags.sparse = self.takes_sparse
        return tags


class Components(Expansion):
    """Makes numbers that each come from all columns: they are called `<stem>0`, `<stem>1` and so on.

    Attributes
    ----------
    n_components_ : how many there are.
    """

    n_components_: int

    def _labels(self, inputs: Sequence[str]) -> list[str]:
        return [f"{self.stem}{j}" for j in range(self.n_components_)]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : names of an array's columns, without effect on the new ones.
        """
        return super().get_feature_names_out(None)

    def _in_onnx(self, table: Table, tensor: str) -> Table:
        """The table with the numbers of a tensor of shape (rows, n_components_) in their place."""
        parts = table.graph.split(tensor, [1] * self.n_components_)
        new = {name: OnnxColumn(part) for name, part in zip(self.output_names_, parts, strict=True)}
        return table.replace(self.selected_, new)

    def _twin_in(self, flow: Flow, name: str, made: Any, *learned: str) -> Flow:
        """The flow of scikit-learn after this step.

        Parameters
        ----------
        flow : the steps before.
        name : what the step is called.
        made : a new object of scikit-learn with the same parameters; it takes over what was learned.
        *learned : the names of attributes, the same in both.
        """
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, np.zeros((2, len(block.labels)))))
        with_learned(made, self, *learned)
        block.makes = [(column, 1) for column in self.output_names_]
        return flow.then(name, flow.beside(self.selected_, [block]))
