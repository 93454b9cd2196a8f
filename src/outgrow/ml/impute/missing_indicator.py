"""Columns that say where values are missing."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.data.names import distinct, numbered
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import COLUMNS, FLAG, OneOf, described
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import MISSING, Table
from outgrow.ml.export.onnx.table import Column as OnnxColumn
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.impute.base import Marking
from outgrow.ml.impute.missing import missing


class MissingIndicator(Marking):
    """Replace columns by ones and zeros that say where values are missing.

    Columns may be of any type. `SimpleImputer(add_indicator=True)` keeps the columns, too.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    missing_values : a number or a text that stands for a missing value, beside null and NaN. Not 0 where rows
        are sparse.
    features : 'missing-only' for the columns in which `fit` met a missing value, or 'all'.
    sparse : make one vector column, of which zeros are not stored: True, False, or 'auto' where rows are so.
    error_on_new : refuse rows that miss something in a column in which `fit` met no missing value; else that
        goes unsaid.

    Attributes
    ----------
    features_ : ndarray of int, which numbers of a row have an indicator, vectors spelt out.
    output_names_ : list of the names of the indicators, `missingindicator_<column>`.
    output_name_ : what they are called together.

    Notes
    -----
    Unlike scikit-learn: sparse indicators are the numbers 1 and 0; null and NaN are missing beside
    `missing_values`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, np.nan], [2.0, 3.0]])
    >>> indicator = og.MissingIndicator().fit(X)
    >>> indicator.transform(X).tolist(), indicator.get_feature_names_out().tolist()
    ([[True], [False]], ['missingindicator_x1'])
    """

    parameters = {
        "columns": COLUMNS,
        "missing_values": described("a number, text, NaN or None"),
        "features": OneOf("missing-only", "all"),
        "sparse": FLAG | OneOf("auto"),
        "error_on_new": FLAG,
    }
    test_parameters = {"features": "all"}
    features_: np.ndarray

    output_names_: list[str]
    output_name_: str

    def __init__(
        self,
        columns: Columns = None,
        *,
        missing_values: Any = np.nan,
        features: str = "missing-only",
        sparse: bool | str = "auto",
        error_on_new: bool = True,
    ) -> None:
        self.columns = columns
        self.missing_values = missing_values
        self.features = features
        self.sparse = sparse
        self.error_on_new = error_on_new

    @property
    def learns_nothing(self) -> bool:  # type: ignore[override]
        """Whether all columns get an indicator, so that no row is looked at."""
        return self.features == "all"

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        example = shard.example
        shard = self._unmarked_shard(shard, names)
        labels = column_names(example.select(names))
        if self.features == "all" or not names:
            self.features_ = np.arange(len(labels))
        else:
            count = partial(_counts, names=names)
            self.features_ = np.flatnonzero(shard.reduce(count, encoded=True))
        others = example.drop(names)
        taken = {*others.columns, *column_names(others)}
        wanted = [f"missingindicator_{label}" for label in labels[self.features_]]
        self.output_names_ = distinct(wanted, taken)
        self.output_name_ = numbered("missingindicator", taken)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        holes = _holes(self._unmarked(batch, names), names)
        if self.error_on_new and len(self.features_) < holes.shape[1]:
            self._refuse_new(holes, names)
        if not len(self.features_):
            return batch.drop(names)
        chosen = holes if len(self.features_) == holes.shape[1] else holes[:, self.features_]
        if self.sparse is True or (self.sparse == "auto" and is_sparse(chosen)):
            chosen = sp.csr_array(chosen, dtype=np.float64)
        elif is_sparse(chosen):
            chosen = chosen.toarray()
        return batch.replace_numbers(names, chosen, self.output_names_, self.output_name_)

    def _refuse_new(self, holes: Any, names: list[str]) -> None:
        new = np.setdiff1d(np.flatnonzero(np.asarray(holes.sum(axis=0))), self.features_)
        if len(new):
            raise DataError(
                f"The features {new.tolist()} of {names} have missing values in transform but have no "
                "missing values in fit. error_on_new=False leaves that unsaid, features='all' says it."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def _to_onnx(self, table: Table) -> Table:
        self._check_exportable()
        graph = table.graph
        holes = graph.join([_onnx_holes(graph, table[name]) for name in self.selected_])
        made = graph.node("Gather", holes, graph.constant(self.features_), axis=1)
        parts = graph.split(made, [1] * len(self.output_names_))
        new = {name: OnnxColumn(part) for name, part in zip(self.output_names_, parts, strict=True)}
        return table.replace(self.selected_, new)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        self._check_exportable()
        made = twin("impute.MissingIndicator", features=self.features, error_on_new=self.error_on_new)
        block = flow.block(self.selected_, name, made)
        row = np.zeros(len(block.labels))
        row[self.features_] = np.nan
        made.fit(flow.tiny(block.labels, [row, np.zeros(len(block.labels))]))
        block.makes = [(column, 1) for column in self.output_names_]
        return flow.then(name, flow.beside(self.selected_, [block]))

    def _check_exportable(self) -> None:
        if self._mark is not None or self.sparse is True or not len(self.features_):
            raise refusal(
                self,
                f"it has missing_values={self.missing_values!r}, sparse={self.sparse} and "
                f"{len(self.features_)} indicators.",
                "It can be with dense columns of which some miss something.",
            )


def _onnx_holes(graph: Graph, column: OnnxColumn) -> str:
    """Ones where a column misses something, which of text is empty text."""
    if column.kind == "number":
        return graph.cast(graph.node("IsNaN", column.tensor), "number")
    empty = graph.cast(graph.node("Equal", column.tensor, graph.constant([[""]], object)), "number")
    told = np.array([[float(column.empty == MISSING)]])
    return graph.node("Mul", empty, graph.constant(told))


def _holes(batch: Batch, names: list[str]) -> Any:
    """Where values are missing: booleans of shape (rows, width), CSR where a column is sparse."""
    if all(is_numeric(kind) for kind in batch.arrow_types(names).values()):
        X = batch.matrix(names, order="K")
        return missing(Matrix(X, ())) if is_sparse(X) else np.isnan(X)
    columns = (missing(batch[name]) for name in names)
    parts = [part if part.ndim == 2 else part[:, None] for part in columns]
    if any(map(is_sparse, parts)):
        return sp.hstack([sp.csr_array(part) for part in parts], format="csr")
    return np.concatenate(parts, axis=1)


def _counts(batch: Batch, *, names: list[str]) -> np.ndarray:
    return np.asarray(_holes(batch, names).sum(axis=0))
