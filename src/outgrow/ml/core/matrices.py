"""Columns of numbers as a matrix, and exact quantiles of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite, weight_column
from outgrow.engine.shard import Shard
from outgrow.stats.quantiles import quantiles, weighted_quantiles

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


def checked_matrix(batch: Batch, names: list[str], *, missing: bool = True) -> Any:
    """Columns of numbers as one matrix, missing values as NaN.

    Parameters
    ----------
    batch : the rows.
    names : of the columns, vectors among them or not.
    missing : whether values may be missing.

    Raises
    ------
    DataError
        When a value is infinite, or missing where it may not be.
    """
    X = batch.matrix(names)
    check_finite(X.data if is_sparse(X) else X, "X", missing=missing)
    return X


def heavy(X: Any, weight: np.ndarray | None) -> Any:
    """The rows of a matrix that weigh something.

    Parameters
    ----------
    X : shape (rows, columns).
    weight : shape (rows,); None where every row weighs one.
    """
    return X if weight is None else X[weight > 0]


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
    *,
    missing: bool = True,
) -> np.ndarray:
    """Exact quantiles of columns of numbers, as `numpy.nanquantile` finds them.

    Parameters
    ----------
    shard : the rows.
    names : the columns; vectors are spelt out.
    probabilities : in [0, 1].
    method : 'linear' or 'averaged_inverted_cdf', as NumPy calls them.
    absent : what is not stored of sparse columns; NaN where it counts for nothing.
    missing : whether values may be missing.

    Returns
    -------
    ndarray of shape (len(probabilities), width), NaN for columns without values.
    """
    example = shard.example.matrix(names)
    width = example.shape[1]

    def reduce(fold: Callable[[Any], R], part: slice) -> R:
        return shard.reduce(
            lambda batch: fold(dense_part(checked_matrix(batch, names, missing=missing), part, absent)),
            encoded=True,
        )

    def quantiles_of(part: slice) -> np.ndarray:
        return quantiles(partial(reduce, part=part), part.stop - part.start, probabilities, method)[0]

    step = _TOGETHER if is_sparse(example) else max(width, 1)
    return _by_parts(quantiles_of, width, step, len(probabilities))


def _by_parts(quantiles_of: Callable[[slice], np.ndarray], width: int, step: int, count: int) -> np.ndarray:
    """So many quantiles of each column, from passes over `step` columns each."""
    parts = [slice(start, min(start + step, width)) for start in range(0, width, step)]
    return np.concatenate([np.empty((count, 0)), *map(quantiles_of, parts)], axis=1)


class _Weighted:
    """The columns of a dense matrix whose rows have weights."""

    def __init__(self, X: np.ndarray, weight: np.ndarray) -> None:
        self._X, self._weight = X, weight

    def weighted(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The values of a column that are not missing, and their weights."""
        there = ~np.isnan(self._X[:, j])
        return self._X[there, j], self._weight[there]


def weighted_column_quantiles(
    shard: Shard,
    names: list[str],
    probabilities: Sequence[float],
    method: str,
    weight: str,
    *,
    missing: bool = True,
) -> np.ndarray:
    """Exact quantiles of dense columns of numbers whose rows have weights, as `numpy.quantile` finds them.

    Parameters
    ----------
    shard : the rows.
    names : the columns; vectors are spelt out.
    probabilities : in [0, 1].
    method : 'inverted_cdf' or 'averaged_inverted_cdf', as NumPy calls them.
    weight : the column of weights.
    missing : whether values may be missing.

    Returns
    -------
    ndarray of shape (len(probabilities), width), NaN for columns without weight.
    """

    def reduce(fold: Callable[[Any], R], part: slice) -> R:
        def folded(batch: Batch) -> R:
            X = checked_matrix(batch, names, missing=missing)
            return fold(_Weighted(X[:, part], weight_column(batch, weight)))

        return shard.reduce(folded, encoded=True)

    def quantiles_of(part: slice) -> np.ndarray:
        return weighted_quantiles(partial(reduce, part=part), part.stop - part.start, probabilities, method)

    return _by_parts(quantiles_of, shard.example.matrix(names).shape[1], _TOGETHER, len(probabilities))
