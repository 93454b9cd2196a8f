"""What a batch of tensors is made of: each field some columns, a dtype and a shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.kind import is_list
from outgrow.data.matrix import Matrix, numbers
from outgrow.errors import DataError

_EXACT = {np.dtype(np.float16): 2**11, np.dtype(np.float32): 2**24}
"""Up to here a type of fractions holds all whole numbers; float64 does to 2**53."""


@dataclass(frozen=True)
class Part:
    """A column of batches that belongs to a field.

    Attributes
    ----------
    column : its name.
    positions : of a column of vectors, which of their numbers; None for all.
    """

    column: str
    positions: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Field:
    """One tensor of a batch.

    Attributes
    ----------
    name : by which a batch holds it.
    parts : what it is made of, side by side.
    shape : of a row; empty for one number a row.
    dtype : of the numbers; None for what has no size before it is read: lists, texts, encoded images.
    items : of the numbers in lists; None for what is no list.
    """

    name: str
    parts: tuple[Part, ...]
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    items: np.dtype[Any] | None = None

    @property
    def is_array(self) -> bool:
        """Whether its size is known before a row is read."""
        return self.dtype is not None

    @property
    def columns(self) -> list[str]:
        """The columns of a batch that it needs."""
        return list(dict.fromkeys(part.column for part in self.parts))

    @property
    def row_bytes(self) -> int:
        """Of one row of an array."""
        return prod(self.shape) * (self.dtype.itemsize if self.dtype is not None else 0)

    def tensor(self, batch: Batch) -> np.ndarray:
        """The rows of a batch as this field has them, of shape (rows, *shape).

        Parameters
        ----------
        batch : which has the columns.

        Returns
        -------
        Of `dtype`; of lists of one length, of their shape; of texts and bytes, an array of objects.

        Raises
        ------
        DataError
            When the dtype cannot hold a value, or lists are of several lengths.
        """
        if self.dtype is not None:
            out = np.empty((batch.num_rows, *self.shape), dtype=self.dtype)
            self.fill(out.reshape(batch.num_rows, prod(self.shape)), self.numbers(batch))
            return out
        column, name = batch[self.columns[0]], self.columns[0]
        return _objects(column) if self.items is None else _lists(column, name, self.items)

    def numbers(self, batch: Batch) -> list[np.ndarray]:
        """The columns as they are, each of shape (rows, width).

        Parameters
        ----------
        batch : which has the columns.

        Raises
        ------
        DataError
            When the dtype cannot hold a whole number, or has nothing for a missing one.
        """
        made = []
        for part in self.parts:
            column = batch[part.column]
            if isinstance(column, Matrix):
                values = column.values if part.positions is None else column.values[:, list(part.positions)]
                made.append(values.toarray() if column.sparse else values)
            else:
                self._check(column, part.column)
                made.append(numbers(column)[:, None])
        return made

    def fill(self, out: np.ndarray, columns: Sequence[np.ndarray], start: int = 0) -> None:
        """Put columns side by side.

        Parameters
        ----------
        out : of shape (rows, width) and the field's dtype.
        columns : what `numbers` gave.
        start : the row of the columns to begin with.

        Raises
        ------
        DataError
            When a value is too large for the dtype.
        """
        at, end = 0, start + len(out)
        try:
            with np.errstate(over="raise", invalid="ignore"):
                for values in columns:
                    width = values.shape[1]
                    out[:, at : at + width] = values[start:end]
                    at += width
        except FloatingPointError:
            raise DataError(
                f"Field {self.name!r}: a value of {listed(self.columns)} is too large for {self.dtype}. "
                f"Say dtype={{{self.name!r}: 'float64'}}, or scale the columns."
            ) from None

    def _check(self, column: pa.Array, name: str) -> None:
        """Refuse whole numbers that the dtype would change, and missing ones where it has no NaN."""
        assert self.dtype is not None
        if column.null_count and self.dtype.kind != "f":
            raise DataError(
                f"Column {name!r} has {column.null_count} missing values among {len(column)} rows, and "
                f"{self.dtype} has none to say so. Fill them, leave those rows out, or say "
                f"dtype={{{self.name!r}: 'float32'}}, where they are NaN."
            )
        if not pa.types.is_integer(column.type):
            return
        extremes = pc.min_max(column)
        low, high = extremes["min"].as_py() or 0, extremes["max"].as_py() or 0
        least, most = _held(self.dtype)
        if low < least or high > most:
            raise DataError(
                f"Column {name!r} holds {low if low < least else high}, which {self.dtype} cannot hold "
                f"exactly. Say dtype={{{self.name!r}: 'float64'}} or 'int64', or leave the column out."
            )


def listed(names: Sequence[str]) -> str:
    """Names as messages say them, the first five of many."""
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _held(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest whole number up to which a dtype holds all."""
    if dtype.kind == "f":
        return -_EXACT.get(dtype, 2**53), _EXACT.get(dtype, 2**53)
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _objects(column: pa.Array) -> np.ndarray:
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def _lists(column: pa.Array, name: str, items: np.dtype[Any]) -> np.ndarray:
    """Lists of numbers, or of such lists, as an array of their shape."""
    shape, flat = [len(column)], column
    while is_list(flat.type):
        shape.append(_one_length(flat, name))
        flat = flat.flatten()
    if flat.null_count and items.kind != "f":
        raise DataError(
            f"Column {name!r} has lists with missing numbers, and {items} has none to say so. Fill them."
        )
    return numbers(flat).astype(items, copy=False).reshape(shape)


def _one_length(column: pa.Array, name: str) -> int:
    extremes = pc.min_max(pc.list_value_length(column))
    low, high = extremes["min"].as_py() or 0, extremes["max"].as_py() or 0
    if low != high or column.null_count:
        gaps = f" and {column.null_count} missing ones" if column.null_count else ""
        raise DataError(
            f"Column {name!r} has lists of {low} to {high} numbers{gaps} in a batch of {len(column)} rows; "
            "a tensor needs one length. Cut or pad them before, such as with Dataset.map."
        )
    return int(high)
