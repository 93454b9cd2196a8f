"""Missing values in columns: finding them, marking them, filling them in."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.matrix import Column, Matrix, is_sparse, numbers
from outgrow.engine.checks import check_finite
from outgrow.errors import ParameterError

_ALTERED = (np.dtype(object), np.dtype(np.float32), np.dtype(np.float16))


def is_nan(value: Any) -> bool:
    """Whether a value does not equal itself."""
    return bool(value != value)


def refuse_zero(mark: Any, sparse: bool) -> None:
    """Refuse zeros as missing values of sparse rows.

    Parameters
    ----------
    mark : what stands for a missing value.
    sparse : whether the rows are.

    Raises
    ------
    ParameterError
        When all that is not stored would be missing.
    """
    if sparse and isinstance(mark, Real) and mark == 0:
        raise ParameterError(
            "Imputation not possible when missing_values == 0 and input is sparse. "
            "Provide a dense array instead."
        )


def unmarked_array(X: Any, mark: Any) -> Any:
    """An array of objects or of short floats without the mark, which later may not be what it was.

    Parameters
    ----------
    X : what a user gave; nothing but such an array is changed, and that in a copy.
    mark : what stands for a missing value.

    Returns
    -------
    None stands for the mark in objects, NaN in floats.
    """
    if not isinstance(X, np.ndarray) or X.dtype not in _ALTERED:
        return X
    holes = mark == X
    nothing: Any = None if X.dtype.kind == "O" else np.array(np.nan, dtype=X.dtype)
    return np.where(holes, nothing, X) if np.any(holes) else X


def unmarked(batch: Batch, *, names: Sequence[str], mark: Any) -> Batch:
    """A batch with nulls where a column holds the mark.

    Parameters
    ----------
    batch : is not changed.
    names : of the columns that are looked at.
    mark : a number or a text; not None.
    """
    return batch.with_columns({name: _without(batch[name], mark) for name in names})


def _without(column: Column, mark: Any) -> Column:
    if isinstance(column, Matrix):
        return _matrix_without(column, mark) if isinstance(mark, Real) else column
    if is_numeric(column.type) != isinstance(mark, Real) or pa.types.is_null(column.type):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain = numbers(column) if isinstance(mark, Real) else None
    gone = pa.array(plain == mark) if plain is not None else pc.equal(column, pa.scalar(mark, column.type))
    return pc.if_else(pc.fill_null(gone, False), pa.scalar(None, column.type), column)


def _matrix_without(column: Matrix, mark: Any) -> Matrix:
    refuse_zero(mark, column.sparse)
    values = column.values.astype(np.float64)
    part = values.data if is_sparse(values) else values
    part[part == mark] = np.nan
    return Matrix(values, column.names)


def marked(column: pa.Array, gone: np.ndarray, mark: Any) -> pa.Array:
    """A column whose values at some rows are missing again.

    Parameters
    ----------
    column : numbers or text.
    gone : boolean of shape (rows,).
    mark : what stands for a missing value; null is put where it is None, or does not fit the column's type.
    """
    fits = mark is not None and isinstance(mark, Real) == is_numeric(column.type)
    return pc.if_else(pa.array(gone), pa.scalar(mark if fits else None, column.type), column)


def missing(column: Column) -> Any:
    """Whether values are missing: of shape (rows,), of vectors dense or CSR of shape (rows, width)."""
    if not isinstance(column, Matrix):
        return column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if not column.sparse:
        return np.isnan(column.values)
    X = column.values
    holes = sp.csr_array((np.isnan(X.data), X.indices, X.indptr), shape=X.shape, copy=True)
    holes.eliminate_zeros()
    return holes


def filled(X: Any, values: np.ndarray) -> Any:
    """A matrix without NaN; X itself where it has none.

    Parameters
    ----------
    X : shape (rows, columns), dense or CSR; not changed.
    values : shape (columns,), what is filled in.

    Raises
    ------
    DataError
        When a value is infinite.
    """
    if is_sparse(X):
        return _filled_sparse(X, values)
    with np.errstate(all="ignore"):
        sums = X.sum(axis=0)
    if np.isfinite(sums).all():
        return X
    check_finite(X, "X", missing=True)
    X = X.copy(order="F")
    for j in np.flatnonzero(np.isnan(sums)):
        column = X[:, j]
        column[np.isnan(column)] = values[j]
    return X


def _filled_sparse(X: Any, values: np.ndarray) -> Any:
    check_finite(X.data, "X", missing=True)
    gone = np.isnan(X.data)
    if not gone.any():
        return X
    X = X.copy()
    X.data[gone] = values[X.indices[gone]]
    return X


def indicated(column: Column) -> np.ndarray:
    """Where an indicator says that something is missing."""
    if not isinstance(column, Matrix):
        return numbers(column) > 0
    return np.asarray((column.values.toarray() if column.sparse else column.values) > 0)


def as_text(column: Column) -> pa.Array:
    assert not isinstance(column, Matrix)
    if pa.types.is_dictionary(column.type) and pa.types.is_floating(column.type.value_type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):  # NaN, which is missing, would become a word
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.string())
