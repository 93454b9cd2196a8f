"""Where rows come from: the interface of a source, and the sources that are in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.matrix import ArrayColumns, Matrix, is_sparse
from outgrow.data.names import VectorNames, check_names
from outgrow.data.plain import plain_schema, plain_table

BATCH_ROWS = 65_536
PIECE_BYTES = 4 << 20
"""Of an array, so that there is work for all threads."""
BATCH_BYTES = 8 << 20
"""Small enough that what a thread works on stays near its cache, large enough for large pages."""
WIDE_ROWS, WIDE_BYTES = 4_096, 32 << 20
"""So many rows of wide tables make a batch all the same, in so many bytes: each column of a batch costs some
microseconds, whatever its length."""


class Piece(Protocol):
    """Part of a source that one thread reads: a row group, a file, a slice of a table.

    A piece can be pickled and read again. What is not promised: the size of the batches it yields.
    """

    @property
    def nbytes(self) -> int:
        """About how much memory its rows take."""

    @property
    def known_rows(self) -> int | None:
        """How many rows it has, where that is known without reading them."""

    def location(self, row: int) -> str:
        """Where a row of it, counted from 0, is, as a person would look for it."""

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, in their order; reading again gives the same.

        Parameters
        ----------
        columns : names of columns, which come in this order; None for all.
        where : only rows for which this holds, whether or not its columns are asked for; None for all.
        encoded : text may come as dictionaries; a source that has none takes no notice.
        """


class Source(Protocol):
    """Rows that can be read piece by piece, in a fixed order.

    Attributes
    ----------
    has_pieces : whether `pieces` gives them; else only the engine that brought the source reaches its rows.
    """

    @property
    def has_pieces(self) -> bool: ...

    @property
    def schema(self) -> pa.Schema:
        """Names and types, known without reading rows."""

    def example(self) -> Batch:
        """A batch without rows."""

    def pieces(self) -> Sequence[Piece]:
        """All its rows, in order."""

    def describe(self) -> dict[str, Any]:
        """What exactly is read, for the record."""


@dataclass(frozen=True, eq=False)
class TablePiece:
    """Consecutive rows of an Arrow table, from its row `start` on."""

    table: pa.Table
    start: int = 0

    def location(self, row: int) -> str:
        return f"row {self.start + row} of the table"

    def __str__(self) -> str:
        return "the table"

    @cached_property
    def nbytes(self) -> int:
        return table_bytes(self.table)

    @property
    def known_rows(self) -> int:
        return int(self.table.num_rows)

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.
        """
        yield from chosen(self.table if where is None else plain_table(self.table), columns, where)


@dataclass(frozen=True, eq=False)
class TableSource:
    """An Arrow table, or anything that speaks Arrow's C stream."""

    has_pieces = True
    table: pa.Table
    piece_rows: int = 4 * BATCH_ROWS

    def __post_init__(self) -> None:
        check_names(self.table.schema.names, "The table")

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        starts = range(0, max(1, self.table.num_rows), self.piece_rows)
        return [TablePiece(self.table.slice(start, self.piece_rows), start) for start in starts]

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256(str(self.schema).encode())
        for batch in self.table.to_batches():
            for column in batch.columns:
                for buffer in column.buffers():
                    digest.update(b"-" if buffer is None else memoryview(buffer))
        return {"kind": "table", "rows": self.table.num_rows, "sha256": digest.hexdigest()}


@dataclass(frozen=True, eq=False)
class ArrayPiece:
    """Consecutive rows of a matrix, from its row `start` on, with Arrow columns beside them."""

    values: Any
    names: Sequence[str]
    beside: dict[str, pa.Array]
    start: int = 0

    def location(self, row: int) -> str:
        return f"row {self.start + row} of the array"

    def __str__(self) -> str:
        return "the array"

    @cached_property
    def nbytes(self) -> int:
        return Matrix(self.values, self.names).nbytes

    @property
    def known_rows(self) -> int:
        return int(self.values.shape[0])

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`; a sparse matrix is one column `x`.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.
        """
        step = batch_rows(self.nbytes, self.values.shape[0])
        for start in range(0, self.values.shape[0], step):
            batch = self.batch(start, step)
            if where is not None:
                batch = Batch.from_arrow(batch.to_arrow().filter(where))
            yield batch if columns is None else batch.select(columns)

    def batch(self, start: int, rows: int) -> Batch:
        """Some of its rows.

        Parameters
        ----------
        start : the first.
        rows : how many; fewer are given where it ends before.
        """
        part = self.values[start : start + rows]
        beside = {name: array.slice(start, rows) for name, array in self.beside.items()}
        whole = Matrix(part.tocsr() if is_sparse(part) else part, self.names)
        return Batch({"x": whole, **beside} if whole.sparse else ArrayColumns(whole, beside), part.shape[0])


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A numeric NumPy matrix with columns x0, x1, ..., or a SciPy sparse one, which is the column `x`."""

    has_pieces = True
    values: Any
    names: Sequence[str]
    beside: dict[str, pa.Array] = field(default_factory=dict)
    piece_rows: int = 4 * BATCH_ROWS

    @cached_property
    def schema(self) -> pa.Schema:
        kind = pa.from_numpy_dtype(self.values.dtype)
        if is_sparse(self.values):
            fields = [pa.field("x", pa.list_(kind, len(self.names)))]
        else:
            fields = [pa.field(name, kind) for name in self.names]
        return pa.schema([*fields, *(pa.field(name, array.type) for name, array in self.beside.items())])

    def example(self) -> Batch:
        return ArrayPiece(self.values, self.names, self.beside).batch(0, 0)

    def pieces(self) -> Sequence[Piece]:
        rows = max(1, self.values.shape[0])
        whole = self.values.data.nbytes if is_sparse(self.values) else self.values.nbytes
        step = min(self.piece_rows, max(1024, PIECE_BYTES * rows // max(1, whole)))
        return [
            ArrayPiece(
                self.values[start : start + step],
                self.names,
                {name: array.slice(start, step) for name, array in self.beside.items()},
                start,
            )
            for start in range(0, rows, step)
        ]

    def describe(self) -> dict[str, Any]:
        dense = self.values.tocsr().data if is_sparse(self.values) else np.ascontiguousarray(self.values)
        return {
            "kind": "array",
            "shape": list(self.values.shape),
            "sha256": hashlib.sha256(dense.data).hexdigest(),
        }


def array_source(values: Any) -> ArraySource:
    """A source of a 2-D numeric array or sparse matrix."""
    sparse = is_sparse(values)
    names = VectorNames("x", values.shape[1]) if sparse else tuple(f"x{j}" for j in range(values.shape[1]))
    return ArraySource(values.tocsr() if sparse else values, names)


def needed(names: Sequence[str], columns: Sequence[str] | None, where: pc.Expression | None) -> Sequence[str]:
    """The columns to read: all for a condition, which does not tell its columns.

    Parameters
    ----------
    names : of all columns.
    columns : those that are wanted; None for all.
    where : rows that are wanted; None for all.
    """
    return names if columns is None or where is not None else list(columns)


def chosen(table: pa.Table, columns: Sequence[str] | None, where: pc.Expression | None) -> Iterator[Batch]:
    """The rows and columns of a table that are wanted, as batches with rows.

    Parameters
    ----------
    table : with the columns that are `needed`.
    columns : names, in their order; None for all.
    where : rows that are wanted; None for all.
    """
    rows = table if where is None else table.filter(where)
    wanted = rows if columns is None else rows.select(list(columns))
    for batch in wanted.to_batches(batch_rows(table_bytes(wanted), wanted.num_rows)):
        if batch.num_rows:
            yield Batch.from_arrow(batch)


def table_bytes(table: pa.Table) -> int:
    """What the rows of a table take, about; older PyArrow has no number for views of text."""
    try:
        return int(table.nbytes)
    except pa.ArrowTypeError:
        return sum(map(_column_bytes, table.columns))


def _column_bytes(column: pa.ChunkedArray) -> int:
    try:
        return int(column.nbytes)
    except pa.ArrowTypeError:
        return _VIEW_BYTES * len(column)


_VIEW_BYTES = 32
"""Of a value that is a view: 16 bytes of its own, and those of text that do not fit in them."""


def batch_rows(nbytes: int, rows: int) -> int:
    """How many rows make a batch: it takes about `BATCH_BYTES`, or of wide rows `WIDE_BYTES`.

    Parameters
    ----------
    nbytes : of the whole.
    rows : of the whole.

    Returns
    -------
    Between 1,024 and `BATCH_ROWS`.
    """
    usual, most = (size * rows // max(1, nbytes) for size in (BATCH_BYTES, WIDE_BYTES))
    return int(min(BATCH_ROWS, max(1024, usual, min(WIDE_ROWS, most))))


def empty_batch(schema: pa.Schema) -> Batch:
    """A batch of this schema without rows."""
    plain = plain_schema(schema)
    return Batch.from_arrow(
        pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in plain.types], schema=plain)
    )
