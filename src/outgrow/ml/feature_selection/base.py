"""Transformers that keep some of the columns they look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column, Matrix, is_sparse, matrix_columns
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.base.invertible import KEPT_TYPES
from outgrow.ml.core.columns import require_numeric
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.table import Column as OnnxColumn
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin


class Selection(InvertibleTransformer):
    """Keeps some of the columns of numbers it looks at; of a vector, some of its numbers.

    Hooks: `_learn_columns(shard, names, task)` learns scores, and `_chosen()` says from them which numbers
    are kept, a boolean array of shape (n_columns,).

    Attributes
    ----------
    support_ : ndarray of bool, of shape (n_columns,): which numbers are kept, vectors spelt out.
    input_names_ : list of their names.
    """

    takes_dictionaries = True
    looks_at_its_columns = True
    takes_missing: ClassVar[bool] = False
    support_: np.ndarray

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        raise NotImplementedError

    def _chosen(self) -> np.ndarray:
        raise NotImplementedError

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        require_numeric(shard.example, names, type(self).__name__)
        if not names:
            raise DataError(f"{type(self).__name__} has no columns to choose from. Name some that are there.")
        example = shard.example.select(names)
        self.input_names_ = list(column_names(example))
        self.vectors_ = {name: list(c.names) for name in names if isinstance(c := example[name], Matrix)}
        self._learn_columns(shard, names, task)
        self.support_ = self._chosen()

    def get_support(self, indices: bool = False) -> np.ndarray:
        """Which columns are kept.

        Parameters
        ----------
        indices : give their places instead of a boolean for each.

        Returns
        -------
        ndarray of bool of shape (n_columns,), or of int of shape (n_kept,).
        """
        check_is_fitted(self)
        return np.flatnonzero(self.support_) if indices else self.support_

    def _parts(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each column with what is kept of its numbers."""
        at = 0
        for name in self.selected_:
            width = len(self.vectors_.get(name, (name,)))
            yield name, self.support_[at : at + width]
            at += width

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        new: dict[str, Column] = {}
        gone = [name for name, kept in self._parts() if not kept.any()]
        for name, kept in self._parts():
            if name in self.vectors_ and not kept.all() and kept.any():
                column = batch[name]
                assert isinstance(column, Matrix)
                labels = tuple(np.array(column.names, dtype=object)[kept])
                new[name] = Matrix(column.values[:, np.flatnonzero(kept)], labels)
        return batch.drop(gone).with_columns(new)

    def _revert(self, batch: Batch) -> Batch:
        """Zeros for the columns that were not kept, as scikit-learn gives them."""
        columns: dict[str, Column] = {}
        parts = dict(self._parts())
        for name in self.columns_:
            if name not in parts:
                columns[name] = batch[name]
            elif name in self.vectors_:
                columns[name] = self._widened(batch, name, parts[name])
            elif parts[name].all():
                columns[name] = batch[name]
            else:
                columns |= matrix_columns(np.zeros((batch.num_rows, 1)), [name])
        return Batch(columns, batch.num_rows)

    def _widened(self, batch: Batch, name: str, kept: np.ndarray) -> Matrix:
        labels = tuple(self.vectors_[name])
        if not kept.any():
            return Matrix(np.zeros((batch.num_rows, len(kept))), labels)
        column = batch[name]
        assert isinstance(column, Matrix)
        places = np.flatnonzero(kept)
        if is_sparse(column.values):
            values = sp.coo_array(column.values)
            shape = (batch.num_rows, len(kept))
            return Matrix(
                sp.csr_array((values.data, (values.coords[0], places[values.coords[1]])), shape), labels
            )
        wide = np.zeros((batch.num_rows, len(kept)))
        wide[:, places] = column.values
        return Matrix(wide, labels)

    def _to_onnx(self, table: Table) -> Table:
        graph = table.graph
        for name, kept in self._parts():
            if not kept.any():
                table = table.drop([name])
            elif not kept.all():
                places = graph.constant(np.flatnonzero(kept))
                chosen = graph.node("Gather", table[name].tensor, places, axis=1)
                table = table.with_columns({name: OnnxColumn(chosen, width=int(kept.sum()))})
        return table

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("preprocessing.FunctionTransformer", feature_names_out="one-to-one")
        kept = [column for column, support in self._parts() if support.any()]
        block = flow.block(kept, name, made)
        made.fit(flow.tiny(block.labels, np.zeros((2, len(block.labels)))))
        order = [column for column in flow.columns if column in kept or column not in self.selected_]
        return flow.then(name, flow.beside(self.selected_, [block]), order)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.takes_missing
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = KEPT_TYPES
        return tags
