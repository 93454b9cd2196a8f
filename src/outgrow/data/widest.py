"""The type that holds the values of several: of a column that is met in pieces."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from outgrow.data.plain import plain_type
from outgrow.errors import DataError

WHOLE = pa.decimal128(38, 0)
"""Of whole numbers that 64 bits do not hold."""


def wider(name: str, one: pa.DataType, other: pa.DataType, *, fits_text: bool) -> pa.DataType:
    """The narrowest type that holds the values of both.

    Parameters
    ----------
    fits_text : whether any value may be text.

    Raises
    ------
    DataError
        When no type does.

    Examples
    --------
    >>> wider("x", pa.int64(), pa.decimal128(38, 0), fits_text=False)
    Decimal128Type(decimal128(38, 0))
    >>> wider("x", pa.int64(), pa.string(), fits_text=True)
    DataType(string)
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if _is_number(one) and _is_number(other):
        whole = not any(map(pa.types.is_floating, (one, other)))
        return WHOLE if whole else pa.float64()
    zone = _zone(one)
    if zone is not None and zone == _zone(other):
        return max(one, other, key=_fineness)
    texts = all(pa.types.is_string(kind) or _zone(kind) is not None for kind in (one, other))
    if fits_text or texts:  # moments were text, too, before they were understood
        return pa.string()
    return _wider_nested(name, one, other)


def widest(one: pa.Schema, other: pa.Schema, optional: Collection[str]) -> pa.Schema:
    """The columns of one schema in types that hold the values of another file, too.

    Parameters
    ----------
    one, other : of files.
    optional : columns that the other may lack.

    Raises
    ------
    DataError
        When they have other columns, or one whose values mean something else.
    """
    names = set(other.names)
    if names - set(one.names) or set(one.names) - names - set(optional):
        raise DataError("other columns")
    return pa.schema(
        [
            field.with_type(wider_stored(field.name, field.type, other.field(field.name).type))
            if field.name in names
            else field
            for field in one
        ]
    )


def wider_stored(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of a column in two files whose columns have types.

    Numbers of all widths go together, and so do the ways to store text, times of one zone, lists. Text and
    numbers do not: in one of the files they are a mistake.

    Parameters
    ----------
    name : the column, for the message.
    one, other : its types.

    Raises
    ------
    DataError
        When values of the two mean different things.

    Examples
    --------
    >>> wider_stored("x", pa.int32(), pa.float64())
    DataType(double)
    >>> wider_stored("x", pa.large_string(), pa.dictionary(pa.int8(), pa.string()))
    DataType(string)
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    one, other = _values(one), _values(other)
    if one == other:
        return one
    zone = _zone(one)
    if zone is not None and zone == _zone(other):
        return max(one, other, key=_fineness)
    if pa.types.is_decimal(one) and pa.types.is_floating(other):
        return pa.float64()
    if pa.types.is_floating(one) and pa.types.is_decimal(other):
        return pa.float64()
    if pa.types.is_string(one) != pa.types.is_string(other):
        raise DataError(f"column {name!r} holds {one} and {other}. Write values of one type")
    return _wider_nested(name, one, other)


def _values(kind: pa.DataType) -> pa.DataType:
    plain = plain_type(kind)
    return plain.value_type if pa.types.is_dictionary(plain) else plain


def _wider_nested(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    try:
        both = [pa.schema([(name, kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field(name).type
    except pa.ArrowException:
        raise DataError(f"column {name!r} holds {one} and {other}. Write values of one type") from None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == WHOLE)


def _zone(kind: pa.DataType) -> str | None:
    """'' for times without a zone, None for what is no time."""
    if pa.types.is_date(kind):
        return ""
    return (kind.tz or "") if pa.types.is_timestamp(kind) else None


def _fineness(kind: pa.DataType) -> int:
    return 0 if pa.types.is_date(kind) else 1 + ["s", "ms", "us", "ns"].index(kind.unit)
