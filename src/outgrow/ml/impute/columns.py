"""The values of the columns of a batch, as an imputer looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column, Matrix, is_sparse
from outgrow.ml.core.matrices import DenseColumns, checked_matrix, dense_part
from outgrow.ml.impute.missing import as_text, missing
from outgrow.stats.counts import ValueCounts


def count_missing(batch: Batch, *, names: Sequence[str]) -> np.ndarray:
    """How many values are missing of each of some columns, vectors spelt out.

    Parameters
    ----------
    batch : the rows.
    names : of the columns, in the order of the counts.

    Returns
    -------
    Of int64, with as many entries as the columns have numbers in a row.
    """
    holes = [missing(batch[name]).sum(axis=0) for name in names]
    return np.concatenate([np.atleast_1d(np.asarray(count, dtype=np.int64)) for count in holes])


def value_counts(batch: Batch, numeric: list[str], text: list[str]) -> Iterator[ValueCounts]:
    """The counts of the columns of numbers one by one, then those of text.

    Parameters
    ----------
    batch : the rows.
    numeric : names of columns of numbers; vectors are spelt out.
    text : names of columns of text.
    """
    if numeric:
        X = checked_matrix(batch, numeric)
        if is_sparse(X):
            yield from map(partial(_sparse_counts, DenseColumns(X)), range(X.shape[1]))
        else:
            yield from (ValueCounts.of(pa.array(X[:, j], from_pandas=True)) for j in range(X.shape[1]))
    yield from (ValueCounts.of(words(batch[name])) for name in text)


def _sparse_counts(columns: DenseColumns, j: int) -> ValueCounts:
    values = columns.stored(j)
    zeros = columns.shape[0] - len(values)
    counts = ValueCounts.of(pa.array(values, from_pandas=True))
    return counts.merge(ValueCounts({0.0: float(zeros)})) if zeros else counts


def present_values(batch: Batch, names: list[str]) -> Iterator[np.ndarray]:
    """The values of each column that are not missing, column by column.

    Parameters
    ----------
    batch : the rows.
    names : of columns of numbers; vectors are spelt out.
    """
    X = checked_matrix(batch, names)
    columns = dense_part(X, slice(0, X.shape[1]))
    for j in range(X.shape[1]):
        values = columns[:, j]
        yield values[~np.isnan(values)]


def words(column: Column) -> pa.Array:
    """A column of text, as a dictionary where it is one of text."""
    assert not isinstance(column, Matrix)
    if pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type):
        return column
    return as_text(column)
