"""Matrices and Arrow columns: one made of the other, without a copy where the values lie side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.decimals import decimal_numbers


@dataclass(frozen=True, eq=False)
class Matrix:
    """A column of vectors: `values` is a dense 2-D array or a CSR array, `names` names its columns."""

    values: Any
    names: Sequence[str]

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def sparse(self) -> bool:
        return is_sparse(self.values)

    @property
    def nbytes(self) -> int:
        if self.sparse:
            return sum(part.nbytes for part in (self.values.data, self.values.indices, self.values.indptr))
        return int(self.values.nbytes)

    def slice(self, start: int, length: int) -> Matrix:
        """Consecutive rows, without a copy where the values are dense.

        Parameters
        ----------
        start : the first row.
        length : how many rows; fewer are given where the matrix ends before.
        """
        return Matrix(self.values[start : start + length], self.names)


Column: TypeAlias = pa.Array | Matrix


class ArrayColumns(Mapping[str, Column]):
    """The columns of a dense array of numbers, each made when it is asked for, and others beside them.

    Parameters
    ----------
    whole : the array, with the names of its columns.
    beside : further columns by name.
    """

    def __init__(self, whole: Matrix, beside: Mapping[str, Column]) -> None:
        self.whole = whole
        self.beside = beside

    def __getitem__(self, name: str) -> Column:
        if name in self.beside:
            return self.beside[name]
        index = self._places[name]
        return matrix_columns(self.whole.values[:, index : index + 1], [name])[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.whole.names
        yield from self.beside

    def __len__(self) -> int:
        return self.whole.width + len(self.beside)

    def __contains__(self, name: object) -> bool:
        return name in self.beside or name in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.whole.names)}

    def items(self) -> Any:
        """Names and columns; all of the array are made at once."""
        return {**matrix_columns(self.whole.values, self.whole.names), **self.beside}.items()

    def values(self) -> Any:
        return [column for _, column in self.items()]

    def some(self, names: Sequence[str]) -> ArrayColumns | None:
        """Some of the columns; None where there is none of the array, or one of the others comes before.

        Parameters
        ----------
        names : of the columns that are wanted, each once.
        """
        count = sum(name in self._places for name in names)
        of_array = tuple(names[:count])
        if not count or not all(name in self._places for name in of_array):
            return None
        beside = {name: self.beside[name] for name in names[count:] if name in self.beside}
        if len(beside) < len(names) - count:
            return None
        if of_array == self.whole.names:
            return ArrayColumns(self.whole, beside)
        values = self.whole.values[:, [self._places[name] for name in of_array]]
        return ArrayColumns(Matrix(values, of_array), beside)

    def changed(self, change: Callable[[Column], Column]) -> ArrayColumns:
        """The array and each column beside it after a change of their rows.

        Parameters
        ----------
        change : gives a matrix for a matrix, and an Arrow array for an Arrow array.
        """
        whole: Any = change(self.whole)
        return ArrayColumns(whole, {name: change(column) for name, column in self.beside.items()})


def frozen(values: np.ndarray) -> np.ndarray:
    """A view that nobody can write to: its memory may be a user's."""
    view = values.view()
    view.flags.writeable = False
    return view


def matrix_columns(values: np.ndarray, names: Sequence[str]) -> dict[str, pa.Array]:
    """A dense matrix as one Arrow column each, without a copy where it is column-major.

    Parameters
    ----------
    values : shape (rows, columns); of any numeric type or boolean.
    names : one for each column.

    Returns
    -------
    Arrays by name, of the type of `values`, without nulls: NaN stays NaN.
    """
    values = np.asfortranarray(values)
    kind = pa.from_numpy_dtype(values.dtype)
    if kind == pa.bool_():
        return {name: pa.array(values[:, j]) for j, name in enumerate(names)}
    length = values.shape[0]
    buffers = map(pa.py_buffer, (values[:, j] for j in range(len(names))))
    return {
        name: pa.Array.from_buffers(kind, length, [None, buffer], 0)
        for name, buffer in zip(names, buffers, strict=True)
    }


def is_sparse(values: Any) -> bool:
    """Whether this is a SciPy sparse matrix or array."""
    return not isinstance(values, np.ndarray) and bool(sp.issparse(values))


def moved(X: Any, shift: np.ndarray, factor: np.ndarray) -> Any:
    """(X - shift) * factor; of CSR a CSR array, in which only columns with a shift become dense.

    Parameters
    ----------
    X : ndarray or CSR array of shape (rows, width).
    shift, factor : ndarrays of shape (width,).
    """
    if not is_sparse(X):
        return (X - shift) * factor
    stays = np.where(shift == 0, factor, 0.0)
    near = sp.csr_array((X.data * stays[X.indices], X.indices, X.indptr), X.shape)
    moves = np.flatnonzero((shift != 0) & (factor != 0)).astype(X.indices.dtype)
    if not len(moves):
        return near
    dense = (X[:, moves].toarray() - shift[moves]) * factor[moves]
    starts = np.arange(0, dense.size + 1, len(moves))
    return near + sp.csr_array((dense.ravel(), np.tile(moves, len(dense)), starts), X.shape)


def numbers(array: pa.Array) -> np.ndarray:
    """A numeric Arrow column as NumPy, nulls as NaN; no copy for floats and integers without nulls."""
    if pa.types.is_decimal(array.type):
        return decimal_numbers(array)
    if pa.types.is_null(array.type):
        array = array.cast(pa.float64())
    if array.null_count and pa.types.is_boolean(array.type):
        array = array.cast(pa.float64())
    return array.to_numpy(zero_copy_only=False)


def dense_matrix(columns: Sequence[Column], rows: int, dtype: Any) -> np.ndarray:
    """Columns side by side, copied.

    Parameters
    ----------
    columns : numbers, or vectors of them, at least one.
    rows : how many they have.
    dtype : of the numbers.
    """
    width = sum(column.width if isinstance(column, Matrix) else 1 for column in columns)
    out = np.empty((rows, width), dtype=dtype, order="F")
    at = 0
    for column in columns:
        if isinstance(column, Matrix):
            out[:, at : at + column.width] = column.values
            at += column.width
        else:
            out[:, at] = numbers(column)
            at += 1
    return out


def matrix_of_rows(columns: Sequence[Column], rows: np.ndarray, dtype: Any) -> np.ndarray:
    """Some rows of columns side by side.

    Parameters
    ----------
    columns : numbers, or vectors of them, at least one.
    rows : the indices of the rows, in the order wanted.
    dtype : of the numbers.
    """
    width = sum(column.width if isinstance(column, Matrix) else 1 for column in columns)
    out = np.empty((len(rows), width), dtype=dtype, order="F")
    at = 0
    for column in columns:
        values = column.values.T if isinstance(column, Matrix) else [numbers(column)]
        for column_values in values:
            # a mode other than the default, which first copies what it is to write to
            np.take(column_values.astype(dtype, copy=False), rows, out=out[:, at], mode="clip")
            at += 1
    return out


def sparse_matrix(columns: Sequence[Column], dtype: Any) -> sp.csr_array:
    """Columns side by side, of which some are sparse, as a CSR array.

    Parameters
    ----------
    columns : numbers, or vectors of them, at least one.
    dtype : of the numbers.
    """
    parts: list[Any] = []
    for dense, group in _runs(columns):
        if dense:
            parts.append(stored(dense_matrix(group, len(group[0]), dtype)))
        else:
            parts.extend(
                column.values.astype(dtype, copy=False) for column in group if isinstance(column, Matrix)
            )
    return parts[0] if len(parts) == 1 else sp.hstack(parts, format="csr")


def stored(values: np.ndarray) -> sp.csr_array:
    """A dense matrix as CSR that stores its zeros too: they are numbers, where others are but absent."""
    rows, width = values.shape
    indices = np.tile(np.arange(width, dtype=np.int32), rows)
    ends = np.arange(rows + 1, dtype=np.int64) * width
    return sp.csr_array((np.ascontiguousarray(values).ravel(), indices, ends), shape=values.shape)


def _runs(columns: Sequence[Column]) -> list[tuple[bool, list[Column]]]:
    """Neighbours grouped by whether they are dense."""
    runs: list[tuple[bool, list[Column]]] = []
    for column in columns:
        dense = not (isinstance(column, Matrix) and column.sparse)
        if runs and runs[-1][0] == dense:
            runs[-1][1].append(column)
        else:
            runs.append((dense, [column]))
    return runs


class _Strided:
    """Memory that other arrays own, described to NumPy; it keeps those arrays alive."""

    def __init__(self, owners: Sequence[Column], interface: dict[str, Any]) -> None:
        self.owners = owners
        self.__array_interface__ = interface


def side_by_side(columns: Sequence[Column], dtype: Any) -> np.ndarray | None:
    """A view of columns whose values lie one after the other in memory, or None.

    Parameters
    ----------
    columns : numbers, or vectors of them, at least one.
    dtype : what the numbers must be.
    """
    if len(columns) == 1 and isinstance(columns[0], Matrix) and columns[0].values.dtype == dtype:
        return columns[0].values
    kind = pa.from_numpy_dtype(np.dtype(dtype))
    arrays = [column for column in columns if not isinstance(column, Matrix)]
    if len(columns) < 2 or len(arrays) < len(columns):
        return None
    if any(array.type != kind or array.null_count for array in arrays):
        return None
    rows, item = len(columns[0]), np.dtype(dtype).itemsize
    starts = [array.buffers()[1].address + array.offset * item for array in arrays]
    # With a gap between the columns, foreign memory could lie within the bounds of the view, and NumPy, which
    # looks for overlap by bounds, would not know the two apart.
    if rows == 0 or any(b - a != rows * item for a, b in pairwise(starts)):
        return None
    shape, strides = (rows, len(columns)), (item, rows * item)
    interface = {
        "data": (starts[0], True),
        "shape": shape,
        "strides": strides,
        "typestr": np.dtype(dtype).str,
        "version": 3,
    }
    return np.asarray(_Strided(columns, interface))
