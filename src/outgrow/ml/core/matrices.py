"""Columns of numbers as a matrix, and exact quantiles of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.stats.quantiles import quantiles

R = TypeVar("R")
_TOGETHER = 256
"""Columns of sparse rows whose quantiles are found in the same passes: each counts in 65,536 buckets."""


_INNER = 1_024
"""Numbers that an operation goes through at once where rows are short: NumPy's own loop would be one row."""


class DenseColumns:
    """The columns of a CSR matrix as dense ones, each made when it is asked for.

    Parameters
    ----------
    X : the matrix.
    absent : what is not stored of it.
    """

    def __init__(self, X: Any, absent: float = 0.0) -> None:
        self.shape = X.shape
        self._absent = absent
        self._columns = X.tocsc()
        self._columns.sum_duplicates()

    def __getitem__(self, key: tuple[slice, int]) -> np.ndarray:
        rows, j = key
        column = np.full(self.shape[0], self._absent)
        part = slice(*self._columns.indptr[j : j + 2])
        column[self._columns.indices[part]] = self._columns.data[part]
        return column[rows]

    def stored(self, j: int) -> np.ndarray:
        """What is stored of column j, without the zeros."""
        values = self._columns.data[slice(*self._columns.indptr[j : j + 2])]
        return values[values != 0]


def by_column(operation: np.ufunc, X: np.ndarray, values: Any, out: np.ndarray | None = None) -> np.ndarray:
    """An operation on each number and the value of its column.

    Parameters
    ----------
    operation : takes two numbers.
    X : shape (rows, columns).
    values : shape (columns,), one number for all, or shape (rows, columns).
    out : where the results go; None for a new array.
    """
    repeats = _INNER // max(1, X.shape[1])
    long = len(X) // repeats * repeats if repeats else 0
    contiguous = X.flags.c_contiguous and (out is None or out.flags.c_contiguous)
    if np.ndim(values) != 1 or repeats < 4 or not long or not contiguous:
        return np.asarray(operation(X, values, out=out))
    if out is None:
        out = np.empty(X.shape, operation(X[:0], values).dtype)
    shape = (long // repeats, repeats * X.shape[1])
    operation(X[:long].reshape(shape), np.tile(values, repeats), out=out[:long].reshape(shape))
    operation(X[long:], values, out=out[long:])
    return out


def row_count(batch: Batch) -> np.ndarray:
    """How many rows a batch has, as a state: an array of shape (1,)."""
    return np.array([batch.num_rows])


def checked_matrix(batch: Batch, names: list[str]) -> Any:
    """Columns of numbers as one matrix, missing values as NaN.

    Parameters
    ----------
    batch : the rows.
    names : of the columns, vectors among them or not.

    Raises
    ------
    DataError
        When a value is infinite.
    """
    X = batch.matrix(names)
    check_finite(X.data if is_sparse(X) else X, "X", missing=True)
    return X


def dense_part(X: Any, part: slice, absent: float = 0.0) -> Any:
    """Some columns of a matrix, to be asked for one by one as dense arrays.

    Parameters
    ----------
    X : shape (rows, width), dense or sparse.
    part : of the columns.
    absent : what is not stored of a sparse one.
    """
    return DenseColumns(X[:, part], absent) if is_sparse(X) else X[:, part]


def column_quantiles(
    shard: Shard,
    names: list[str],
    probabilities: Sequence[float],
    method: str = "linear",
    absent: float = 0.0,
) -> np.ndarray:
    """Exact quantiles of columns of numbers, as `numpy.nanquantile` finds them.

    Parameters
    ----------
    shard : the rows.
    names : the columns; vectors are spelt out.
    probabilities : in [0, 1].
    method : 'linear' or 'averaged_inverted_cdf', as NumPy calls them.
    absent : what is not stored of sparse columns; NaN where it counts for nothing.

    Returns
    -------
    ndarray of shape (len(probabilities), width), NaN for columns without values.
    """
    example = shard.example.matrix(names)
    width = example.shape[1]

    def reduce(fold: Callable[[Any], R], part: slice) -> R:
        return shard.reduce(
            lambda batch: fold(dense_part(checked_matrix(batch, names), part, absent)), encoded=True
        )

    step = _TOGETHER if is_sparse(example) else max(width, 1)
    parts = [slice(start, min(start + step, width)) for start in range(0, width, step)]
    found = [
        quantiles(partial(reduce, part=part), part.stop - part.start, probabilities, method)[0]
        for part in parts
    ]
    return np.concatenate([np.empty((len(probabilities), 0)), *found], axis=1)
