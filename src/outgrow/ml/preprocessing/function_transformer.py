"""Columns by a function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.data.names import distinct, numbered
from outgrow.data.schema_file import arrow_type
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.core import functions
from outgrow.ml.core.column_types import ColumnTypes
from outgrow.ml.core.columns import Columns, require_numeric
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import COLUMNS, FLAG, FUNCTION, LIST, MAPPING, OneOf, Unused
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin

_ONNX = {"exp": "Exp", "log": "Log", "sqrt": "Sqrt", "absolute": "Abs", "negative": "Neg", "tanh": "Tanh"}


class FunctionTransformer(InvertibleTransformer):
    """Change columns by a function, row by row.

    The function meets the rows in parts, here and on a cluster, in an order that is not promised, and once
    without any rows while learning: it must look at each row alone, or the answer depends on the parts.

    A model can be saved whose function is one of NumPy's or SciPy's own of numbers, such as `numpy.log1p` or
    `scipy.special.expit`, or one that a module registers by `@outgrow.FunctionTransformer.register`; who
    loads the model imports that module first. Others, such as lambdas, work until the session ends: nothing
    is ever pickled into a model.

    Parameters
    ----------
    func : what changes the rows; None for nothing.
    inverse_func : what changes them back; None for nothing.
    columns : which columns, by name or selector; all by default. They are replaced by what comes out.
    takes : 'array' for functions from an array of shape (rows, width), missing values as NaN, to another;
        'table' for functions from a `pyarrow.Table` to one, or to a dictionary of columns.
    validate, check_inverse : as scikit-learn has them, without effect.
    accept_sparse : give sparse rows to the function; otherwise they are refused.
    feature_names_out : what the columns are called that come out of an array: 'one-to-one' for the names of
        those that went in, a list of names, or a function of this transformer and the names that went in. By
        default they keep their names where they are as many.
    kw_args, inv_kw_args : further arguments of the functions.

    Attributes
    ----------
    input_names_, output_names_ : list of the names of what goes in and comes out, vectors spelt out.
    output_types_ : by name the types of columns that are made as lists of Python, of which only rows tell.
    output_name_ : what the new columns are called together.

    Notes
    -----
    Unlike scikit-learn: the function gets the rows in parts; `feature_names_out` may be a list.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, outgrow as og
    >>> og.FunctionTransformer(np.log2).fit_transform(np.array([[1.0, 2.0], [4.0, 8.0]])).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    >>> def speed(rows):
    ...     return {"kmh": rows["wind"].to_numpy() * 3.6}
    >>> rows = pa.table({"wind": [10.0, 20.0], "sky": ["clear", "grey"]})
    >>> og.FunctionTransformer(speed, takes="table", columns=["wind"]).fit_transform(rows).to_pydict()
    {'kmh': [36.0, 72.0], 'sky': ['clear', 'grey']}
    """

    learns_nothing = True
    stem: ClassVar[str] = "functiontransformer"
    parameters = {
        "func": FUNCTION | None,
        "inverse_func": FUNCTION | None,
        "columns": COLUMNS,
        "takes": OneOf("array", "table"),
        "validate": Unused(FLAG),
        "accept_sparse": FLAG,
        "check_inverse": Unused(FLAG),
        "feature_names_out": OneOf("one-to-one", None) | LIST | FUNCTION,
        "kw_args": MAPPING | None,
        "inv_kw_args": MAPPING | None,
    }
    input_names_: list[str]
    output_names_: list[str]
    output_types_: dict[str, str]
    output_name_: str
    register = staticmethod(functions.register)

    def __init__(
        self,
        func: Callable[..., Any] | None = None,
        inverse_func: Callable[..., Any] | None = None,
        *,
        columns: Columns = None,
        takes: str = "array",
        validate: bool = False,
        accept_sparse: bool = False,
        check_inverse: bool = True,
        feature_names_out: Any = None,
        kw_args: Mapping[str, Any] | None = None,
        inv_kw_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.func = func
        self.inverse_func = inverse_func
        self.columns = columns
        self.takes = takes
        self.validate = validate
        self.accept_sparse = accept_sparse
        self.check_inverse = check_inverse
        self.feature_names_out = feature_names_out
        self.kw_args = kw_args
        self.inv_kw_args = inv_kw_args

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        example = shard.example
        if self.takes == "array":
            require_numeric(example, names, type(self).__name__)
        self.input_names_ = list(column_names(example.select(names)))
        self.output_names_, self.output_name_ = self.input_names_, self.stem
        self.output_types_ = {}
        if not names:
            return
        others = example.drop(names)
        taken = {*others.columns, *column_names(others)}
        self.output_name_ = numbered(self.stem, taken)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of means and the like of no rows
            made = self._made(example, names)
        if isinstance(made, pa.Table):
            self.output_names_ = list(made.column_names)
            self.output_types_ = self._types(shard, names, made)
        else:
            self.output_names_ = distinct(self._labels(made.shape[1]), taken)

    def _types(self, shard: Shard, names: list[str], made: pa.Table) -> dict[str, str]:
        """The types of what the function makes, where no rows do not tell, as with lists of Python."""
        if not any(map(pa.types.is_null, made.schema.types)):
            return {}
        seen = shard.reduce(lambda batch: ColumnTypes.of(self._made(batch, names)), empty=ColumnTypes())
        return dict(seen.types)

    def _labels(self, width: int) -> list[str]:
        names, inputs = self.feature_names_out, self.input_names_
        if callable(names):
            names = list(names(self, np.array(inputs, dtype=object)))
        if names is None:
            names = "one-to-one" if width == len(inputs) else [f"{self.stem}{j}" for j in range(width)]
        labels = inputs if isinstance(names, str) else [str(name) for name in names]
        if len(labels) != width:
            raise ParameterError(
                f"FunctionTransformer(feature_names_out=...) gives {len(labels)} names, and the function "
                f"makes {width} columns. Name each of them."
            )
        return labels

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = self._made(batch, names)
        if isinstance(made, pa.Table):
            return batch.replace(names, _columns_of(_typed(made, self.output_types_)))
        if self.func is None:
            return batch
        return batch.replace_numbers(names, made, self.output_names_, self.output_name_)

    def _made(self, batch: Batch, names: list[str]) -> Any:
        return self._called(self.func, self.kw_args, batch, names)

    def _called(
        self, function: Any, arguments: Mapping[str, Any] | None, batch: Batch, names: list[str]
    ) -> Any:
        """What a function makes of columns: an array, or a table."""
        table = self.takes == "table"
        rows = (
            pa.Table.from_batches([batch.select(names).to_arrow()]) if table else self._matrix(batch, names)
        )
        if function is None:
            return rows
        try:
            made = function(rows, **(arguments or {}))
            made = _as_table(made) if table else _as_matrix(made)
        except Exception as error:
            raise DataError(
                f"The function {_shown(function)} failed on {batch.num_rows} rows of {list(names)}: "
                f"{type(error).__name__}: {error}. It must take any number of rows, and none as well."
            ) from error
        count = len(made) if table else made.shape[0]
        if count != batch.num_rows:
            raise DataError(
                f"The function {_shown(function)} made {count} rows of {batch.num_rows}. It must make one of "
                "each."
            )
        return made

    def _matrix(self, batch: Batch, names: list[str]) -> Any:
        X = batch.matrix(names)
        if is_sparse(X) and not self.accept_sparse:
            raise ParameterError(
                "FunctionTransformer does not support sparse input unless accept_sparse=True. Then the "
                "function gets CSR arrays."
            )
        return X

    def _revert(self, batch: Batch) -> Batch:
        names = [self.output_name_] if self.output_name_ in batch.columns else self.output_names_
        made = self._called(self.inverse_func, self.inv_kw_args, batch, names)
        if isinstance(made, pa.Table):
            return batch.replace(names, _columns_of(made))
        dense = made.toarray() if is_sparse(made) else np.asarray(made)
        if self.inverse_func is None and dense.shape[1] != len(self.input_names_):
            return batch
        return batch.replace_numbers(names, dense, self.input_names_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = self.accept_sparse
        tags.input_tags.string = tags.input_tags.categorical = self.takes == "table"
        return tags

    def _to_onnx(self, table: Table) -> Table:
        name = functions.name_of(self.func) if self.func is not None else None
        kind = _ONNX.get((name or "").removeprefix("numpy:"))
        if self.func is None:
            return table
        if kind is None or self.kw_args or self.takes != "array" or self.output_names_ != self.selected_:
            raise refusal(
                self, f"{_shown(self.func)} has no equal in ONNX.", f"It has numpy's {', '.join(_ONNX)}."
            )
        X = table.matrix(self.selected_, type(self).__name__)
        return table.with_numbers(table.graph.node(kind, X), self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.takes != "array":
            raise refusal(self, "its function takes tables.", "Let it take arrays.")
        arguments = None if self.kw_args is None else dict(self.kw_args)
        made = twin("preprocessing.FunctionTransformer", self.func, kw_args=arguments, check_inverse=False)
        made.set_params(feature_names_out=None if flow.frame and self._widens else "one-to-one")
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, np.ones((2, len(block.labels)))))
        block.makes = [(column, 1) for column in self.output_names_]
        block.row = [1.0] * len(block.labels)
        return flow.then(name, flow.beside(self.selected_, [block]))

    @property
    def _widens(self) -> bool:
        return len(self.output_names_) != len(self.input_names_)


def _as_matrix(made: Any) -> Any:
    if is_sparse(made):
        return made.tocsr()
    X = np.asarray(made)
    if X.ndim != 2:
        raise TypeError(f"it gave an array of shape {X.shape}, not (rows, width)")
    return X.astype(np.float64, copy=False)


def _as_table(made: Any) -> pa.Table:
    return made if isinstance(made, pa.Table) else pa.table(made)


def _typed(table: pa.Table, types: Mapping[str, str]) -> pa.Table:
    """A table with the types that were learned."""
    wanted = [(name, arrow_type(types[name]) if name in types else kind) for name, kind in _pairs(table)]
    try:
        return table.cast(pa.schema(wanted)) if types else table
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"The function made {dict(_pairs(table))}, and in the fit {dict(types)}: {error}. "
            "Give arrays with a type."
        ) from None


def _pairs(table: pa.Table) -> Sequence[tuple[str, pa.DataType]]:
    return list(zip(table.schema.names, table.schema.types, strict=True))


def _columns_of(table: pa.Table) -> Mapping[str, Any]:
    arrays: Sequence[pa.Array] = [column.combine_chunks() for column in table.columns]
    return Batch.from_arrow(pa.RecordBatch.from_arrays(arrays, schema=table.schema)).columns


def _shown(function: Any) -> str:
    return str(getattr(function, "__qualname__", repr(function)))
