"""Tables as DataFrames of pandas: no value becomes another one, and columns keep the types they came with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow._optional import optional
from outgrow.data.exact import EXACT
from outgrow.data.pandas_frames import is_frame
from outgrow.errors import DataError

_SHOWN = 5
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def to_frame(table: pa.Table, like: Any = None) -> Any:
    """A table as a DataFrame of pandas.

    Parameters
    ----------
    table : the rows.
    like : the DataFrame that they were made of: columns of a name and an Arrow type that it has get the types
        that pandas has for them there. Others, and all without it, are NumPy's, but whole numbers with
        missing values that float64 would change are pandas' nullable ones.

    Raises
    ------
    DataError
        When pandas has no such values, as of days after the year 9999.
    """
    kinds = {**_nullable(table), **_dtypes(table, like)}
    if not kinds:
        return _plain_frame(table)
    plain = _plain_frame(table.select([name for name in table.column_names if name not in kinds]))
    columns = {
        name: kinds[name].__from_arrow__(table[name]) if name in kinds else plain[name]
        for name in table.column_names
    }
    return optional("pandas", "spark").DataFrame(columns)


def _plain_frame(table: pa.Table) -> Any:
    """A DataFrame of NumPy's types; which column cannot be one is said with its name."""
    try:
        return table.to_pandas()
    except Exception as error:  # of Arrow, pandas or what knows time zones there
        for name, column in zip(table.column_names, table.columns, strict=True):
            try:
                column.to_pandas()
            except Exception as reason:
                raise DataError(
                    f"Column {name!r} of type {column.type} cannot become one of pandas: {reason}. Leave it "
                    "out, cast it, or take the rows as to_arrow() gives them."
                ) from error
        raise


def _nullable(table: pa.Table) -> dict[str, Any]:
    """The types of pandas for columns of whole numbers that are missing and past what float64 keeps apart."""
    kinds = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and pa.types.is_integer(column.type) and column.type.bit_width == 64:
            extremes = [value for value in pc.min_max(column).as_py().values() if value is not None]
            if any(abs(value) > EXACT for value in extremes):
                pandas = optional("pandas", "spark")
                signed = pa.types.is_signed_integer(column.type)
                kinds[name] = pandas.Int64Dtype() if signed else pandas.UInt64Dtype()
    return kinds


def _dtypes(table: pa.Table, like: Any) -> dict[str, Any]:
    """The types of pandas' own that columns had in a DataFrame, where they have the same Arrow type still."""
    kinds: dict[str, Any] = {}
    for j, kind in enumerate(() if like is None else like.dtypes):
        name = str(like.columns[j])
        # categories come back as they were without it, and those that were added must not be lost
        if isinstance(kind, np.dtype) or kind.name == "category" or name not in table.column_names:
            continue
        if _alike(column_array(like.iloc[:0, j]).type, table[name].type):
            kinds[name] = kind
    return kinds


def _alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types are one, or both text, however it is stored."""
    return bool(one == other) or all(any(holds(kind) for holds in _TEXT) for kind in (one, other))


def is_column(values: Any) -> bool:
    """Whether this is one column of a table that NumPy would give another type: of Arrow, of Polars or of a
    type that pandas has of its own.

    Parameters
    ----------
    values : anything.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return True
    if is_frame(values):
        kind = getattr(values, "dtype", None)
        return kind is not None and not isinstance(kind, np.dtype) and not _is_sparse(kind)
    shape = getattr(values, "shape", None)  # of Spark's DataFrames that is a column
    return hasattr(values, "__arrow_c_stream__") and isinstance(shape, tuple) and len(shape) == 1


def column_array(values: Any) -> pa.Array:
    """A column of a table as Arrow has it.

    Parameters
    ----------
    values : for which `is_column` holds.

    Raises
    ------
    DataError
        When Arrow has no such type.
    """
    if isinstance(values, pa.Array):
        return values
    try:
        if is_frame(values):
            values = pa.array(values, from_pandas=True)
        elif not isinstance(values, pa.ChunkedArray):
            values = pa.chunked_array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"A column of type {values.dtype} cannot become one of Arrow: {error}. Give its to_numpy()."
        ) from error
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def order_codes(values: Any) -> np.ndarray:
    """Whole numbers in the order of the values of a column, equal for equal ones; missing ones are last.

    Parameters
    ----------
    values : for which `is_column` holds.
    """
    return np.asarray(pc.rank(column_array(values), tiebreaker="dense").to_numpy(), dtype=np.int64)


def named_columns(frame: Any, error: DataError) -> DataError:
    """Why a DataFrame cannot become a table, with the columns to change and how.

    Parameters
    ----------
    frame : a DataFrame of pandas that was refused.
    error : the refusal.
    """
    kinds = {str(name): kind for name, kind in zip(frame.columns, frame.dtypes, strict=True)}
    sparse = [name for name, kind in kinds.items() if _is_sparse(kind)]
    complexes = [name for name, kind in kinds.items() if kind.kind == "c"]
    if complexes:
        return DataError(
            f"Complex data not supported: column(s) {complexes[:_SHOWN]} of the DataFrame. Give the real and "
            "the imaginary part, X[name].to_numpy().real and .imag, as columns of their own."
        )
    if sparse:
        return DataError(
            f"Sparse columns of a DataFrame are not supported: {sparse[:_SHOWN]}. Make them dense with "
            "X[name].sparse.to_dense(), or give X.sparse.to_coo() where all are sparse."
        )
    if "Conversion failed for column" not in str(error):
        return error
    return DataError(
        f"{error}. A column holds values of one type: make it text with X[name].astype(str), or numbers with "
        "pd.to_numeric(X[name]), or leave it out."
    )


def _is_sparse(kind: Any) -> bool:
    return type(kind).__name__ == "SparseDtype"
