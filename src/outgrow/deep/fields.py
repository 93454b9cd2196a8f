"""What a batch of tensors is made of: each field some columns, a dtype and a shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        return _objects(column) if self.items is None else self._lists(column, name, self.items)

    def numbers(self, batch: Batch) -> list[np.ndarray]:
        """The columns as they are, each of shape (rows, width).

        Parameters
        ----------
        batch : which has the columns.

        Raises
        ------
        DataError
            When the dtype cannot hold a number exactly, or has nothing for a missing one.
        """
        assert self.dtype is not None
        made = []
        for part in self.parts:
            column = batch[part.column]
            if isinstance(column, Matrix):
                values = column.values if part.positions is None else column.values[:, list(part.positions)]
                values = values.toarray() if column.sparse else values
            else:
                self._check(column, part.column)
                values = numbers(column)[:, None]
            check_exact(values, self.dtype, part.column, self.name)
            made.append(values)
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
        with self._in_range(out.dtype):
            for values in columns:
                width = values.shape[1]
                out[:, at : at + width] = values[start:end]
                at += width

    @contextmanager
    def _in_range(self, dtype: np.dtype[Any]) -> Iterator[None]:
        """Numbers get a dtype within the block, and none is too large for it."""
        try:
            with np.errstate(over="raise", invalid="ignore"):
                yield
        except FloatingPointError:
            raise DataError(
                f"Field {self.name!r}: a value of {listed(self.columns)} is too large for {dtype}. "
                f"Say dtype={{{self.name!r}: 'float64'}}, or scale the columns."
            ) from None

    def _lists(self, column: pa.Array, name: str, items: np.dtype[Any]) -> np.ndarray:
        """Lists of numbers, or of such lists, as an array of their shape."""
        shape, flat = [len(column)], column
        while is_list(flat.type):
            shape.append(_one_length(flat, name))
            flat = flat.flatten()
        if flat.null_count and items.kind != "f":
            raise DataError(
                f"Column {name!r} has lists with missing numbers, and {items} has none to say so. Fill them."
            )
        values = numbers(flat)
        check_exact(values, items, name, self.name)
        with self._in_range(items):
            return values.astype(items, copy=False).reshape(shape)

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
            raise _inexact(low if low < least else high, self.dtype, name, self.name)


def check_exact(values: np.ndarray, dtype: np.dtype[Any], column: str, field: str) -> None:
    """Refuse numbers that a dtype would change: fractions round, but whole numbers must stay what they are.

    Parameters
    ----------
    values : numbers, before they get the dtype.
    dtype : which they will have.
    column, field : what a message calls them.

    Raises
    ------
    DataError
        When a whole number is past the limits of the dtype, or one of whole numbers is to hold a fraction, a
        missing number or an infinite one.
    """
    if not values.size or values.dtype.kind not in "iuf":
        return
    least, most = _held(dtype)
    if values.dtype.kind == "f":
        if dtype.kind == "f":
            return
        # the limits as floats may be rounded up to the first number that is too large
        fits = (np.trunc(values) == values) & (values >= least) & (values < float(most) + 1.0)
        if not fits.all():
            raise _inexact(values.flat[int(np.argmin(fits))].item(), dtype, column, field)
    elif _held(values.dtype)[0] < least or _held(values.dtype)[1] > most:
        low, high = int(values.min()), int(values.max())
        if low < least or high > most:
            raise _inexact(low if low < least else high, dtype, column, field)


def plain_numbers(field: str, values: np.ndarray) -> np.ndarray:
    """An array that PyTorch takes as it is: of numbers that it has, in memory that it may write.

    Parameters
    ----------
    field : what a message calls it.
    values : what a transform made, perhaps turned round, or of another processor's order of bytes.

    Raises
    ------
    DataError
        When PyTorch has no such numbers, or some are masked.
    """
    dtype = values.dtype.newbyteorder("=")
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise DataError(
            f"Field {field!r}: transform gave {values.dtype}, which tensors have not. Make it one of their "
            "types of numbers, such as values.astype('float32'), or leave the field out."
        )
    if np.ma.is_masked(values):
        raise DataError(
            f"Field {field!r}: transform gave {int(np.ma.getmaskarray(values).sum())} masked values, and "
            "tensors have none. Fill them, such as values.filled(0)."
        )
    if dtype != values.dtype or not values.flags.writeable or min(values.strides, default=0) < 0:
        return np.array(values, dtype=dtype, order="C")
    return np.asarray(values)


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


def _inexact(value: float, dtype: np.dtype[Any], column: str, field: str) -> DataError:
    """What to say of a number that a dtype would change, with a type that would not."""
    better = "float64"
    if isinstance(value, int):
        kinds = ("int64", "uint64") if dtype.kind in "iu" else ("float64", "int64", "uint64")
        better = next(kind for kind in kinds if _is_held(value, kind))
    return DataError(
        f"Column {column!r} holds {value}, which {dtype} cannot hold exactly. Say "
        f"dtype={{{field!r}: {better!r}}}, or leave the column out."
    )


def _is_held(value: int, kind: str) -> bool:
    least, most = _held(np.dtype(kind))
    return least <= value <= most


def _objects(column: pa.Array) -> np.ndarray:
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


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
