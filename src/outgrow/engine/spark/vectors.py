"""Columns of Spark ML's vectors: as Spark hands them over, and as matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.ipc import READ_ERRORS
from outgrow.data.matrix import Matrix
from outgrow.data.names import VectorNames
from outgrow.engine.spark.names import numbered_columns
from outgrow.errors import SchemaError

_FIELDS = {"type": pa.int8(), "size": pa.int32(), "indices": pa.int32(), "values": pa.float64()}
"""What a vector is in a file; indices and values are lists."""
_LOOKED_AT = 100
_DENSE_SHARE = 0.3
"""With a greater share of values that are not zero, a dense matrix takes less memory and time."""


@dataclass(frozen=True)
class VectorColumn:
    """How a column of vectors becomes a matrix.

    Attributes
    ----------
    width : the length of its vectors.
    sparse : as a CSR array, whichever form each vector has.
    """

    width: int
    sparse: bool


def find_vectors(frame: Any, paths: Callable[[], list[str]] = list) -> dict[str, VectorColumn]:
    """The columns of Spark ML vectors of a DataFrame; some rows are read if there are any.

    Parameters
    ----------
    frame : the DataFrame.
    paths : gives the Parquet files of which it is a plain read, which spare a job.

    Raises
    ------
    SchemaError
        When the rows that were looked at have vectors of different lengths, or none.
    """
    fields = enumerate(frame.schema)
    names = {f"c{at}": each.name for at, each in fields if type(each.dataType).__name__ == "VectorUDT"}
    if not names:
        return {}
    stored = _first_rows(paths(), list(names.values()))
    if stored is not None:
        return {name: _column(stored.column(name).combine_chunks(), name) for name in names.values()}
    present = " AND ".join(f"{column} IS NOT NULL" for column in names)
    rows = numbered_columns(frame).select(*names).where(present).limit(_LOOKED_AT).toArrow()
    return {name: _column(rows.column(column).combine_chunks(), name) for column, name in names.items()}


def _first_rows(paths: Sequence[str], names: list[str]) -> pa.Table | None:
    """Rows of Parquet files that have all of some columns of vectors; None where there are none to read."""
    for path in paths:
        with suppress(*READ_ERRORS), pq.ParquetFile(path) as file:
            if not all(name in file.schema_arrow.names for name in names) or not all(
                is_stored_vector(file.schema_arrow.field(name).type) for name in names
            ):
                return None
            for batch in file.iter_batches(_LOOKED_AT, columns=names):
                full = pa.Table.from_batches([batch]).drop_null()
                if full.num_rows:
                    return full
    return None


def is_stored_vector(kind: pa.DataType) -> bool:
    """Whether an Arrow type is that of Spark ML's vectors in a Parquet file."""
    if not pa.types.is_struct(kind):
        return False
    items = {field.name: getattr(field.type, "value_type", field.type) for field in kind}
    lists = [field.name for field in kind if pa.types.is_list(field.type)]
    return items == _FIELDS and lists == ["indices", "values"]


def open_batch(batch: pa.RecordBatch, vectors: Mapping[str, VectorColumn]) -> Batch:
    """A batch from Spark with its vectors as matrices.

    Parameters
    ----------
    batch : as Spark hands it over, vectors as structs.
    vectors : the columns of vectors, by name, as `find_vectors` found them; the batch may lack some.

    Raises
    ------
    SchemaError
        When a vector is null, or of another length than the first rows had.
    """
    vectors = {name: vector for name, vector in vectors.items() if name in batch.schema.names}
    if not vectors:
        return Batch.from_arrow(batch)
    plain = [name for name in batch.schema.names if name not in vectors]
    columns = dict(Batch.from_arrow(batch.select(plain)).columns)
    found = {name: _matrix(batch.column(name), name, vector) for name, vector in vectors.items()}
    return Batch(
        {name: found[name] if name in found else columns[name] for name in batch.schema.names}, batch.num_rows
    )


def with_matrices(batch: Batch, vectors: Mapping[str, VectorColumn]) -> Batch:
    """A batch of a file with its vectors as matrices.

    Parameters
    ----------
    batch : with vectors as structs.
    vectors : as for `open_batch`.

    Raises
    ------
    SchemaError
        As `open_batch`.
    """
    names = [name for name in vectors if name in batch.columns]
    return batch.with_columns({name: _matrix(batch[name], name, vectors[name]) for name in names})


def vector_type(vector: VectorColumn) -> pa.DataType:
    """How a schema tells of such a column: a list of fixed size."""
    return pa.list_(pa.float64(), vector.width)


def empty_matrix(name: str, vector: VectorColumn) -> Matrix:
    """A column of vectors without rows.

    Parameters
    ----------
    name : of the column; those of the matrix follow from it.
    vector : its width and form.
    """
    shape = (0, vector.width)
    values = sp.csr_array(shape, dtype=np.float64) if vector.sparse else np.zeros(shape, order="F")
    return Matrix(values, VectorNames(name, vector.width))


def _column(array: Any, name: str) -> VectorColumn:
    widths = sorted(set(_widths(array).tolist()))
    if len(widths) != 1:
        what = f"vectors of lengths {widths[:5]}" if widths else "no vectors"
        raise SchemaError(
            f"Column {name!r} holds {what} in its first {_LOOKED_AT} rows; one length is needed. "
            "Drop the column, or rows without a vector."
        )
    values = array.field("values").flatten()
    filled = np.count_nonzero(values.to_numpy(zero_copy_only=False))
    return VectorColumn(widths[0], filled < _DENSE_SHARE * widths[0] * len(array))


def _widths(array: Any) -> np.ndarray:
    """The length of each vector: a sparse one says it, a dense one has that many values."""
    dense = _dense(array)
    size = array.field("size").fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(dense, _lengths(array.field("values")), size)


def _matrix(array: Any, name: str, vector: VectorColumn) -> Matrix:
    if array.null_count:
        raise SchemaError(
            f"Column {name!r} holds vectors and {array.null_count} nulls. Drop or fill those rows first."
        )
    width, rows = vector.width, len(array)
    widths = _widths(array)
    if (widths != width).any():
        other = int(widths[widths != width][0])
        raise SchemaError(
            f"Column {name!r} holds vectors of {width} and of {other} values; one length is needed."
        )
    names, dense = VectorNames(name, width), _dense(array)
    values = array.field("values")
    if dense.all() and not vector.sparse:
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return Matrix(np.asfortranarray(flat.reshape(rows, width)), names)
    csr = _csr(array, dense, width)
    return Matrix(csr if vector.sparse else csr.toarray(order="F"), names)


def _csr(array: Any, dense: np.ndarray, width: int) -> Any:
    counts = _lengths(array.field("values"))
    ends = np.concatenate([[0], np.cumsum(counts)])
    data = array.field("values").flatten().to_numpy(zero_copy_only=False)
    columns = np.empty(len(data), dtype=np.int32)
    in_dense = np.repeat(dense, counts)
    columns[in_dense] = np.tile(np.arange(width, dtype=np.int32), int(dense.sum()))
    columns[~in_dense] = array.field("indices").flatten().to_numpy(zero_copy_only=False)
    return sp.csr_array((data, columns, ends), shape=(len(array), width))


def _dense(array: Any) -> np.ndarray:
    return np.asarray(array.field("type").to_numpy(zero_copy_only=False) == 1)


def _lengths(lists: Any) -> np.ndarray:
    return np.asarray(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
