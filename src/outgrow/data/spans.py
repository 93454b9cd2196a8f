"""Lengths of time as people write them, and the windows into which they cut it; all times are in UTC."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import DataError, ParameterError, SchemaError

TIME = pa.timestamp("us", "UTC")
_TEXT = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)?\s*([a-z]+)\s*")
_UNITS = {
    "microsecond": ("us", "microsecond", "microseconds"),
    "millisecond": ("ms", "millisecond", "milliseconds"),
    "second": ("s", "sec", "second", "seconds"),
    "minute": ("min", "m", "minute", "minutes"),
    "hour": ("h", "hour", "hours"),
    "day": ("d", "day", "days"),
    "week": ("w", "week", "weeks"),
    "month": ("mo", "month", "months"),
    "year": ("y", "year", "years"),
}
_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 10**6,
    "minute": 60 * 10**6,
    "hour": 3_600 * 10**6,
    "day": 86_400 * 10**6,
    "week": 604_800 * 10**6,
}
_MONTHS = {"month": 1, "year": 12}
_DAYS_OF_MONTH = 365.2425 / 12
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LONGEST = 10_000 * 365 * _MICROSECONDS["day"]
_EXAMPLES = "'90s', '15min', '12h', '7d' or '2w'"


@dataclass(frozen=True)
class Span:
    """So many hours, days or months.

    Attributes
    ----------
    count : how many, at least 1.
    unit : "microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month" or "year".
    """

    count: int
    unit: str

    @classmethod
    def of(cls, length: str | datetime.timedelta | Span) -> Span:
        """Read "90s", "15min", "1.5h", "12 hours", "1d", "1w", "1mo", "1y" or a timedelta.

        Raises
        ------
        ParameterError
            When it is no length of time, or none at all.
        """
        span = _read(length)
        if span is None or not span.count:
            raise ParameterError(
                f"{_as_given(length)} is no length of time. Write it as {_EXAMPLES}, '1mo' or '1y'."
            )
        return span

    def floor(self, times: pa.Array) -> pa.Array:
        """The beginning of the window of each time; weeks begin on Mondays.

        Parameters
        ----------
        times : of the type `TIME`.
        """
        return pc.floor_temporal(times, multiple=self.count, unit=self.unit)

    def end(self, start: datetime.datetime) -> datetime.datetime:
        """The end of the window that begins there, which is not in it; no later than a datetime can be.

        Such a window is that of 9999-12-31, with which tables say that something has no end.
        """
        try:
            return self._after(start)
        except (ValueError, OverflowError):
            return datetime.datetime.max.replace(tzinfo=start.tzinfo)

    def _after(self, start: datetime.datetime) -> datetime.datetime:
        if self.unit in _MICROSECONDS:
            return start + datetime.timedelta(microseconds=self.count * _MICROSECONDS[self.unit])
        months = start.year * 12 + start.month - 1 + self.count * _MONTHS[self.unit]
        return start.replace(year=months // 12, month=months % 12 + 1)

    @property
    def seconds(self) -> float:
        """How long it is; months and years on average."""
        if self.unit in _MICROSECONDS:
            return self.count * _MICROSECONDS[self.unit] / 10**6
        return self.count * _MONTHS[self.unit] * _DAYS_OF_MONTH * 86_400

    def nests(self, shorter: Span) -> bool:
        """Whether each window of a shorter length lies in one window of this one, so that their counts add.

        Parameters
        ----------
        shorter : perhaps as long; one that is longer never does.
        """
        length, size, day = self._size, shorter._size, _MICROSECONDS["day"]
        if self.unit in _MONTHS and shorter.unit in _MICROSECONDS:
            return day % size == 0  # months begin on any day, so weeks do not fit
        same = (self.unit in _MONTHS) == (shorter.unit in _MONTHS)
        return same and length % size == 0 and (self._offset - shorter._offset) % size == 0

    @property
    def _size(self) -> int:
        """In microseconds, or in months."""
        return self.count * (_MONTHS.get(self.unit) or _MICROSECONDS[self.unit])

    @property
    def _offset(self) -> int:
        """Where the window begins in which 1970 does, in microseconds or months from there."""
        (start,) = self.floor(pa.array([0], pa.int64()).cast(TIME)).to_pylist()
        if self.unit in _MONTHS:
            return (start.year - 1970) * 12 + start.month - 1
        return (start - _EPOCH) // datetime.timedelta(microseconds=1)

    def __str__(self) -> str:
        return f"{self.count}{_UNITS[self.unit][0]}"


Length = str | datetime.timedelta
"""'90s', '15min', '12h', '7d', '2w', or a timedelta."""


def microseconds_of(length: Length, name: str) -> int:
    """A length of time in microseconds; it may be none at all.

    Parameters
    ----------
    length : a text or timedelta.
    name : of the parameter, for the message.

    Raises
    ------
    ParameterError
        When it is no length of time, a negative one, or one of months, which are not all of one length.
    """
    span = _read(length)
    if span is None or span.unit not in _MICROSECONDS:
        raise ParameterError(
            f"{name}={_as_given(length)} is no fixed length of time. Give one like {_EXAMPLES}, or a "
            "timedelta."
        )
    return span.count * _MICROSECONDS[span.unit]


def length_of(microseconds: int) -> str:
    """A length of time as people write it, in its largest whole unit of at most a day."""
    return str(_in_largest_unit(microseconds))


def _read(length: object) -> Span | None:
    """The length; None where it is none that can be read, or past ten thousand years."""
    if isinstance(length, Span):
        return length
    if isinstance(length, datetime.timedelta):
        whole = length // datetime.timedelta(microseconds=1)
        return _in_largest_unit(whole) if 0 <= whole <= _LONGEST else None
    match = _TEXT.fullmatch(length.lower()) if isinstance(length, str) else None
    unit = next((name for name, words in _UNITS.items() if match and match[2] in words), None)
    if match is None or unit is None:
        return None
    count = Fraction(match[1] or 1)
    size = _MICROSECONDS.get(unit, round(_MONTHS.get(unit, 0) * _DAYS_OF_MONTH * _MICROSECONDS["day"]))
    if count * size > _LONGEST:
        return None
    if count.denominator == 1:
        return Span(int(count), unit)
    parts = count * size
    return _in_largest_unit(int(parts)) if unit in _MICROSECONDS and parts.denominator == 1 else None


def _in_largest_unit(microseconds: int) -> Span:
    units = ("day", "hour", "minute", "second", "millisecond", "microsecond")
    unit = next(unit for unit in units if microseconds % _MICROSECONDS[unit] == 0)
    return Span(microseconds // _MICROSECONDS[unit], unit)


def _as_given(length: object) -> str:
    return f"'{length}'" if isinstance(length, datetime.timedelta) else repr(length)


def as_times(column: Any, name: str) -> pa.Array:
    """A column of times, dates or text as times in UTC; those without a zone are taken for UTC.

    Parameters
    ----------
    column : an Arrow array.
    name : of the column, for the message.

    Raises
    ------
    SchemaError
        When it holds neither times nor text.
    DataError
        When a text is no time.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False).cast(TIME)
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).cast(TIME)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise SchemaError(f"{name!r} holds {kind}, no times. Cast it to a timestamp first.")
    try:
        return column.cast(TIME)
    except pa.ArrowInvalid:
        pass
    try:
        return column.cast(pa.timestamp("us")).cast(TIME)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{name!r} holds text that is no time: {error}. Write 2026-11-27T12:00:00Z."
        ) from error


def microseconds(times: pa.Array) -> np.ndarray:
    """Times as whole numbers since 1970; the least int64 where there is none."""
    least = np.iinfo(np.int64).min
    return np.asarray(times.cast(pa.int64()).fill_null(least).to_numpy(zero_copy_only=False))


Moment = str | datetime.date | datetime.datetime | np.datetime64


def moment(when: Moment, name: str = "") -> datetime.datetime:
    """A time as people give it, in UTC if it says nothing else; of a day, its beginning.

    Parameters
    ----------
    when : text in ISO 8601, a date or a datetime, also of pandas or NumPy.
    name : of the parameter, for the message.

    Raises
    ------
    ParameterError
        When it is none, or none between the years 1 and 9999.

    Examples
    --------
    >>> import datetime
    >>> moment(datetime.date(2026, 11, 27)) == moment("2026-11-27T01:00+01:00")
    True
    """
    given: Any = when
    try:
        if isinstance(given, np.datetime64):
            given = given.astype("datetime64[us]").item()
        elif isinstance(given, str):
            given = datetime.datetime.fromisoformat(given.strip())
        if isinstance(given, datetime.date) and not isinstance(given, datetime.datetime):
            given = datetime.datetime.combine(given, datetime.time())
        if isinstance(given, datetime.datetime) and given == given:  # pandas' NaT is none and says it is one
            utc = datetime.UTC
            return given.replace(tzinfo=utc) if given.tzinfo is None else given.astimezone(utc)
    except (ValueError, OverflowError):
        pass
    raise ParameterError(
        f"{name}{'=' if name else ''}{when!r} is no time. Give a date or a datetime, or write it as "
        "2026-11-27 or 2026-11-27T12:00:00Z."
    )
