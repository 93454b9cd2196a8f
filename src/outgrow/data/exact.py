"""Values that count by which they are, not by how large: of keys, categories and classes.

As a feature a decimal is the nearest float64. As a key it must not become one with its neighbours.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.decimals import decimal_numbers, long_decimals
from outgrow.errors import DataError

EXACT = 2**53
"""Whole numbers up to this one are numbers of float64, each another one; from here on neighbours are one."""
_INT64_DIGITS = 18


def exact_type(kind: pa.DataType) -> pa.DataType:
    """The type that `exact` gives columns of this type."""
    if not pa.types.is_decimal(kind):
        return kind
    if kind.scale > 0:
        return pa.float64()
    return pa.int64() if kind.precision - kind.scale <= _INT64_DIGITS else pa.decimal128(38, 0)


def exact(array: pa.Array, name: str) -> pa.Array:
    """Decimals as whole numbers where they have no fraction by their type, else as float64; others as is.

    Parameters
    ----------
    array : a column; only decimals are changed, and nulls stay.
    name : of the column, for the message.

    Raises
    ------
    DataError
        When a fraction has more digits than float64 keeps apart, or a whole number more than 38.
    """
    wanted = exact_type(array.type)
    if wanted == array.type:
        return array
    try:
        if array.type.scale <= 0:
            return array.cast(wanted)
        exact_values = pa.array(decimal_numbers(array), mask=_nulls(array))
        if pc.all(pc.equal(exact_values.cast(array.type), array)).as_py() is not False:
            return exact_values
        if not len(long_decimals(array)[0]):  # Arrow's cast back makes digits up where the type has many
            return exact_values
    except pa.ArrowInvalid:
        pass
    raise DataError(
        f"Column {name!r} of type {array.type} holds decimals with more digits than can be told apart "
        "as keys, categories or classes. Cast it to text."
    )


def _nulls(array: pa.Array) -> np.ndarray:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


def python_values(array: pa.Array) -> list[Any]:
    """The values as Python has them, whole decimals as `int`."""
    values: list[Any] = array.to_pylist()
    if pa.types.is_decimal(array.type):
        return [int(value) if isinstance(value, Decimal) else value for value in values]
    return values


def microseconds(array: pa.Array, name: str) -> pa.Array:
    """Dates and times as whole microseconds since 1970, in UTC; what is finer is cut off.

    Parameters
    ----------
    array : dates, or timestamps with or without a time zone; nulls stay.
    name : of the column, for the message.

    Returns
    -------
    Arrow int64.

    Raises
    ------
    DataError
        When a moment is some 292,000 years away, where 64 bits end.
    """
    kind = array.type
    finer = pa.types.is_timestamp(kind) and kind.unit == "ns"
    try:
        return array.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=not finer).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"Column {name!r} holds a time that 64 bits of microseconds cannot: {error}."
        ) from error


def finer_than_microseconds(array: pa.Array) -> np.ndarray | None:
    """The nanoseconds that `microseconds` cuts off, 0 for nulls; None where no value has any.

    Parameters
    ----------
    array : dates or timestamps.
    """
    if not (pa.types.is_timestamp(array.type) and array.type.unit == "ns"):
        return None
    rest = np.asarray(array.cast(pa.int64()).fill_null(0)) % 1_000
    return rest if rest.any() else None


def time_texts(array: pa.Array, name: str) -> pa.Array:
    """Dates and times as a dictionary of texts, in UTC: `2026-01-31`, or `2026-01-31 12:30:00` past midnight.

    The same moment has the same text, whatever its type, unit and time zone.

    Parameters
    ----------
    array, name : as for `microseconds`.
    """
    kind = pa.timestamp("us")
    whole = microseconds(array, name)
    if finer_than_microseconds(array) is not None:
        kind, whole = pa.timestamp("ns"), array.cast(pa.int64())
    encoded = whole.dictionary_encode()
    texts = encoded.dictionary.cast(kind).cast(pa.string())
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})000$", r"\1")
    texts = pc.replace_substring_regex(texts, r"( 00:00:00)?\.000000$", "")
    return pa.DictionaryArray.from_arrays(encoded.indices, texts)


def moment_text(micros: int) -> str:
    """Microseconds since 1970 as a date and time, of any year."""
    text: str = pa.scalar(micros, pa.timestamp("us")).cast(pa.string()).as_py()
    return text.removesuffix(".000000")


def readable(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows for messages: as Python has them, and as text the times that Python does not know."""
    try:
        records: list[dict[str, Any]] = rows.to_pylist()
    except (ValueError, OverflowError):
        kinds = [pa.string() if pa.types.is_temporal(field.type) else field.type for field in rows.schema]
        schema = pa.schema(list(zip(rows.schema.names, kinds, strict=True)))
        records = rows.cast(schema).to_pylist()
    return records
