"""Results in the form that the input had: arrays for arrays, frames for frames, lazy tables for lazy ones."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.frames import to_frame
from outgrow.data.matrix import ArrayColumns, Matrix, is_sparse
from outgrow.data.pandas_frames import is_frame
from outgrow.engine.context import one_blas_thread
from outgrow.engine.dataset import Dataset
from outgrow.engine.memory import available_bytes
from outgrow.engine.open import is_spark, is_table
from outgrow.errors import DataError
from outgrow.ml.core.inputs import has_vectors

_SMALL = 1 << 28
"""Bytes of which nobody runs out."""


def is_lazy(X: Any) -> bool:
    """Whether results for this input are lazy tables rather than arrays."""
    return isinstance(X, Dataset) or is_spark(X) or isinstance(X, pa.Table | pa.RecordBatch)


def as_given(rows: Dataset, X: Any, output: str | None = None) -> Any:
    """A resulting dataset in the form of the input it was made from.

    What has too many columns for a table comes as the array, sparse mostly, that an array would give.

    Parameters
    ----------
    rows : what was made of X: a row for each of its rows, in their order, where X is in memory.
    X : what the user gave; of a pandas DataFrame the index is kept, too, and types of columns that pass.
    output : 'default' where `set_output` asked for arrays; tables that are not in memory stay tables.

    Raises
    ------
    DataError
        When sparse rows would be a table larger than the memory that is left.
    """
    if isinstance(X, Dataset):
        return rows
    if is_spark(X):
        return rows.engine.table(rows.scan)
    if not is_table(X) or output == "default" or rows.scan.example().too_wide:
        return own(collect(rows, all_columns), X)
    _check_room(rows, len(X) if is_frame(X) else getattr(X, "num_rows", 0))
    if is_frame(X):
        frame = to_frame(rows.to_arrow(), like=X)
        return frame.set_index(X.index) if len(frame.columns) else frame.reindex(X.index)
    if type(X).__module__.partition(".")[0] == "polars":
        return sys.modules["polars"].from_arrow(rows.to_arrow())
    return rows.to_arrow()


def _check_room(rows: Dataset, count: int) -> None:
    """Refuse to spell out sparse rows that memory does not hold; the system would end the process."""
    columns = rows.scan.example().held.values()
    width = sum(column.width for column in columns if isinstance(column, Matrix) and column.sparse)
    need = count * width * np.dtype(np.float64).itemsize
    if need > _SMALL and need > (left := available_bytes()):
        raise DataError(
            f"{count:,} rows of {width:,} sparse columns are a table of {need / 1e9:,.1f} GB, and "
            f"{left / 1e9:,.1f} GB of memory are left. Ask for arrays (set_output(transform='default')), "
            "for fewer columns (max_categories of encoders), or give a dataset (og.dataset), which is lazy."
        )


def own(values: Any, X: Any) -> Any:
    """The values in memory that is the caller's alone: it can be changed, and X does not change with it.

    Parameters
    ----------
    values : ndarray or CSR array to be given to a user; copied only where it must be.
    X : what the user gave, with which the values may share memory.
    """
    if is_sparse(values):
        shared = is_sparse(X) and np.may_share_memory(values.data, X.data)
        return values.copy() if shared or not values.data.flags.writeable else values
    free = values.flags.writeable and values.flags.owndata
    shared = isinstance(X, np.ndarray) and np.may_share_memory(values, X)
    return values if free and not shared else values.copy(order="K")


def in_form(owner: Any, values: Any, X: Any) -> Any:
    """What a transformer made of an array: dense for dense rows, in their type where it keeps types.

    Parameters
    ----------
    owner : the fitted transformer, whose tags say which types it keeps.
    values : what it made; returned as it is where X is a table.
    X : what the user gave.
    """
    if is_table(X):
        return values
    if is_sparse(values) and not is_sparse(X) and has_vectors(owner.columns_):
        values = values.toarray()
    kept = owner.__sklearn_tags__().transformer_tags.preserves_dtype
    given = getattr(X, "dtype", None)
    return values.astype(given, copy=False) if str(given) in kept else values


def collect(
    rows: Dataset, function: Callable[[Batch], Any], count: int | None = None, *, encoded: bool = False
) -> Any:
    """What `function` makes of each batch, as one NumPy array or CSR matrix.

    Parameters
    ----------
    rows : the dataset; its batches are joined in their order.
    function : gives an array whose first axis are the rows of the batch. Without batches it gets one that has
        no rows. Several threads call it.
    count : how many rows there are, where that is known: floats and booleans then go to their place at once.
    encoded : the rows are those of an array, and the function also takes text as dictionaries.
    """
    batches = _coded(rows) if encoded else rows.engine.map(rows.scan)
    batch = next(batches, None)
    if batch is None:
        return function(rows.scan.example())
    first = function(batch)
    if count is None or is_sparse(first) or first.dtype.kind not in "fb" or len(first) == count:
        listed = [first, *_on_threads(function, batches, rows.engine.slots)]
        if len(listed) == 1:
            return first
        return sp.vstack(listed, format="csr") if is_sparse(first) else np.concatenate(listed)
    out = np.empty((count, *first.shape[1:]), first.dtype)
    out[: len(first)] = first

    def fill(place: tuple[int, Batch]) -> None:
        start, batch = place
        out[start : start + batch.num_rows] = function(batch)

    deque(_on_threads(fill, _placed(batches, len(first)), rows.engine.slots), maxlen=0)
    return out


def _coded(rows: Dataset) -> Iterator[Batch]:
    for piece in rows.scan.pieces():
        yield from piece.batches(encoded=True)


def _placed(batches: Iterator[Batch], start: int) -> Iterator[tuple[int, Batch]]:
    """Each batch after the number of rows before it."""
    for batch in batches:
        yield start, batch
        start += batch.num_rows


def _on_threads(function: Callable[[Any], Any], items: Iterator[Any], threads: int) -> Iterator[Any]:
    """What a function makes of each item, in their order; no thread is started for a single one."""
    first = list(islice(items, 2))
    if len(first) < 2 or threads < 2:
        yield from map(function, chain(first, items))
        return
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for item in chain(first, items):
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def all_columns(batch: Batch) -> Any:
    """A batch as one matrix, or as an array of objects where it holds more than numbers."""
    columns = batch.columns
    if isinstance(columns, ArrayColumns) and not columns.beside:
        return columns.whole.values
    if all(map(is_numeric, batch.arrow_types(columns).values())):
        return batch.matrix()
    arrays = batch.to_arrow().columns
    values = np.empty((batch.num_rows, len(arrays)), dtype=object)
    for index, column in enumerate(arrays):
        values[:, index] = _objects(column)
    return values


def _objects(column: pa.Array) -> np.ndarray:
    """The values of a column, lists among them, as an array of objects of shape (rows,)."""
    objects = np.empty(len(column), dtype=object)
    for row, value in enumerate(column.to_pylist()):
        objects[row] = value
    return objects
