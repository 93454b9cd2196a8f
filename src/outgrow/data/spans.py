"""Lengths of time as people write them, and the windows into which they cut it; all times are in UTC."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import DataError, ParameterError, SchemaError

TIME = pa.timestamp("us", "UTC")
_TEXT = re.compile(r"\s*(\d+)?\s*([a-z]+)\s*")
_UNITS = {
    "second": ("s", "sec", "second", "seconds"),
    "minute": ("m", "min", "minute", "minutes"),
    "hour": ("h", "hour", "hours"),
    "day": ("d", "day", "days"),
    "week": ("w", "week", "weeks"),
    "month": ("mo", "month", "months"),
    "year": ("y", "year", "years"),
}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


@dataclass(frozen=True)
class Span:
    """So many hours, days or months.

    Attributes
    ----------
    count : how many, at least 1.
    unit : "second", "minute", "hour", "day", "week", "month" or "year".
    """

    count: int
    unit: str

    @classmethod
    def of(cls, text: str | Span) -> Span:
        """Read "15min", "1h", "12 hours", "1d", "1w", "1mo", "1y".

        Raises
        ------
        ParameterError
            When it is no such text.
        """
        if isinstance(text, Span):
            return text
        match = _TEXT.fullmatch(str(text).lower())
        unit = next((name for name, words in _UNITS.items() if match and match[2] in words), None)
        if match is None or unit is None or match[1] == "0":
            raise ParameterError(
                f"{text!r} is no length of time. Write it as '15min', '1h', '1d', '1w', '1mo' or '1y'."
            )
        return cls(int(match[1] or 1), unit)

    def floor(self, times: pa.Array) -> pa.Array:
        """The beginning of the window of each time; weeks begin on Mondays.

        Parameters
        ----------
        times : of the type `TIME`.
        """
        return pc.floor_temporal(times, multiple=self.count, unit=self.unit)

    def end(self, start: datetime.datetime) -> datetime.datetime:
        """The end of the window that begins there, which is not in it."""
        if self.unit in _SECONDS:
            return start + datetime.timedelta(seconds=self.seconds)
        months = start.year * 12 + start.month - 1 + self.count * (12 if self.unit == "year" else 1)
        return start.replace(year=months // 12, month=months % 12 + 1)

    @property
    def seconds(self) -> float:
        """How long it is; months and years on average."""
        days = {"month": 365.2425 / 12, "year": 365.2425}
        return self.count * (_SECONDS.get(self.unit) or days[self.unit] * 86_400)

    def __str__(self) -> str:
        return f"{self.count}{_UNITS[self.unit][0] if self.unit != 'minute' else 'min'}"


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


def moment(text: str | datetime.datetime) -> datetime.datetime:
    """A time as people write it, in UTC if it says nothing else."""
    if isinstance(text, str):
        try:
            text = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise ParameterError(
                f"{text!r} is no time. Write it as 2026-11-27 or 2026-11-27T12:00:00Z."
            ) from None
    return text.replace(tzinfo=datetime.UTC) if text.tzinfo is None else text.astimezone(datetime.UTC)
