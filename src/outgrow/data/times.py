"""Columns that order rows, and the moments that part them: numbers, dates, times, or text."""

from __future__ import annotations

import datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.exact import microseconds
from outgrow.data.kind import is_time
from outgrow.data.matrix import Matrix, numbers
from outgrow.errors import DataError, ParameterError, SchemaError

_DAY_NANOSECONDS = 86_400 * 10**9
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH = datetime.datetime(1970, 1, 1)


def moments(batch: Batch, name: str, who: str) -> np.ndarray:
    """A column of numbers or times as float64, times in microseconds since 1970.

    Parameters
    ----------
    batch : the rows.
    name : of the column.
    who : what needs it, as the messages begin.

    Returns
    -------
    Shape (rows,), without NaN.

    Raises
    ------
    SchemaError
        When the column holds neither.
    DataError
        When values are missing.
    """
    column = batch[name]
    if isinstance(column, Matrix) or not (is_time(column.type) or is_numeric(column.type)):
        kind = "vectors" if isinstance(column, Matrix) else str(column.type)
        raise SchemaError(f"{who} needs a column of times or numbers; {name!r} holds {kind}.")
    if is_time(column.type):
        column = microseconds(column, name)
    values = numbers(column).astype(np.float64)
    missing = int(np.count_nonzero(np.isnan(values)))
    if missing:
        raise DataError(
            f"{who}: {missing} row(s) have no value in {name!r}, which orders the rows. Fill or drop those."
        )
    return values


def before(name: str, kind: pa.DataType, at: Any) -> pc.Expression:
    """The condition that a column of a type is before a moment; it is never true of a missing value.

    Parameters
    ----------
    at : for numbers a number, for text a text, for times a date, a datetime, a NumPy or pandas one, or text
        in ISO 8601. Without a time zone it is taken to be in that of the column.

    Raises
    ------
    ParameterError
        When it is of another kind.
    SchemaError
        When the column is neither of numbers, of times, nor of text.
    """
    column = pc.field(name)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if is_time(kind):
        return column < _time(at, kind)
    if is_numeric(kind) and not pa.types.is_boolean(kind):
        return column < _number(at, kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        if not isinstance(at, str):
            raise _refused(at, kind, "Give text, or read the column as dates.")
        return column < pa.scalar(at, kind)
    raise SchemaError(f"time={name!r} is a column of type {kind}. It must hold numbers, times or text.")


def _number(at: Any, kind: pa.DataType) -> pa.Scalar:
    value = at.item() if isinstance(at, np.generic) else at
    if isinstance(value, bool) or not isinstance(value, Real | Decimal) or value != value:
        raise _refused(at, kind, "Give a number.")
    try:
        return pa.scalar(value)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise _refused(at, kind, "Give a number that fits 64 bits.") from error


def steps_between(low: Any, high: Any, kind: pa.DataType) -> tuple[int | None, int | None]:
    """The first and the last whole number that a column of times may hold for a moment from low to high.

    Parameters
    ----------
    low, high : moments as `before` takes them; None for no end.
    kind : the type of the column, which counts days or parts of seconds since 1970.

    Raises
    ------
    ParameterError
        When one is no moment.
    """
    return (
        None if low is None else _first_step(low, kind),
        None if high is None else -_first_step(high, kind, down=True),
    )


def _first_step(at: Any, kind: pa.DataType, *, down: bool = False) -> int:
    """The first step that is not before a moment; with `down` minus the last that is not after it."""
    unit = "ms" if kind == pa.date64() else getattr(kind, "unit", None)
    step = _DAY_NANOSECONDS if unit is None else _NANOSECONDS[unit]
    count = _nanoseconds(at, getattr(kind, "tz", None), kind)
    return -((count if down else -count) // step)


def _time(at: Any, kind: pa.DataType) -> pa.Scalar:
    """The first moment that the column can tell and that is not before `at`."""
    days = kind != pa.date64() and getattr(kind, "unit", None) is None
    try:
        return pa.scalar(_first_step(at, kind), pa.int32() if days else pa.int64()).cast(kind)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise _refused(at, kind, "Give a moment that the column could hold.") from error


def _nanoseconds(at: Any, zone: str | None, kind: pa.DataType) -> int:
    """A moment as nanoseconds since 1970, in UTC where there is a time zone."""
    if isinstance(at, np.datetime64) and not np.isnat(at):
        days, rest = at.astype("datetime64[D]"), 0
        unit, count = np.datetime_data(at.dtype)
        if unit in ("h", "m", "s", "ms", "us", "ns"):
            within = {"h": 3600 * 10**9, "m": 60 * 10**9, **_NANOSECONDS}[unit] * count
            rest = int((at - days.astype(at.dtype)).astype(np.int64)) * within
        return _in_zone(int(days.astype(np.int64)) * _DAY_NANOSECONDS + rest, zone)
    moment = _datetime(at, kind)
    if moment.tzinfo is not None and zone is None:
        raise _refused(at, kind, "The column has no time zone, so leave it out.")
    utc = moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment
    apart = utc - _EPOCH
    count = (apart.days * 86_400 + apart.seconds) * 10**9 + apart.microseconds * 10**3
    return (
        count + getattr(moment, "nanosecond", 0)
        if moment.tzinfo
        else _in_zone(count + getattr(moment, "nanosecond", 0), zone)
    )


def _in_zone(count: int, zone: str | None) -> int:
    """Nanoseconds of a clock in a time zone as those in UTC; of two such moments the earlier."""
    if zone is None:
        return count
    clock = pa.scalar(count // 10**9, pa.int64()).cast(pa.timestamp("s"))
    utc = pc.assume_timezone(clock, zone, ambiguous="earliest", nonexistent="earliest")
    return int(utc.cast(pa.int64()).as_py()) * 10**9 + count % 10**9


def _datetime(at: Any, kind: pa.DataType) -> datetime.datetime:
    value = at.as_py() if isinstance(at, pa.Scalar) else at
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            raise _refused(at, kind, "Write it like '2026-01-31' or '2026-01-31 12:00:00'.") from None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if not isinstance(value, datetime.datetime) or value != value:
        raise _refused(at, kind, "Give a date, a datetime, or text like '2026-01-31 12:00:00'.")
    return value


def _refused(at: Any, kind: pa.DataType, advice: str) -> ParameterError:
    return ParameterError(f"at={at!r} does not part a column of type {kind}. {advice}")
