"""What went before a row: earlier values of its key, and statistics of them, without a look ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from outgrow.data.batch import is_numeric
from outgrow.data.kind import is_time
from outgrow.data.names import check_free, numbered
from outgrow.data.scan import check_columns
from outgrow.data.spans import microseconds_of
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.sql import sql
from outgrow.errors import DataError, ParameterError, SchemaError

_STATISTICS = {
    "mean": "AVG",
    "sum": "SUM",
    "min": "MIN",
    "max": "MAX",
    "std": "STDDEV_SAMP",
    "count": "COUNT",
}
_RENAME = "Rename those, or leave them out."


def lag_features(
    rows: Any,
    *,
    by: str | Sequence[str],
    time: str,
    columns: str | Sequence[str],
    lags: int | Sequence[int] = 1,
) -> Dataset:
    """Rows with earlier values of their key: `<column>_lag_<n>`, the value n rows before in time.

    It is a step before a model, not one of its pipeline: a single row, such as a server gets, does not bring
    what went before it. Whoever asks gives the columns, made by this function of old and new rows together,
    or looked up.

    Parameters
    ----------
    rows : dataset, Spark DataFrame or table.
    by : the column of the key, or several.
    time : the column that orders the rows of a key: numbers, dates or times, none missing.
    columns : whose earlier values are wanted; the target may be among them.
    lags : how many rows back, each at least 1. Rows that have not so many before them have no value.

    Returns
    -------
    Dataset
        The rows with the new columns, in no particular order; by DuckDB here, on Spark by Spark.

    Raises
    ------
    ParameterError
        When a lag is no whole number of at least 1: a row must not know what comes after it.
    DataError
        When a time is missing, or a key has two rows of one time, whose order nothing tells.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"shop": ["a", "b", "a", "a"], "day": [1, 1, 3, 2], "sold": [5, 7, 9, 8]})
    >>> made = og.lag_features(rows, by="shop", time="day", columns="sold", lags=[1, 2]).to_arrow()
    >>> made.sort_by([("shop", "ascending"), ("day", "ascending")]).select([3, 4]).to_pydict()
    {'sold_lag_1': [None, 5, 8, None], 'sold_lag_2': [None, None, 5, None]}
    """
    wanted = [lags] if isinstance(lags, int) else list(lags)
    wrong = [lag for lag in wanted if not isinstance(lag, int) or isinstance(lag, bool) or lag < 1]
    if wrong or not wanted:
        raise ParameterError(f"lags={lags!r}: whole numbers of at least 1 are needed.")
    history = _History.of(rows, by, time, columns)
    window = f"({history.partition} ORDER BY {_quoted(time)})"
    made = {
        f"{name}_lag_{lag}": f"LAG({_quoted(name)}, {lag}) OVER {window}"
        for name in history.columns
        for lag in wanted
    }
    return history.beside(made, check_ties=True)


def rolling_features(
    rows: Any,
    *,
    by: str | Sequence[str],
    time: str,
    columns: str | Sequence[str],
    windows: int | str | Sequence[int | str],
    statistics: str | Sequence[str] = "mean",
    closed: str = "left",
    min_periods: int = 1,
) -> Dataset:
    """Rows with statistics of what went before in their key: `<column>_<statistic>_<window>`.

    By default a row does not count in its own windows, nor do others of its key at the same time, so that a
    column may be the target. As with `lag_features`, this comes before a model, not in its pipeline.

    Parameters
    ----------
    rows : dataset, Spark DataFrame or table.
    by : the column of the key, or several.
    time : the column that orders the rows of a key: numbers, dates or times, none missing.
    columns : numbers of which the statistics are wanted; missing ones and NaN do not count.
    windows : each so many rows, or so much time: '90s', '15min', '12h', '7d', '2w'.
    statistics : of 'mean', 'sum', 'min', 'max', 'std' (of a sample) and 'count'.
    closed : 'left' for windows that end before the row, or 'right' for those that end with it; a window of
        time w is [t - w, t) or (t - w, t].
    min_periods : with fewer values in the window there is none.

    Returns
    -------
    Dataset
        The rows with the new columns, in no particular order; by DuckDB here, on Spark by Spark.

    Raises
    ------
    ParameterError
        When a window, a statistic or `closed` is none of those.
    SchemaError
        When a column holds no numbers, or windows are of time and `time` holds none.
    DataError
        When a time is missing, or windows are of rows and a key has two of one time.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"shop": ["a", "a", "a"], "day": [1, 2, 3], "sold": [5.0, 8.0, 9.0]})
    >>> made = og.rolling_features(rows, by="shop", time="day", columns="sold", windows=2)
    >>> sorted(made.to_arrow()["sold_mean_2"].to_pylist(), key=str)
    [5.0, 6.5, None]
    """
    wanted = [statistics] if isinstance(statistics, str) else list(statistics)
    unknown = [name for name in wanted if name not in _STATISTICS]
    if unknown or not wanted:
        raise ParameterError(f"statistics={statistics!r}: give some of {list(_STATISTICS)}.")
    if closed not in ("left", "right"):
        raise ParameterError(f"closed={closed!r}: 'left' ends a window before the row, 'right' with it.")
    if not isinstance(min_periods, int) or min_periods < 1:
        raise ParameterError(f"min_periods={min_periods!r}: a whole number of at least 1 is needed.")
    spans = [windows] if isinstance(windows, int | str) else list(windows)
    history = _History.of(rows, by, time, columns, numbers=True)
    made = {}
    for span in spans:
        window = history.window(span, closed)
        for name in history.columns:
            value = history.value(name)
            for statistic in wanted:
                told = f"{_STATISTICS[statistic]}({value}) OVER {window}"
                made[f"{name}_{statistic}_{span}"] = (
                    told
                    if statistic == "count"
                    else f"CASE WHEN COUNT({value}) OVER {window} >= {min_periods} THEN {told} END"
                )
    return history.beside(made, check_ties=any(isinstance(span, int) for span in spans))


def sequences(
    rows: Any,
    *,
    by: str | Sequence[str],
    time: str,
    columns: str | Sequence[str],
    length: int,
    step: int = 1,
    max_gap: float | str | None = None,
) -> Dataset:
    """Windows of consecutive rows of a key: of each column, a list of so many values, earliest first.

    What Petastorm calls n-grams; windows may span files and row groups. `og.Loader` makes tensors of the
    lists, of shape (rows, length).

    Parameters
    ----------
    rows : dataset, Spark DataFrame or table.
    by : the column of the key, or several.
    time : the column that orders the rows of a key: numbers, dates or times, none missing.
    columns : whose values are wanted; the target may be among them.
    length : rows of a window.
    step : from the beginning of a window to that of the next one; `length` for windows that share no row.
    max_gap : windows in which the time between two rows that follow one another is larger are left out: a
        number where `time` holds numbers, else so much time, such as '15min' or '7d'.

    Returns
    -------
    Dataset
        `by`, `time` of the last row of the window, and `columns`, in no particular order.

    Raises
    ------
    ParameterError
        When `length`, `step` or `max_gap` cannot be.
    DataError
        When a time is missing, or a key has two rows of one time, whose order nothing tells.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"shop": ["a", "b", "a", "a"], "day": [1, 1, 3, 2], "sold": [5, 7, 9, 8]})
    >>> og.sequences(rows, by="shop", time="day", columns="sold", length=3).to_arrow().to_pylist()
    [{'shop': 'a', 'day': 3, 'sold': [5, 8, 9]}]
    """
    for name, value, least in (("length", length, 1), ("step", step, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{name}={value!r}: a whole number of at least {least} is needed.")
    history = _History.of(rows, by, time, columns)
    return history.windows(length, step, max_gap)


class _History:
    """Rows, and how those of a key follow one another."""

    def __init__(self, rows: Dataset, by: list[str], time: str, columns: list[str]) -> None:
        self.rows, self.by, self.time, self.columns = rows, by, time, columns
        self.partition = f"PARTITION BY {', '.join(map(_quoted, by))}"

    @classmethod
    def of(
        cls,
        rows: Any,
        by: str | Sequence[str],
        time: str,
        columns: str | Sequence[str],
        *,
        numbers: bool = False,
    ) -> _History:
        opened = dataset(rows)
        keys = [by] if isinstance(by, str) else list(by)
        values = [columns] if isinstance(columns, str) else list(columns)
        if not keys or not values:
            raise ParameterError(f"by={by!r}, columns={columns!r}: name at least one column each.")
        check_columns(opened.schema, [*keys, time, *values])
        kind = opened.schema.field(time).type
        if not (is_time(kind) or is_numeric(kind)):
            raise SchemaError(f"time={time!r} is of type {kind}; numbers, dates or times order rows.")
        text = [name for name in values if not is_numeric(opened.schema.field(name).type)]
        if numbers and text:
            raise SchemaError(f"Statistics are of numbers; {text} are not.")
        return cls(opened, keys, time, values)

    def value(self, name: str) -> str:
        """A column of numbers in SQL, NaN as missing."""
        quoted = _quoted(name)
        if pa.types.is_floating(self.rows.schema.field(name).type):
            quoted = f"CASE WHEN ISNAN({quoted}) THEN NULL ELSE {quoted} END"
        return f"CAST({quoted} AS DOUBLE)"

    def window(self, span: int | str, closed: str) -> str:
        """A window in SQL."""
        if isinstance(span, int) and not isinstance(span, bool) and span >= 1:
            frame = (
                f"{span} PRECEDING AND 1 PRECEDING"
                if closed == "left"
                else f"{span - 1} PRECEDING AND CURRENT ROW"
            )
            return f"({self.partition} ORDER BY {_quoted(self.time)} ROWS BETWEEN {frame})"
        length = microseconds_of(span, "windows") if isinstance(span, str) else 0
        if not length:
            raise ParameterError(
                f"windows: {span!r} is neither a number of rows of at least 1, nor a time such as "
                "'15min' or '7d'."
            )
        kind = self.rows.schema.field(self.time).type
        if not is_time(kind):
            raise SchemaError(
                f"The window {span!r} is of time, and {self.time!r} holds numbers. Cast it, or count rows."
            )
        # in microseconds, as days of a time zone are not all of one length
        ordered = f"CAST({_quoted(self.time)} AS TIMESTAMP)" if pa.types.is_date(kind) else _quoted(self.time)
        ends = f"{_micros(length)} PRECEDING AND {_micros(1)} PRECEDING"
        if closed == "right":
            ends = f"{_micros(length - 1)} PRECEDING AND CURRENT ROW"
        return f"({self.partition} ORDER BY {ordered} RANGE BETWEEN {ends})"

    def windows(self, length: int, step: int, max_gap: float | str | None) -> Dataset:
        """Windows of so many rows, each a row with lists."""
        both = [name for name in self.columns if name in (*self.by, self.time)]
        if both:
            raise ParameterError(f"columns: {both} tell which window it is, and cannot be lists besides.")
        self._check(ties=True)
        keys, time = ", ".join(map(_quoted, self.by)), _quoted(self.time)
        order = f"{self.partition} ORDER BY {time}"
        number, gap = (numbered(name, self.rows.columns) for name in ("__number", "__gap"))
        names = ", ".join(map(_quoted, self.columns))
        lists = ", ".join(
            f"[{', '.join(_back(name, back, order) for back in reversed(range(length)))}] AS {_quoted(name)}"
            for name in self.columns
        )
        gaps = f"SUM({gap}) OVER ({order} ROWS BETWEEN {max(0, length - 2)} PRECEDING AND CURRENT ROW)"
        wanted = f"{number} >= {length} AND ({number} - {length}) % {step} = 0"
        if max_gap is not None and length > 1:
            wanted += f" AND {gap} = 0"
        return self._query(
            f"WITH numbered AS (SELECT {keys}, {time}, {names}, ROW_NUMBER() OVER ({order}) AS {number}, "
            f"{self._gap(max_gap, order)} AS {gap} FROM history), "
            f"windows AS (SELECT {keys}, {time}, {lists}, {number}, {gaps} AS {gap} FROM numbered) "
            f"SELECT {keys}, {time}, {names} FROM windows WHERE {wanted}"
        )

    def _gap(self, max_gap: float | str | None, order: str) -> str:
        """Whether more time than allowed lies before a row, in SQL: 1 or 0."""
        if max_gap is None:
            return "0"
        time = _quoted(self.time)
        before = f"LAG({time}) OVER ({order})"
        kind = self.rows.schema.field(self.time).type
        if not is_time(kind):
            if isinstance(max_gap, str) or not max_gap > 0:
                raise ParameterError(
                    f"max_gap={max_gap!r}: a number above 0, as {self.time!r} holds numbers."
                )
            return f"CASE WHEN {time} - {before} > {max_gap!r} THEN 1 ELSE 0 END"
        if not isinstance(max_gap, str):
            raise ParameterError(
                f"max_gap={max_gap!r}: {self.time!r} holds times, so give a time such as '15min' or '7d'."
            )
        if pa.types.is_date(kind):
            time, before = f"CAST({time} AS TIMESTAMP)", f"CAST({before} AS TIMESTAMP)"
        length = microseconds_of(max_gap, "max_gap")
        return f"CASE WHEN {before} + {_micros(length)} < {time} THEN 1 ELSE 0 END"

    def beside(self, made: dict[str, str], *, check_ties: bool) -> Dataset:
        """The rows with new columns, each an expression of SQL."""
        check_free(made, self.rows.columns, "New columns", _RENAME)
        self._check(check_ties)
        new = ", ".join(f"{told} AS {_quoted(name)}" for name, told in made.items())
        return self._query(f"SELECT *, {new} FROM history")

    def _check(self, ties: bool) -> None:
        """Refuse rows whose place among those of their key nothing tells."""
        time, keys = _quoted(self.time), ", ".join(map(_quoted, self.by))
        missing = (
            self._query(f"SELECT COUNT(*) AS n FROM history WHERE {time} IS NULL").to_arrow()["n"][0].as_py()
        )
        if missing:
            raise DataError(f"{missing:,} rows have no {self.time!r}, which orders them. Fill or drop those.")
        if ties:
            query = f"SELECT {keys}, {time} FROM history GROUP BY {keys}, {time} HAVING COUNT(*) > 1 LIMIT 1"
            found = self._query(query).to_arrow().to_pylist()
            if found:
                raise DataError(
                    f"Two rows of a key have one time, so nothing tells which came first: {found[0]}. Drop "
                    "one, put them together, or name a further column in by."
                )

    def _query(self, query: str) -> Dataset:
        return sql(query, {"history": self.rows}, engine=self.rows.engine)


def _back(name: str, rows: int, order: str) -> str:
    return f"LAG({_quoted(name)}, {rows}) OVER ({order})" if rows else _quoted(name)


def _micros(count: int) -> str:
    return f"INTERVAL '{count}' MICROSECOND"  # DuckDB 1.1 reads no number past 32 bits here


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
