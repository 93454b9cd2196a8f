"""Filling in missing values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.matrix import Column, Matrix, is_sparse, matrix_columns
from outgrow.data.names import VectorNames
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.base.invertible import KEPT_TYPES
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.matrices import checked_matrix, column_quantiles
from outgrow.ml.core.parameters import COLUMNS, FLAG, FUNCTION, OneOf, Unused, described
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Column as OnnxColumn
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Block, Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.impute.base import Filling, holds_text
from outgrow.ml.impute.columns import count_missing, present_values, value_counts
from outgrow.ml.impute.grouped import GroupedFilling
from outgrow.ml.impute.missing import (
    as_text,
    filled,
    indicated,
    is_nan,
    marked,
)
from outgrow.stats.moments import Moments
from outgrow.stats.quantiles import Gathered

_TEXT = "missing_value"


class SimpleImputer(Filling, InvertibleTransformer):
    """Replace missing values by a statistic of their column, or by a constant.

    Null and NaN are missing, and `missing_values` with them. Columns of numbers and booleans become float64,
    whether or not something is missing; text stays text, and sparse matrices stay sparse: what they do not
    store is the number zero. Weights are not used, as in scikit-learn.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    missing_values : a number or a text that stands for a missing value, beside null and NaN. Not 0 where
        rows are sparse.
    strategy : 'mean' or 'median' for numbers; 'most_frequent' (the smallest of equals) or 'constant' for
        numbers and text; or a function that makes a number of the values of a column of numbers, an array of
        shape (values,), sorted, since they come in no order. It gets all of them, which have to fit into the
        memory of each process. A model with a function cannot be saved.
    fill_value : the constant; by default 0 for numbers and 'missing_value' for text.
    keep_empty_features : keep columns in which `fit` saw no value, filled with the constant or else with its
        default. Without it `transform` leaves them out, with a warning.
    add_indicator : put a column `missingindicator_<column>` behind the others for each column in which `fit`
        met a missing value: 1 where it is missing, else 0. That of a matrix column has a column for each of
        those in which something was missing. `inverse_transform` needs them.
    copy : as scikit-learn has it; it changes nothing here, where input is never changed.

    Attributes
    ----------
    statistics_ : ndarray of shape (n_columns,), what is filled in; NaN for columns that are left out. The
        columns of a matrix count each.
    text_ : list of the columns of text.
    vectors_ : dict of the matrix columns and their widths.
    indicators_ : dict of the columns with an indicator, by the name of that.
    indicated_ : dict of the places within matrix columns that have one, by the name of the indicator.

    Notes
    -----
    Unlike scikit-learn: null and NaN are missing beside `missing_values`; a function gets the values sorted,
    zeros of sparse rows with them.

    Unlike Spark MLlib's `Imputer(strategy="mean")`: takes text and sparse rows too, and the median is exact.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.SimpleImputer().fit_transform(np.array([[1.0], [np.nan], [3.0]])).tolist()
    [[1.0], [2.0], [3.0]]
    >>> imputer = og.SimpleImputer(missing_values=-1, add_indicator=True)
    >>> imputer.fit_transform(np.array([[1.0], [-1.0], [3.0]])).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]
    """

    takes_dictionaries = True
    parameters = {
        "columns": COLUMNS,
        "missing_values": described("a number, text, NaN or None"),
        "strategy": OneOf("mean", "median", "most_frequent", "constant") | FUNCTION,
        "fill_value": described("a number, text or None"),
        "copy": Unused(),
        "add_indicator": FLAG,
        "keep_empty_features": FLAG,
    }

    def __init__(
        self,
        columns: Columns = None,
        *,
        missing_values: Any = np.nan,
        strategy: str | Callable[[np.ndarray], float] = "mean",
        fill_value: Any = None,
        copy: bool = True,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
    ) -> None:
        self.columns = columns
        self.missing_values = missing_values
        self.strategy = strategy
        self.fill_value = fill_value
        self.copy = copy
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.

        Raises
        ------
        ParameterError
            When an array of fixed-width text may have turned what is missing into text.
        """
        if isinstance(X, np.ndarray) and X.dtype.kind in "US" and self._takes_text and self._mark is None:
            raise ParameterError(
                f"SimpleImputer does not support data with dtype {X.dtype}: in it missing values have become "
                "text. Give an array of objects, or name that text as missing_values."
            )
        try:
            return super().fit(X, y)
        except ValueError as error:
            fact = str(error.__cause__)
            if fact.startswith("could not convert"):  # what scikit-learn's check of arrays says
                raise self._not_numeric(fact) from error
            raise

    def inverse_transform(self, X: Any) -> Any:
        """The rows with `missing_values`, or null, where the indicators say so; in the form X has.

        Columns that were left out are missing altogether.

        Raises
        ------
        ParameterError
            Without `add_indicator`.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> imputer = og.SimpleImputer(missing_values=-1, add_indicator=True)
        >>> filled = imputer.fit_transform(np.array([[1.0], [-1.0], [3.0]]))
        >>> imputer.inverse_transform(filled).tolist()
        [[1.0], [-1.0], [3.0]]
        """
        if not self.add_indicator:
            raise ParameterError(
                "'inverse_transform' works only when 'SimpleImputer' is instantiated with "
                f"'add_indicator=True'. Got 'add_indicator={self.add_indicator}' instead."
            )
        return super().inverse_transform(X)

    def _group_form(self) -> GroupedFilling | None:
        return GroupedFilling() if self.strategy == "mean" and not self.marks else None

    @property
    def marks(self) -> bool:
        """Whether it does more than fill in what is null or NaN: it looks for a mark, or makes indicators."""
        return self._mark is not None or self.add_indicator

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        shard = self._unmarked_shard(shard, names)
        example = shard.example
        text = [name for name in names if _is_text(example, name)]
        if not self._takes_text:
            self._refuse_text([name for name in text if not _is_null(example, name)])
        self.text_ = text if self._takes_text else []
        self._note_vectors(example, names)
        numeric = [name for name in names if name not in self.text_]
        if self.strategy == "constant":
            self._check_fill_value(numeric)
        found = self._found(shard, numeric) if names else []
        values = dict(self._by_name([*numeric, *self.text_], found))
        ordered = [value for name in names for value in values[name]]
        self.statistics_ = np.array(ordered, dtype=object if self.text_ else np.float64)
        self._note_indicators(shard, names, task)
        self._restored()

    @property
    def _takes_text(self) -> bool:
        return isinstance(self.strategy, str) and self.strategy in ("most_frequent", "constant")

    def _refuse_text(self, text: list[str]) -> None:
        if text:
            raise self._not_numeric(f"could not convert string to float: columns {text} hold categories")

    def _not_numeric(self, fact: str) -> SchemaError:
        return SchemaError(
            f"Cannot use {self.strategy} strategy with non-numeric data:\n{fact}. "
            "Choose columns=og.numeric(), or strategy='most_frequent'."
        )

    def _restored(self) -> None:
        values = dict(self._by_name(self.selected_, self.statistics_.tolist()))
        empty = {name for name, own in values.items() if name not in self.vectors_ and is_nan(own[0])}
        kept = {name: own for name, own in values.items() if name not in empty}
        self._gone = [name for name in values if name in empty]
        self._words = {name: own[0] for name, own in kept.items() if name in self.text_}
        self._vectors = {name: np.array(own) for name, own in kept.items() if name in self.vectors_}
        self._names = [name for name in kept if name not in self._words and name not in self._vectors]
        self._values = np.array([kept[name][0] for name in self._names], dtype=np.float64)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        batch = self._unmarked(batch, names)
        new: dict[str, Any] = dict(self._indicators(batch))
        if self._names:
            new |= matrix_columns(filled(batch.matrix(self._names), self._values), self._names)
        for name, word in self._words.items():
            new[name] = pc.fill_null(as_text(batch[name]), word)
        for name, values in self._vectors.items():
            new[name] = _filled_vectors(batch, name, values)
        if batch.num_rows:
            self._warn_of_empty()
        return batch.with_columns(new).drop(self._gone)

    def _revert(self, batch: Batch) -> Batch:
        gone = {name: made for made, name in self.indicators_.items()}
        holes = {name: indicated(batch[made]) for name, made in gone.items()}
        columns: dict[str, Column] = {}
        for name in self.columns_:
            if name in self.vectors_:
                columns[name] = self._reverted_vectors(batch[name], name, holes.get(name), gone.get(name, ""))
            elif name in self._gone:
                columns[name] = self._unknown(name, batch.num_rows)
            elif name in batch.columns:
                columns[name] = marked(batch[name], holes[name], self._mark) if name in holes else batch[name]
        others = batch.drop([*columns, *self.indicators_]).columns
        return Batch({**columns, **others}, batch.num_rows)

    def _unknown(self, name: str, rows: int) -> pa.Array:
        """A column of missing values."""
        kind = pa.string() if name in self.text_ else pa.float64()
        return marked(pa.nulls(rows, kind), np.ones(rows, dtype=bool), self._mark)

    def _reverted_vectors(self, column: Column, name: str, holes: Any, made: str) -> Matrix:
        values, mark = self._vectors[name], np.nan if self._mark is None else self._mark
        assert isinstance(column, Matrix)
        out = np.full((len(column), len(values)), mark, dtype=np.float64)
        X = column.values
        out[:, ~np.isnan(values)] = X.toarray() if is_sparse(X) else X
        if holes is not None:
            places = self.indicated_[made]
            out[:, places] = np.where(holes, mark, out[:, places])
        names = column.names if len(column.names) == len(values) else VectorNames(name, len(values))
        return Matrix(sp.csr_array(out) if is_sparse(X) else out, names)

    def _found(self, shard: Shard, numeric: list[str]) -> list[Any]:
        """The statistics of the columns of numbers, then those of the columns of text."""
        width = shard.example.matrix(numeric).shape[1] if numeric else 0
        if callable(self.strategy):
            found = self._called(self.strategy, shard, numeric)
        else:
            found = getattr(self, f"_{self.strategy}")(shard, numeric, width)
        if not self.keep_empty_features:
            return list(found)
        return [self._constant_at(j < width) if is_nan(value) else value for j, value in enumerate(found)]

    def _mean(self, shard: Shard, numeric: list[str], width: int) -> list[float]:
        moments = shard.reduce(lambda batch: Moments.of(checked_matrix(batch, numeric)), encoded=True)
        return np.where(moments.n > 0, moments.mean, np.nan).tolist()

    def _median(self, shard: Shard, numeric: list[str], width: int) -> list[float]:
        return column_quantiles(shard, numeric, [0.5])[0].tolist() if numeric else []

    @staticmethod
    def _called(strategy: Callable[[np.ndarray], float], shard: Shard, numeric: list[str]) -> list[float]:
        """What a function makes of the values of each column."""
        gathered = shard.reduce(lambda batch: Gathered(tuple(present_values(batch, numeric))), encoded=True)
        return [float(strategy(np.sort(own))) if len(own) else np.nan for own in gathered.values]

    def _most_frequent(self, shard: Shard, numeric: list[str], width: int) -> list[Any]:
        text = self.text_
        counts = shard.reduce(lambda batch: tuple(value_counts(batch, numeric, text)), encoded=True)
        most = [each.most_frequent() for each in counts]
        return [np.nan if value is None else value for value in most]

    def _constant(self, shard: Shard, numeric: list[str], width: int) -> list[Any]:
        names = [*numeric, *self.text_]
        present = shard.reduce(
            lambda batch: batch.num_rows - count_missing(batch, names=names),
            encoded=True,
        )
        return [self._constant_at(j < width) if n else np.nan for j, n in enumerate(present.tolist())]

    def _constant_at(self, numeric: bool) -> Any:
        if self.strategy == "constant" and self.fill_value is not None:
            return self.fill_value
        return 0.0 if numeric else _TEXT

    def _check_fill_value(self, numeric: list[str]) -> None:
        if self.fill_value is None:
            return
        for names, kind, expected in ((numeric, Real, "numbers"), (self.text_, str, "text")):
            if names and not isinstance(self.fill_value, kind):
                raise ParameterError(
                    f"fill_value={self.fill_value!r} (of type {type(self.fill_value)!r}) cannot be cast to "
                    f"{expected}, as columns {names} hold. Give these columns a SimpleImputer of their own."
                )

    def _warn_of_empty(self) -> None:
        parts = [f"{name}[{j}]" for name, own in self._vectors.items() for j in np.flatnonzero(np.isnan(own))]
        if self._gone or parts:
            warnings.warn(
                f"Skipping features without any observed values: {[*self._gone, *parts]}. At least one "
                f"non-missing value is needed for imputation with strategy={self.strategy!r}.",
                stacklevel=2,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.categorical = self._takes_text
        tags.transformer_tags.preserves_dtype = KEPT_TYPES
        return tags

    def _to_onnx(self, table: Table) -> Table:
        self._check_exportable()
        graph, filled = table.graph, table
        if self._names:
            X = graph.finite(table.matrix(self._names, "SimpleImputer"), "SimpleImputer", missing=True)
            filled = filled.with_numbers(graph.fill(X, self._values), self._names)
        for name, word in self._words.items():
            filled = filled.with_columns({name: table[name].filled(graph, word)})
        for name, values in self._vectors.items():
            X = graph.fill(table[name].tensor, np.nan_to_num(values))
            kept = np.flatnonzero(~np.isnan(values))
            X = X if len(kept) == len(values) else graph.node("Gather", X, graph.constant(kept), axis=1)
            filled = filled.with_columns({name: OnnxColumn(X, width=len(kept))})
        return filled.drop(self._gone)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        self._check_exportable()
        blocks = [self._block(name, flow, self._names, self._values.tolist(), False)] if self._names else []
        if self._words:
            words = self._words
            blocks.append(self._block(f"{name}_text", flow, list(words), list(words.values()), True))
        order = [column for column in flow.columns if column not in self._gone]
        return flow.then(name, flow.beside(self.selected_, blocks), order)

    def _block(self, name: str, flow: Flow, names: list[str], values: list[Any], text: bool) -> Block:
        """scikit-learn's imputer of some columns: it saw one row, what it is to fill in."""
        odd = [column for column in names if flow.columns[column].text != text]
        if odd:
            raise refusal(self, f"columns {odd} had no value at fit.", "Leave them out, and fit.")
        strategy = self.strategy if self.strategy in ("mean", "median") else "most_frequent"
        imputer = twin("impute.SimpleImputer", strategy=strategy)
        if text and flow.frame:
            imputer.set_output(transform="pandas")
        block = flow.block(names, name, imputer)
        tiny = flow.tiny(block.labels, [values])
        imputer.fit(tiny.astype(object) if text else tiny)
        block.row = values
        return block

    def _check_exportable(self) -> None:
        if self.marks:
            raise refusal(
                self,
                f"it has missing_values={self.missing_values!r}, add_indicator={self.add_indicator}.",
                "Leave those out, or keep it with save().",
            )


def _is_text(example: Batch, name: str) -> bool:
    column = example[name]
    if holds_text(column):
        return True
    if isinstance(column, Matrix) or is_numeric(column.type):
        return False
    raise SchemaError(f"Column {name!r} is of type {column.type}; SimpleImputer takes numbers and text.")


def _is_null(example: Batch, name: str) -> bool:
    column = example[name]
    return not isinstance(column, Matrix) and pa.types.is_null(column.type)


def _filled_vectors(batch: Batch, name: str, values: np.ndarray) -> Matrix:
    column, kept = batch[name], ~np.isnan(values)
    assert isinstance(column, Matrix)
    names = tuple(n for n, keep in zip(column.names, kept, strict=True) if keep)
    X = batch.matrix([name])
    return Matrix(filled(X if kept.all() else X[:, kept], values[kept]), names)
