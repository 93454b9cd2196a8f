"""The type that holds the values of several: of a column that is met in pieces."""

from __future__ import annotations

import pyarrow as pa

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
