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
