"""What rows become on their way: functions of batches that travel to where the rows are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.linalg

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse, matrix_columns, numbers
from outgrow.engine.checks import check_finite
from outgrow.errors import DataError

_CHUNK = 256
"""Rows that are divided at once: always so many, so that a row gets the same bits in any batch."""


def finite(batch: Batch, names: Sequence[str]) -> Any:
    """Columns of a batch as a matrix, dense or CSR.

    Parameters
    ----------
    batch : the rows.
    names : of the columns.

    Raises
    ------
    DataError
        When a value is missing or infinite.
    """
    X = batch.matrix(names, order="K")
    check_finite(X.data if is_sparse(X) else X, "The matrix")
    return X


def chunks(X: Any) -> Iterator[np.ndarray]:
    """The rows of a matrix, so many at a time as `_CHUNK` says; zeros fill the last.

    Yields
    ------
    ndarray of shape (columns, chunk).
    """
    for start in range(0, X.shape[0], _CHUNK):
        part = X[start : start + _CHUNK]
        whole = np.zeros((X.shape[1], _CHUNK), order="F")
        whole[:, : part.shape[0]] = (part.toarray() if is_sparse(part) else part).T
        yield whole


@dataclass(frozen=True)
class Factor:
    """Something that rows are multiplied with, from the right.

    Attributes
    ----------
    matrix : ndarray of shape (columns, columns of the result); of a divisor, upper triangular.
    divides : rows are multiplied with the inverse of the matrix, which is not computed.
    """

    matrix: np.ndarray
    divides: bool = False

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """The product of rows, that are the columns of an array, as columns."""
        if not self.divides:
            return np.asarray(self.matrix.T @ columns)
        solved = scipy.linalg.solve_triangular(self.matrix, columns, trans="T", check_finite=False)
        return np.asarray(solved)


def product(X: Any, factors: Sequence[Factor], *, by_chunks: bool = True) -> np.ndarray:
    """Rows multiplied with factors, one after the other.

    Parameters
    ----------
    X : shape (rows, columns), dense or CSR.
    factors : at least one.
    by_chunks : each row gets the same bits in any company: what was learned of the rows in one pass then
        holds for those of the next. Else a single factor that does not divide is multiplied as a whole.
    """
    if not by_chunks and len(factors) == 1 and not factors[0].divides:
        return np.asarray(X @ factors[0].matrix)
    width = factors[-1].matrix.shape[1]
    made = np.empty((width, X.shape[0]), order="F")
    for number, columns in enumerate(chunks(X)):
        for factor in factors:
            columns = factor(columns)
        start = number * _CHUNK
        made[:, start : start + _CHUNK] = columns[:, : X.shape[0] - start]
    return made.T


@dataclass(frozen=True)
class Multiply:
    """Columns become their products with factors; of the others, only some are kept.

    Attributes
    ----------
    names : of the columns.
    outputs : what those of the product are called.
    kept : columns that stay as they are, in front.
    factors : see `product`.
    digest : tells the factors from others.
    """

    names: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: tuple[str, ...]
    factors: tuple[Factor, ...] = field(repr=False)
    digest: str

    @classmethod
    def of(
        cls, names: Sequence[str], outputs: Sequence[str], kept: Sequence[str], factors: Sequence[Factor]
    ) -> Multiply:
        """A step that is described by all that it does.

        Parameters
        ----------
        names, outputs, kept, factors : as above.
        """
        digest = hashlib.sha256()
        for factor in factors:
            digest.update(f"{factor.matrix.shape} {factor.divides} ".encode())
            digest.update(np.ascontiguousarray(factor.matrix).tobytes())
        return cls(tuple(names), tuple(outputs), tuple(kept), tuple(factors), digest.hexdigest())

    def __call__(self, batch: Batch) -> Batch:
        made = product(finite(batch, self.names), self.factors, by_chunks=len(self.factors) > 1)
        columns = {name: batch[name] for name in self.kept}
        return Batch({**columns, **matrix_columns(made, self.outputs)}, batch.num_rows)


@dataclass(frozen=True)
class Spell:
    """Columns of numbers and vectors become one column of floats for each number.

    Attributes
    ----------
    names : of the columns.
    outputs : what the numbers are called.
    kept : columns that stay as they are, in front.
    """

    names: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: tuple[str, ...]

    def __call__(self, batch: Batch) -> Batch:
        X = finite(batch, self.names)
        columns = {name: batch[name] for name in self.kept}
        dense = X.toarray(order="F") if is_sparse(X) else X
        return Batch({**columns, **matrix_columns(dense, self.outputs)}, batch.num_rows)


@dataclass(frozen=True)
class ToEntries:
    """Rows become their entries other than zero: `row`, `column`, `value`.

    Attributes
    ----------
    names : of the columns.
    index : the column with the number of the row.
    """

    names: tuple[str, ...]
    index: str

    def __call__(self, batch: Batch) -> Batch:
        X, number = finite(batch, self.names), places(batch, self.index)
        rows, columns = X.nonzero()
        values = np.asarray(X[rows, columns], dtype=np.float64).ravel()
        return _entries(number[rows], columns, values)


@dataclass(frozen=True)
class AsEntries:
    """Columns of entries under the names that they have here.

    Attributes
    ----------
    row, column, value : what they are called.
    """

    row: str
    column: str
    value: str

    def __call__(self, batch: Batch) -> Batch:
        values = finite(batch, [self.value])
        flat = values.toarray() if is_sparse(values) else values
        return _entries(places(batch, self.row), places(batch, self.column), flat[:, 0])


@dataclass(frozen=True)
class Scale:
    """Values of entries multiplied with a number.

    Attributes
    ----------
    by : the number.
    turned : rows and columns change places.
    """

    by: float = 1.0
    turned: bool = False

    def __call__(self, batch: Batch) -> Batch:
        row, column = ("column", "row") if self.turned else ("row", "column")
        return _entries(numbers(batch[row]), numbers(batch[column]), numbers(batch["value"]) * self.by)


@dataclass(frozen=True)
class Weigh:
    """Entries become what they add to the rows of a product with a matrix: `row` and its numbers.

    Attributes
    ----------
    matrix : ndarray of shape (columns, columns of the product).
    outputs : what those are called.
    digest : tells the matrix from others.
    """

    matrix: np.ndarray = field(repr=False)
    outputs: tuple[str, ...]
    digest: str

    def __call__(self, batch: Batch) -> Batch:
        columns = numbers(batch["column"]).astype(np.int64)
        if len(columns) and columns.max() >= len(self.matrix):
            raise DataError(
                f"An entry is in column {columns.max()}; the matrix to multiply with has {len(self.matrix)} "
                "rows."
            )
        made = self.matrix[columns] * numbers(batch["value"])[:, None]
        return Batch({"row": batch["row"], **matrix_columns(made, self.outputs)}, batch.num_rows)


def _entries(row: np.ndarray, column: np.ndarray, value: np.ndarray) -> Batch:
    places = {"row": pa.array(row.astype(np.int64)), "column": pa.array(column.astype(np.int64))}
    return Batch({**places, "value": pa.array(value, pa.float64())}, len(value))


def places(batch: Batch, name: str) -> np.ndarray:
    """A column of the numbers of rows or columns.

    Parameters
    ----------
    batch : the rows.
    name : of the column.

    Raises
    ------
    DataError
        When one is missing, negative, or no whole number.
    """
    values = numbers(batch[name])
    if values.dtype.kind not in "iu":
        wrong = ~(np.isfinite(values) & (values == np.floor(values)))
        if wrong.any():
            raise DataError(
                f"{name!r} holds {values[wrong][0]}: rows and columns have whole numbers from 0 on."
            )
    if len(values) and values.min() < 0:
        raise DataError(f"{name!r} holds {values.min()}: rows and columns have whole numbers from 0 on.")
    return values.astype(np.int64)
