"""The unit that crosses every border: Arrow columns, and matrices for vectors.

Numeric columns and dense matrices meet in `Batch.matrix`, which copies nothing where the columns already
lie side by side in memory, as they do after a transformer made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.matrix import (
    ArrayColumns,
    Column,
    Matrix,
    dense_matrix,
    frozen,
    is_sparse,
    matrix_columns,
    matrix_of_rows,
    numbers,
    side_by_side,
    sparse_matrix,
)
from outgrow.data.names import VectorNames, check_free, no_column
from outgrow.data.plain import plain_array
from outgrow.errors import SchemaError

MAX_EXPANDED_COLUMNS = 10_000
_RENAME = "Rename those, or leave them out."


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
        whole = _joined_arrays(batches, rows)
        if whole is not None:
            return cls(ArrayColumns(whole, {}), rows)
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

    def arrow_types(self, names: Iterable[str]) -> dict[str, pa.DataType]:
        """The types of those of some columns that are Arrow arrays; vectors and arrays of numbers are not.

        No column is made of an array for it.
        """
        columns = {name: self[name] for name in names if name in self.held or name not in self.columns}
        return {name: column.type for name, column in columns.items() if not isinstance(column, Matrix)}

    def __getitem__(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            column = self._within_a_vector(name)
        if column is None:
            raise no_column([name], list(self.columns))
        return column

    def _within_a_vector(self, name: str) -> pa.Array | None:
        """A column that `to_arrow` makes of a matrix; None where there is none of this name."""
        for matrix in self.held.values():
            if isinstance(matrix, Matrix) and name in matrix.names and matrix.width <= MAX_EXPANDED_COLUMNS:
                values = matrix.values[:, [list(matrix.names).index(name)]]
                return Batch({name: Matrix(values, (name,))}, self.num_rows).to_arrow().column(0)
        return None

    def with_columns(self, new: Mapping[str, Column]) -> Batch:
        """Columns replaced in place, new ones behind."""
        columns = self.columns
        if isinstance(columns, ArrayColumns) and new.keys().isdisjoint(columns.whole.names):
            return Batch(ArrayColumns(columns.whole, {**columns.beside, **new}), self.num_rows)
        return Batch({**dict(columns.items()), **new}, self.num_rows)

    def with_matrix(self, values: np.ndarray, names: Sequence[str]) -> Batch:
        """Numbers in place of columns, or behind them; an array stays one where all of its columns change.

        Parameters
        ----------
        values : ndarray of shape (num_rows, len(names)).
        names : the columns that they become.
        """
        columns = self.columns
        if isinstance(columns, ArrayColumns) and columns.whole.names == tuple(names):
            return Batch(ArrayColumns(Matrix(values, columns.whole.names), columns.beside), self.num_rows)
        return self.with_columns(matrix_columns(values, names))

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
        names, columns = list(dict.fromkeys(names)), self.columns
        if isinstance(columns, ArrayColumns) and (some := columns.some(names)) is not None:
            return Batch(some, self.num_rows)
        return Batch({name: self[name] for name in names}, self.num_rows)

    def drop(self, names: Iterable[str]) -> Batch:
        gone = set(names)
        return self.select(name for name in self.columns if name not in gone)

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

    def replace_numbers(
        self, old: Sequence[str], values: Any, names: Sequence[str], vector: str | None = None
    ) -> Batch:
        """Numbers where the first of some old columns stood; an array stays one where all its columns go.

        Parameters
        ----------
        old : names of columns, at least one; the others of them are removed.
        values : ndarray of shape (num_rows, len(names)), or CSR, which becomes one column of vectors.
        names : what each number is called; they may be names of `old`.
        vector : the column that sparse values become.

        Raises
        ------
        SchemaError
            When a name is that of a column which stays.
        """
        if vector is not None and is_sparse(values):
            return self.replace(old, {vector: Matrix(sp.csr_array(values), tuple(names))})
        columns = self.columns
        if not isinstance(columns, ArrayColumns) or columns.whole.names != tuple(old):
            return self.replace(old, matrix_columns(values, names))
        check_free(names, columns.beside.keys(), "New columns", _RENAME)
        return Batch(ArrayColumns(Matrix(values, tuple(names)), columns.beside), self.num_rows)

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
        order: Literal["C", "F", "K"] = "F",
    ) -> Any:
        """The named columns (all of them by default) as one matrix, missing values as NaN.

        Parameters
        ----------
        names : which columns, in this order.
        dtype : of the numbers.
        rows : the indices of the rows that are wanted, in their order; all of them by default.
        order : 'F' for a matrix whose columns lie one after the other in memory, 'C' for one whose rows do,
            'K' for whichever needs no copy.

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
        if isinstance(columns, ArrayColumns) and columns.whole.names == tuple(
            columns if names is None else names
        ):
            values = columns.whole.values
            return frozen(np.asarray(values if rows is None else values[rows], dtype=dtype, order=order))
        whole = self._columns_matrix(names, dtype, rows)
        return whole if order != "C" or is_sparse(whole) else np.ascontiguousarray(whole)

    def _columns_matrix(self, names: Sequence[str] | None, dtype: Any, rows: np.ndarray | None) -> Any:
        """`matrix` of columns one by one, column-major where dense."""
        chosen = [self[name] for name in (self.columns if names is None else names)]
        if any(isinstance(column, Matrix) and column.sparse for column in chosen):
            whole = sparse_matrix(chosen, dtype)
            return whole if rows is None else whole[rows]
        if rows is not None:
            return matrix_of_rows(chosen, rows, dtype)
        view = side_by_side(chosen, dtype)
        return dense_matrix(chosen, self.num_rows, dtype) if view is None else view

    @property
    def schema(self) -> pa.Schema:
        """The columns that `to_arrow` gives; a matrix too wide for a table is one column of vectors."""
        wide = self.too_wide
        schema = self.slice(0, 0).drop(wide).to_arrow().schema
        for name, column in wide.items():
            schema = schema.append(pa.field(name, pa.list_(pa.float64(), column.width)))
        return schema

    @property
    def too_wide(self) -> dict[str, Matrix]:
        """The matrices that have more columns than a table."""
        matrices = {name: column for name, column in self.held.items() if isinstance(column, Matrix)}
        return {name: matrix for name, matrix in matrices.items() if matrix.width > MAX_EXPANDED_COLUMNS}

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
                    f"Column {name!r} is a matrix of {column.width} columns; at most {MAX_EXPANDED_COLUMNS} "
                    "can become a table. Models in a Pipeline take it as it is; of rows in memory, where all "
                    "columns are numbers, `transform` gives a sparse array."
                )
            dense = column.values.toarray(order="F") if column.sparse else column.values
            check_free(column.names, (*plain, *arrays), f"Columns of the vectors {name!r}", _RENAME)
            arrays.update(matrix_columns(dense, column.names))
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))

    def spelt_out(self) -> Batch:
        """The rows with a column for each that their `schema` has: an encoder makes several of one matrix."""
        return Batch.from_arrow(self.to_arrow())


def _joined_arrays(batches: Sequence[Batch], rows: int) -> Matrix | None:
    """Arrays of float64 of the same columns as one; None where the batches have something else."""
    arrays = [batch.columns.whole for batch in batches if isinstance(batch.columns, ArrayColumns)]
    alike = len(arrays) == len(batches) and all(
        array.names == arrays[0].names and array.values.dtype == np.float64 for array in arrays
    )
    if not alike or any(batch.held for batch in batches):
        return None
    values = np.empty((rows, arrays[0].width), order="F")
    np.concatenate([array.values for array in arrays], out=values)
    return Matrix(values, arrays[0].names)


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


def vector_column(array: pa.Array, name: str) -> Column:
    """An Arrow column as a matrix where it holds vectors, else as it is.

    Parameters
    ----------
    array : vectors are lists of a fixed size; nothing else is changed.
    name : of the column; those of the matrix are made of it by `VectorNames`.

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
    return Matrix(flat.reshape(len(array), width), VectorNames(name, width))
