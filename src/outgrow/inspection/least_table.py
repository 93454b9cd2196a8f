"""Rows of a table of least hash: the same sample on any partitioning, whatever the columns hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column, Matrix
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class LeastTable(State):
    """The rows with the least hashes, in the order of these.

    Attributes
    ----------
    most : how many are kept at most.
    distinct : whether of rows with one hash one is kept.
    key : uint64 of shape (rows,), the hashes.
    values : the rows as an Arrow stream, in the same order.
    """

    most: int
    distinct: bool
    key: np.ndarray
    values: bytes

    @classmethod
    def of(cls, most: int, batch: Batch, key: np.ndarray, *, distinct: bool = False) -> LeastTable:
        """Those of a batch.

        Parameters
        ----------
        most : how many to keep.
        batch : the rows.
        key : uint64 of shape (rows,), their hashes.
        distinct : whether of rows with one hash one is kept.
        """
        order = _least(key, most, distinct)
        rows = batch.take(order)
        table = pa.table({name: _listed(column) for name, column in rows.columns.items()})
        return cls(most, distinct, key[order], _stream(table))

    def merge(self, other: LeastTable) -> LeastTable:
        key = np.append(self.key, other.key)
        order = _least(key, self.most, self.distinct)
        both = pa.concat_tables([_read(self.values), _read(other.values)]).combine_chunks()
        return LeastTable(self.most, self.distinct, key[order], _stream(both.take(pa.array(order))))

    @property
    def batch(self) -> Batch:
        """The rows."""
        table = _read(self.values).combine_chunks()
        rows = table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
        return Batch.from_arrow(rows[0])


def _listed(column: Column) -> pa.Array:
    """A column as Arrow has it, vectors as lists of one size."""
    if not isinstance(column, Matrix):
        return column
    dense = column.values.toarray() if column.sparse else column.values
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(dense).ravel()), column.width)


def _least(key: np.ndarray, most: int, distinct: bool) -> np.ndarray:
    """Where the least hashes are, in their order."""
    if distinct:
        first: np.ndarray = np.unique(key, return_index=True)[1]
        return first[:most]
    near = np.argpartition(key, most)[:most] if len(key) > most else np.arange(len(key))
    order: np.ndarray = near[np.argsort(key[near], kind="stable")]
    return order


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _read(values: bytes) -> pa.Table:
    return pa.ipc.open_stream(values).read_all()
