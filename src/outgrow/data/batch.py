"""The unit that crosses every border: Arrow columns, and matrices for vectors.

Numeric columns and dense matrices meet in `Batch.matrix`, which copies nothing where the columns already
lie side by side in memory, as they do after a transformer made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.decimals import decimal_numbers
from outgrow.data.names import check_free
from outgrow.data.plain import plain_array
from outgrow.errors import ColumnNotFoundError, SchemaError

MAX_EXPANDED_COLUMNS = 10_000
_RENAME = "Rename those, or leave them out."


@dataclass(frozen=True, eq=False)
class Matrix:
    """A column of vectors: `values` is a dense 2-D array or a CSR array, `names` names its columns."""

    values: Any
    names: tuple[str, ...]

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
        place = self._places[name]
        return matrix_columns(self.whole.values[:, place : place + 1], [name])[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.whole.names
        yield from self.beside

    def __len__(self) -> int:
        return self.whole.width + len(self.beside)

    def __contains__(self, name: object) -> bool:
        return name in self.beside or name in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.whole.names)}

    def items(self) -> Any:
        """Names and columns; all of the array are made at once."""
        return {**matrix_columns(self.whole.values, self.whole.names), **self.beside}.items()

    def values(self) -> Any:
        return [column for _, column in self.items()]

    def changed(self, change: Callable[[Column], Column]) -> ArrayColumns:
        """The array and each column beside it after a change of their rows.

        Parameters
        ----------
        change : gives a matrix for a matrix, and an Arrow array for an Arrow array.
        """
        whole: Any = change(self.whole)
        return ArrayColumns(whole, {name: change(column) for name, column in self.beside.items()})


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows: columns by name, each an Arrow array or a `Matrix`, all of `num_rows` rows."""

    columns: Mapping[str, Column]
    num_rows: int

    @classmethod
    def from_arrow(cls, batch: pa.RecordBatch) -> Batch:
        """The columns in their plain types (see `data/plain.py`), vectors as matrices."""
        names = batch.schema.names
        columns = map(vector_column, map(plain_array, batch.columns), names)
        return cls(dict(zip(names, columns, strict=True)), batch.num_rows)

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """The rows of batches of the same columns as one; numbers come to lie side by side."""
        if len(batches) == 1:
            return batches[0]
        rows = sum(batch.num_rows for batch in batches)
        parts = {name: [batch[name] for batch in batches] for name in batches[0].columns}
        floats = [name for name, columns in parts.items() if all(map(_is_floats, columns))]
        values = np.empty((rows, len(floats)), order="F")
        for j, name in enumerate(floats):
            np.concatenate([numbers(column) for column in parts[name]], out=values[:, j])
        beside = matrix_columns(values, floats)
        return cls(
            {name: beside[name] if name in beside else _concatenated(parts[name]) for name in parts}, rows
        )

    @property
    def nbytes(self) -> int:
        whole = self.columns.whole.nbytes if isinstance(self.columns, ArrayColumns) else 0
        return whole + sum(column.nbytes for column in self.held.values())

    @property
    def held(self) -> Mapping[str, Column]:
        """The columns but those of an array of numbers, which are made when they are asked for."""
        return self.columns.beside if isinstance(self.columns, ArrayColumns) else self.columns

    def __getitem__(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            raise ColumnNotFoundError(f"No column {name!r} among {list(self.columns)}.") from None

    def with_columns(self, new: Mapping[str, Column]) -> Batch:
        """Columns replaced in place, new ones behind."""
        columns = self.columns
        if isinstance(columns, ArrayColumns) and new.keys().isdisjoint(columns.whole.names):
            return Batch(ArrayColumns(columns.whole, {**columns.beside, **new}), self.num_rows)
        return Batch({**columns, **new}, self.num_rows)

    def beside(self, new: Mapping[str, Column], what: str, advice: str) -> Batch:
        """New columns behind those there are.

        Parameters
        ----------
        new : columns of `num_rows` rows by name.
        what : what they are, as the message begins; like 'Predictions'.
        advice : a sentence that ends the message.

        Raises
        ------
        SchemaError
            When a name is taken; it says that `what` would be called so, and gives the advice.
        """
        check_free(new, self.columns, what, advice)
        return self.with_columns(new)

    def select(self, names: Iterable[str]) -> Batch:
        return Batch({name: self[name] for name in names}, self.num_rows)

    def drop(self, names: Iterable[str]) -> Batch:
        gone, columns = set(names), self.columns
        kept = {name: column for name, column in self.held.items() if name not in gone}
        if isinstance(columns, ArrayColumns):
            if gone.isdisjoint(columns.whole.names):
                return Batch(ArrayColumns(columns.whole, kept), self.num_rows)
            kept = {name: column for name, column in columns.items() if name not in gone}
        return Batch(kept, self.num_rows)

    def replace(self, old: Sequence[str], new: Mapping[str, Column]) -> Batch:
        """New columns where the first of some old ones stood, the rest of the old removed.

        Parameters
        ----------
        old : names of columns, at least one.
        new : columns of `num_rows` rows by name; they may have names of `old`.

        Raises
        ------
        SchemaError
            When a name of `new` is that of a column which stays.
        """
        gone, columns = set(old), dict[str, Column]()
        if not new.keys().isdisjoint(self.columns):
            check_free(new, self.columns.keys() - gone, "New columns", _RENAME)
        for name, column in self.columns.items():
            if name not in gone:
                columns[name] = column
            elif name == old[0]:
                columns.update(new)
        return Batch(columns, self.num_rows)

    def filter(self, keep: np.ndarray) -> Batch:
        """The rows for which `keep`, boolean of shape (num_rows,), is true."""
        mask = pa.array(keep)

        def kept(column: Column) -> Column:
            if isinstance(column, Matrix):
                return Matrix(column.values[keep], column.names)
            return column.filter(mask)

        return Batch(self._changed(kept), int(np.count_nonzero(keep)))

    def take(self, rows: np.ndarray) -> Batch:
        """A copy of the rows at these indices, in this order."""
        indices = pa.array(rows)

        def taken(column: Column) -> Column:
            if isinstance(column, Matrix):
                return Matrix(column.values[rows], column.names)
            return column.take(indices)

        return Batch(self._changed(taken), len(rows))

    def slice(self, start: int, length: int) -> Batch:
        """Consecutive rows, without a copy of dense columns.

        Parameters
        ----------
        start : the first row.
        length : how many rows; fewer are given where the batch ends before.
        """
        columns = self._changed(lambda column: column.slice(start, length))
        return Batch(columns, max(0, min(length, self.num_rows - start)))

    def _changed(self, change: Callable[[Column], Column]) -> Mapping[str, Column]:
        """The columns after a change of their rows."""
        if isinstance(self.columns, ArrayColumns):
            return self.columns.changed(change)
        return {name: change(column) for name, column in self.columns.items()}

    def matrix(
        self,
        names: Sequence[str] | None = None,
        dtype: Any = np.float64,
        rows: np.ndarray | None = None,
        order: Literal["C", "F"] = "F",
    ) -> Any:
        """The named columns (all of them by default) as one matrix, missing values as NaN.

        Parameters
        ----------
        names : which columns, in this order.
        dtype : of the numbers.
        rows : the indices of the rows that are wanted, in their order; all of them by default.
        order : 'F' for a matrix whose columns lie one after the other in memory, 'C' for one whose rows do.

        Returns
        -------
        ndarray of shape (rows, width), which shares memory with the columns where it can, or a CSR array when
        any column is sparse.

        Raises
        ------
        SchemaError
            When a column is not numeric.
        """
        columns = self.columns
        if isinstance(columns, ArrayColumns) and names is not None and columns.whole.names == tuple(names):
            values = columns.whole.values
            return _frozen(np.asarray(values if rows is None else values[rows], dtype=dtype, order=order))
        whole = self._columns_matrix(names, dtype, rows)
        return whole if order == "F" or is_sparse(whole) else np.ascontiguousarray(whole)

    def _columns_matrix(self, names: Sequence[str] | None, dtype: Any, rows: np.ndarray | None) -> Any:
        """`matrix` of columns one by one, column-major where dense."""
        chosen = [self[name] for name in (self.columns if names is None else names)]
        if any(isinstance(column, Matrix) and column.sparse for column in chosen):
            whole = _sparse(chosen, dtype)
            return whole if rows is None else whole[rows]
        if rows is not None:
            return _gathered(chosen, rows, dtype)
        view = _side_by_side(chosen, dtype)
        return _dense(chosen, self.num_rows, dtype) if view is None else view

    @property
    def schema(self) -> pa.Schema:
        """The columns that `to_arrow` gives; a matrix too wide for a table is one column of vectors."""
        wide = {
            name: column
            for name, column in self.columns.items()
            if isinstance(column, Matrix) and column.width > MAX_EXPANDED_COLUMNS
        }
        schema = self.slice(0, 0).drop(wide).to_arrow().schema
        for name, column in wide.items():
            schema = schema.append(pa.field(name, pa.list_(pa.float64(), column.width)))
        return schema

    def to_arrow(self) -> pa.RecordBatch:
        """An Arrow batch; a matrix becomes one column for each of its names.

        Raises
        ------
        SchemaError
            When a column of a matrix has the name of another column, or the matrix is too wide.
        """
        arrays: dict[str, pa.Array] = {}
        plain = [name for name, column in self.columns.items() if not isinstance(column, Matrix)]
        for name, column in self.columns.items():
            if not isinstance(column, Matrix):
                arrays[name] = column
                continue
            if column.width > MAX_EXPANDED_COLUMNS:
                raise SchemaError(
                    f"Column {name!r} is a matrix of {column.width} columns; "
                    f"at most {MAX_EXPANDED_COLUMNS} can become a table."
                )
            dense = column.values.toarray(order="F") if column.sparse else column.values
            check_free(column.names, (*plain, *arrays), f"Columns of the vectors {name!r}", _RENAME)
            arrays.update(matrix_columns(dense, column.names))
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _frozen(values: np.ndarray) -> np.ndarray:
    """A view that nobody can write to: its memory may be a user's."""
    view = values.view()
    view.flags.writeable = False
    return view


def _is_floats(column: Column) -> bool:
    """Whether these are float64 without nulls."""
    return not isinstance(column, Matrix) and column.type == pa.float64() and not column.null_count


def _concatenated(columns: Sequence[Column]) -> Column:
    first = columns[0]
    if not isinstance(first, Matrix):
        return pa.chunked_array(columns).unify_dictionaries().combine_chunks()
    values = [column.values for column in columns]
    joined = sp.vstack(values, format="csr") if first.sparse else np.concatenate(values)
    return Matrix(joined, first.names)


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
    return bool(sp.issparse(values))


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type is a number to an estimator."""
    types = pa.types
    return (
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    )


def is_categorical(kind: pa.DataType) -> bool:
    """Whether a column of this type is a category to an estimator."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_dictionary(kind)
    )


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column of this type holds vectors of one length."""
    return bool(pa.types.is_fixed_size_list(kind) and is_numeric(kind.value_type))


def numbers(array: pa.Array) -> np.ndarray:
    """A numeric Arrow column as NumPy, nulls as NaN; no copy for floats and integers without nulls."""
    if pa.types.is_decimal(array.type):
        return decimal_numbers(array)
    if pa.types.is_null(array.type):
        array = array.cast(pa.float64())
    if array.null_count and pa.types.is_boolean(array.type):
        array = array.cast(pa.float64())
    return array.to_numpy(zero_copy_only=False)


def vector_names(name: str, width: int) -> tuple[str, ...]:
    """The names of the columns of a vector.

    Parameters
    ----------
    name : the column of vectors.
    width : how many numbers each vector has.

    Returns
    -------
    `<name>_0`, `<name>_1`, ...
    """
    return tuple(f"{name}_{j}" for j in range(width))


def vector_column(array: pa.Array, name: str) -> Column:
    """An Arrow column as a matrix where it holds vectors, else as it is.

    Parameters
    ----------
    array : vectors are lists of a fixed size; nothing else is changed.
    name : of the column; those of the matrix are made of it by `vector_names`.

    Raises
    ------
    SchemaError
        When it holds vectors and nulls.
    """
    if not is_vector(array.type):
        return array
    width = array.type.list_size
    if array.null_count:
        raise SchemaError(
            f"Column {name!r} holds vectors and {array.null_count} nulls. Drop or fill those rows first."
        )
    flat = numbers(array.flatten())
    return Matrix(flat.reshape(len(array), width), vector_names(name, width))


def _dense(columns: Sequence[Column], rows: int, dtype: Any) -> np.ndarray:
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


def _gathered(columns: Sequence[Column], rows: np.ndarray, dtype: Any) -> np.ndarray:
    """Some rows of columns side by side."""
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


def _sparse(columns: Sequence[Column], dtype: Any) -> sp.csr_array:
    parts: list[Any] = []
    for dense, group in _runs(columns):
        if dense:
            parts.append(stored(_dense(group, len(group[0]), dtype)))
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


def _side_by_side(columns: Sequence[Column], dtype: Any) -> np.ndarray | None:
    """A view of columns whose values lie one after the other in memory, or None."""
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
