"""Rows as bytes and back, to the bit: numbers and times at fixed places, text and lists behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.kind import is_list
from outgrow.errors import DataError, SchemaError

_SIGN = np.uint64(1 << 63)
_TICKS = {32: "<i4", 64: "<i8"}


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that were looked up.

    Attributes
    ----------
    columns : by name.
    event : the event time of each, in microseconds since 1970.
    there : which of them there are.
    """

    columns: dict[str, pa.Array]
    event: np.ndarray
    there: np.ndarray


class RowCodec:
    """Bytes of rows with these columns.

    Parameters
    ----------
    columns : name to type: numbers, truth values, text, bytes, times, decimals, lists of numbers.

    Raises
    ------
    SchemaError
        When a column is of another type.
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self.columns = {name: _plain(kind) for name, kind in columns.items()}
        wrong = {name: str(kind) for name, kind in self.columns.items() if _storage(kind) is None}
        if wrong:
            raise SchemaError(
                f"An online store holds numbers, truth values, text, times and lists of numbers, not {wrong}."
            )
        self._fields = [
            (name, f"f{at}", kind, _is_behind(kind)) for at, (name, kind) in enumerate(self.columns.items())
        ]
        fixed = [(f"f{at}", _storage(kind)) for at, kind in enumerate(self.columns.values())]
        self._missing_bytes = -(-len(fixed) // 8)
        head = [("event", ">u8"), ("known", ">u8"), ("missing", "u1", (self._missing_bytes,))]
        self.dtype = np.dtype([*head, *fixed])

    def encode(self, rows: pa.Table, event: np.ndarray, known: np.ndarray) -> Iterator[bytes]:
        """The bytes of each row.

        Parameters
        ----------
        rows : with the columns.
        event, known : when each holds from, and when it was known, in microseconds since 1970.
        """
        fixed = np.zeros(rows.num_rows, self.dtype)
        fixed["event"] = event.astype(np.int64).view(np.uint64) ^ _SIGN
        fixed["known"] = known.astype(np.int64).view(np.uint64) ^ _SIGN
        missing = np.zeros((rows.num_rows, 8 * self._missing_bytes), bool)
        behind: list[list[bytes]] = []
        for at, (name, field, kind, is_behind) in enumerate(self._fields):
            column = _whole(rows[name].cast(kind))
            missing[:, at] = np.asarray(column.is_null())
            if is_behind:
                texts = _bytes(column, kind, name)
                fixed[field] = list(map(len, texts))
                behind.append(texts)
            else:
                fixed[field] = _numbers(column, kind)
        fixed["missing"] = np.packbits(missing, axis=1, bitorder="little")
        raw, size = fixed.tobytes(), self.dtype.itemsize
        heads = (raw[start : start + size] for start in range(0, len(raw), size))
        if not behind:
            return heads
        return (b"".join(parts) for parts in zip(heads, *behind, strict=True))

    def decode(self, rows: Sequence[bytes | None]) -> Rows:
        """The columns of rows, missing where there is none."""
        size = self.dtype.itemsize
        there = np.array([row is not None for row in rows], bool)
        fixed = np.frombuffer(b"".join([self._nothing if r is None else r[:size] for r in rows]), self.dtype)
        bits = np.unpackbits(fixed["missing"], axis=1, bitorder="little").astype(bool)
        some_missing: list[bool] = np.any(bits, axis=0).tolist()
        columns: dict[str, pa.Array] = {}
        starts = np.full(len(rows), size)
        for at, (name, field, kind, is_behind) in enumerate(self._fields):
            values, missing = fixed[field], bits[:, at]
            if is_behind:
                parts = [
                    None if gone or row is None else row[start : start + length]
                    for row, start, length, gone in zip(
                        rows, starts.tolist(), values.tolist(), missing.tolist(), strict=True
                    )
                ]
                starts = starts + values
                columns[name] = _from_bytes(parts, kind)
            else:
                columns[name] = _from_numbers(values, missing if some_missing[at] else None, kind)
        event = (fixed["event"].astype(np.uint64) ^ _SIGN).view(np.int64)
        return Rows(columns, event, there)

    @cached_property
    def _nothing(self) -> bytes:
        row = np.zeros(1, self.dtype)
        row["missing"] = 255
        return row.tobytes()


class KeyCodec:
    """Bytes of keys.

    Parameters
    ----------
    columns : name to type: whole numbers, text, bytes, truth values, dates or times.

    Raises
    ------
    SchemaError
        When a column is of another type.
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self.columns = {name: _key_type(name, _plain(kind)) for name, kind in columns.items()}

    def encode(self, rows: Mapping[str, pa.ChunkedArray | pa.Array]) -> list[bytes | None]:
        """The key of each row; None where a part of it is missing.

        Parameters
        ----------
        rows : the columns by name.

        Raises
        ------
        DataError
            When values cannot be of the type of the key.
        """
        parts = [_key_bytes(_cast_key(rows[name], kind, name), kind) for name, kind in self.columns.items()]
        if len(parts) == 1:
            return parts[0]
        return [
            None
            if None in values
            else b"".join(len(v).to_bytes(4, "big") + v for v in values if v is not None)
            for values in zip(*parts, strict=True)
        ]


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _is_behind(kind: pa.DataType) -> bool:
    """Whether values are of many lengths, or are written as text."""
    return pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_decimal(kind) or is_list(kind)


def _storage(kind: pa.DataType) -> str | None:
    """How NumPy holds the fixed part of a value."""
    if is_list(kind):
        items = kind.value_type
        return "<u4" if pa.types.is_integer(items) or pa.types.is_floating(items) else None
    if _is_behind(kind):
        return "<u4"
    if pa.types.is_boolean(kind):
        return "u1"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).newbyteorder("<").str)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return _TICKS[kind.bit_width]
    return None


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbers(column: pa.Array, kind: pa.DataType) -> np.ndarray:
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_temporal(kind):
        column = column.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, pa.int64()).cast(column.type))
    return np.asarray(column)


def _from_numbers(values: np.ndarray, missing: np.ndarray | None, kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(values.astype(bool), mask=missing)
    there = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    buffers = [there, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)  # `pa.array` takes four times as long for a few


def _bytes(column: pa.Array, kind: pa.DataType, name: str) -> list[bytes]:
    if is_list(kind):
        dtype = np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder("<")
        values = [value or () for value in column.to_pylist()]
        if any(None in value for value in values):
            raise DataError(f"Lists in {name!r} have missing numbers. Fill them.")
        return [np.asarray(value, dtype).tobytes() for value in values]
    text = column.cast(pa.string()) if pa.types.is_decimal(kind) else column
    return [value or b"" for value in text.cast(pa.binary()).to_pylist()]


def _from_bytes(parts: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    if is_list(kind):
        dtype = np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder("<")
        return pa.array([None if part is None else np.frombuffer(part, dtype) for part in parts], kind)
    return pa.array(parts, pa.binary()).cast(pa.string() if pa.types.is_decimal(kind) else kind).cast(kind)


def _key_type(name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_boolean(kind):
        return kind
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return pa.timestamp("us", getattr(kind, "tz", None))
    raise SchemaError(
        f"The key {name!r} is of type {kind}; whole numbers, text or times are needed. Cast it."
    )


def _cast_key(column: Any, kind: pa.DataType, name: str) -> pa.Array:
    try:
        values = _whole(column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column))
        if pa.types.is_null(values.type):
            return values.cast(kind)
        if pa.types.is_string(kind) != pa.types.is_string(_plain(values.type)):
            raise pa.ArrowInvalid(f"it holds {values.type}")
        if pa.types.is_floating(values.type):
            whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 9e15))
            values = pc.if_else(pc.fill_null(whole, False), values, None)
        return values.cast(kind)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"The key {name!r} is of type {kind}, and {error}. Give values of that type."
        ) from error


def _key_bytes(column: pa.Array, kind: pa.DataType) -> list[bytes | None]:
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return list(column.cast(pa.binary()).to_pylist())
    if kind == pa.uint64():
        raw = np.asarray(pc.fill_null(column, 0)).astype(">u8").tobytes()
    else:
        numbers = column.cast(pa.int64()) if not pa.types.is_timestamp(kind) else column.view(pa.int64())
        raw = np.asarray(pc.fill_null(numbers, 0)).astype(">i8").tobytes()
    keys = [raw[start : start + 8] for start in range(0, len(raw), 8)]
    if not column.null_count:
        return list(keys)
    there = np.asarray(column.is_valid()).tolist()
    return [key if known else None for key, known in zip(keys, there, strict=True)]
