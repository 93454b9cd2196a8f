"""Dates and times as numbers: their parts, how far they are along a period, the time since 1970."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.exact import microseconds
from outgrow.data.kind import is_time
from outgrow.data.matrix import Matrix
from outgrow.data.names import distinct
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, OneOf
from outgrow.ml.core.task import Task, column_names

LEVELS = ("year", "month", "day", "hour", "minute", "second", "microsecond", "nanosecond")
_PERIODS = {"day_of_year": 366, "month": 12, "day": 30, "hour": 24, "weekday": 7}
_SPLINES = {"day_of_year": 12, "month": 12, "day": 4, "hour": 12, "weekday": 7}
_SECOND, _DAY = 10**6, 86_400 * 10**6  # in microseconds


class DatetimeEncoder(Transformer):
    """Replace each column of dates or times by columns of its parts.

    The parts are those of the clock in the time zone that the column had at the fit; times that come later in
    another zone are the same moments in that one. A time without a zone goes with UTC, and with no other:
    where the fit saw times of the one kind, those of the other are refused. Missing times have missing parts.

    Parameters
    ----------
    columns : which columns, by name or selector; all of dates and times by default.
    resolution : the finest of year, month, day, hour, minute, second, microsecond and nanosecond, which all
        become columns down to it, or None for none of them. A column that held nothing but midnights at the
        fit has none finer than the day.
    add_weekday : the day of the week, from 1 to 7.
    add_total_seconds : the seconds since 1970 in UTC, with their fraction.
    add_day_of_year : the day of the year, from 1 to 366.
    periodic_encoding : what day of the year, month, day, hour and weekday become, so that the end of a period
        is close to its beginning: 'circular' for a sine and a cosine, 'spline' for cubic B-splines that
        close, or None for the numbers.
    week_start : the first day of the week, 'monday' or 'sunday'.

    Attributes
    ----------
    time_zones_ : list of str or None, the time zone of each column.
    parts_ : list of lists of str, what each column becomes, such as 'year'.
    output_names_ : list of str, the new columns: `<column>_<part>`, `<column>_<part>_circular_0` and so on.

    Notes
    -----
    scikit-learn and Spark MLlib have no such class; names and defaults are those of skrub. Unlike skrub's:
    works on any number of columns, gives float64, so that seconds stay exact, and knows weeks that begin on
    Sunday.

    Examples
    --------
    >>> import datetime, pyarrow as pa, outgrow as og
    >>> rows = pa.table({"at": [datetime.datetime(2026, 1, 31, 18, 30)]})
    >>> og.DatetimeEncoder(add_weekday=True).fit_transform(rows).to_pylist()[0]
    {'at_year': 2026.0, 'at_month': 1.0, 'at_day': 31.0, 'at_hour': 18.0, 'at_total_seconds': 1769884200.0, \
'at_weekday': 6.0}
    """

    parameters = {
        "columns": COLUMNS,
        "resolution": OneOf(*LEVELS, None),
        "add_weekday": FLAG,
        "add_total_seconds": FLAG,
        "add_day_of_year": FLAG,
        "periodic_encoding": OneOf("circular", "spline", None),
        "week_start": OneOf("monday", "sunday"),
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "ONNX has no type for times",
        "scikit-learn": "it has no such class",
    }

    def __init__(
        self,
        columns: Columns = None,
        *,
        resolution: str | None = "hour",
        add_weekday: bool = False,
        add_total_seconds: bool = True,
        add_day_of_year: bool = False,
        periodic_encoding: str | None = None,
        week_start: str = "monday",
    ) -> None:
        self.columns = columns
        self.resolution = resolution
        self.add_weekday = add_weekday
        self.add_total_seconds = add_total_seconds
        self.add_day_of_year = add_day_of_year
        self.periodic_encoding = periodic_encoding
        self.week_start = week_start

    def _check_parameters(self) -> None:
        if self.resolution is None and not self._added:
            raise ParameterError(
                "DatetimeEncoder(resolution=None) without add_weekday, add_total_seconds and add_day_of_year "
                "leaves nothing of a time. Choose one of them."
            )

    @property
    def _added(self) -> list[str]:
        flags = {
            "total_seconds": self.add_total_seconds,
            "weekday": self.add_weekday,
            "day_of_year": self.add_day_of_year,
        }
        return [part for part, wanted in flags.items() if wanted]

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        times = [name for name in names if _is_time(shard.example[name])]
        if self.columns is not None and times != names:
            raise SchemaError(
                f"DatetimeEncoder works on dates and times; {[n for n in names if n not in times]} are not. "
                "Choose columns of those, or cast text to them before."
            )
        self.selected_ = times
        types = shard.example.arrow_types(times)
        self.time_zones_ = [getattr(types[name], "tz", None) for name in times]
        finest = 0 if self.resolution is None else LEVELS.index(self.resolution) + 1
        dates = self._dates(shard) if times and finest > 3 else np.zeros(len(times), dtype=bool)
        self.parts_ = [[*LEVELS[: min(finest, 3) if date else finest], *self._added] for date in dates]
        others = shard.example.drop(times)
        taken = {*others.columns, *column_names(others)}
        self.output_names_ = distinct(self._natural_names(), taken)

    def _dates(self, shard: Shard) -> np.ndarray:
        """Which columns hold nothing but midnights: from one pass."""

        def fold(batch: Batch) -> np.ndarray:
            return np.array([_past_midnight(clock) for _, clock, _ in self._clocks(batch)], dtype=np.float64)

        if all(map(pa.types.is_date, shard.example.arrow_types(self.selected_).values())):
            return np.ones(len(self.selected_), dtype=bool)
        found: np.ndarray = shard.reduce(fold) == 0
        return found

    def _clocks(self, batch: Batch) -> Iterator[tuple[pa.Array, np.ndarray, np.ndarray]]:
        """Of each column: the times, and the microseconds that its clock shows, and those of UTC."""
        for name, zone in zip(self.selected_, self.time_zones_, strict=True):
            column = batch[name]
            _check_zone(getattr(batch.arrow_types([name])[name], "tz", None), zone, name)
            micros = microseconds(column, name)
            yield column, _numbers(_local(micros, zone, name)), _numbers(micros)

    def _natural_names(self) -> list[str]:
        names = []
        for name, parts in zip(self.selected_, self.parts_, strict=True):
            plain = [part for part in parts if not self._is_periodic(part)]
            names += [f"{name}_{part}" for part in plain]
            names += [f"{name}_{label}" for part in parts for label in self._periodic_names(part)]
        return names

    def _is_periodic(self, part: str) -> bool:
        return self.periodic_encoding is not None and part in _PERIODS

    def _periodic_names(self, part: str) -> list[str]:
        if not self._is_periodic(part):
            return []
        count = 2 if self.periodic_encoding == "circular" else _SPLINES[part]
        digits = len(str(count - 1))
        return [f"{part}_{self.periodic_encoding}_{k:0{digits}}" for k in range(count)]

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = np.empty((batch.num_rows, len(self.output_names_)), order="F")
        at = 0
        for (column, clock, utc), parts in zip(self._clocks(batch), self.parts_, strict=True):
            missing = np.asarray(column.is_null())
            first = at
            numbers = {part: self._part(part, column, clock, utc) for part in parts}
            for part in [part for part in parts if not self._is_periodic(part)]:
                made[:, at] = numbers[part]
                at += 1
            for part in filter(self._is_periodic, parts):
                encoded = _circular if self.periodic_encoding == "circular" else _splines
                wide = encoded(numbers[part], part)
                made[:, at : at + wide.shape[1]] = wide
                at += wide.shape[1]
            made[missing, first:at] = np.nan
        return batch.replace_numbers(names, made, self.output_names_)

    def _part(self, part: str, column: pa.Array, clock: np.ndarray, utc: np.ndarray) -> np.ndarray:
        """A part of each time, as numbers.

        Parameters
        ----------
        part : its name.
        column : the times as they came.
        clock, utc : microseconds since 1970 that the clock shows, and those of UTC.
        """
        if part == "total_seconds":
            return utc / _SECOND
        if part == "weekday":  # 1970 began on a Thursday
            return (clock // _DAY + (3 if self.week_start == "monday" else 4)) % 7 + 1
        if part == "nanosecond":
            finer = getattr(column.type, "unit", "") == "ns"
            return _numbers(column.cast(pa.int64())) % 1000 if finer else np.zeros(len(clock))
        if part in _CLOCK:
            unit, count = _CLOCK[part]
            return clock // unit % count
        days = (clock // _DAY).astype("M8[D]")
        years, months = days.astype("M8[Y]"), days.astype("M8[M]")
        if part == "year":
            return years.astype(np.int64) + 1970
        if part == "month":
            return months.astype(np.int64) % 12 + 1
        start = years if part == "day_of_year" else months
        return (days - start.astype("M8[D]")).astype(np.int64) + 1

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, Any]:
        start = np.datetime64("2026-01-31T05:00", "us")
        return {name: start + random.integers(0, 10**9, rows) * 10**6 for name in "abc"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.allow_nan = True
        return tags


_CLOCK = {
    "hour": (3600 * _SECOND, 24),
    "minute": (60 * _SECOND, 60),
    "second": (_SECOND, 60),
    "microsecond": (1, _SECOND),
}
"""Parts of a day: their length in microseconds, and how many there are in the next longer one."""


def _is_time(column: Any) -> bool:
    return not isinstance(column, Matrix) and is_time(column.type)


def _numbers(whole: pa.Array) -> np.ndarray:
    """Whole numbers, 0 where they are missing."""
    filled: np.ndarray = whole.fill_null(0).to_numpy(zero_copy_only=False)
    return filled


def _past_midnight(clock: np.ndarray) -> bool:
    return bool((clock % _DAY != 0).any())


def _local(micros: pa.Array, zone: str | None, name: str) -> pa.Array:
    """What clocks show in a time zone, in microseconds.

    Raises
    ------
    DataError
        When the time zone is not known here.
    """
    if zone is None or _is_utc(zone):
        return micros
    try:
        return pc.local_timestamp(micros.cast(pa.timestamp("us", zone))).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"Column {name!r} is in the time zone {zone!r}, whose clocks are not known here: {error}. "
            "Cast it to another."
        ) from error


def _check_zone(given: str | None, fitted: str | None, name: str) -> None:
    """Refuse clocks of which nobody knows where they hang, beside those of which the zone is known.

    Raises
    ------
    SchemaError
        When one of both has a zone other than UTC, and the other none.
    """
    if _is_utc(given) or _is_utc(fitted) or (given is None) == (fitted is None):
        return
    if given is None:
        raise SchemaError(
            f"Column {name!r} had the time zone {fitted!r} at the fit, and now its times have none, so their "
            "clocks may hang anywhere. Say where: pyarrow.compute.assume_timezone, or tz_localize of pandas."
        )
    raise SchemaError(
        f"Column {name!r} had times without a zone at the fit, and now they are of {given!r}. Give what "
        "their clocks show: pyarrow.compute.local_timestamp, or tz_localize(None) of pandas; or fit anew."
    )


def _is_utc(zone: str | None) -> bool:
    return zone is not None and zone.upper() in ("UTC", "+00:00", "ETC/UTC", "Z")


def _circular(numbers: np.ndarray, part: str) -> np.ndarray:
    """The sine and the cosine of the way through a period."""
    angle = numbers / _PERIODS[part] * 2 * np.pi
    return np.column_stack([np.sin(angle), np.cos(angle)])


def _splines(numbers: np.ndarray, part: str) -> np.ndarray:
    """Cubic B-splines on a circle, of which four are not zero at any point."""
    count = _SPLINES[part]
    along = numbers % _PERIODS[part] * (count / _PERIODS[part])
    cell = np.floor(along).astype(np.intp)
    x = along - cell
    weights = [(1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3]
    made = np.zeros((len(numbers), count))
    rows = np.arange(len(numbers))
    for k, weight in enumerate(weights):
        made[rows, (cell + k) % count] += weight / 6
    return made
