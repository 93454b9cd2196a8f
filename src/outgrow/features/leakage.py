"""Whether training rows know of the future: the future is changed, and they must stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.scan import check_columns
from outgrow.data.spans import microseconds_of
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read
from outgrow.engine.sql import sql
from outgrow.errors import DataError, ParameterError
from outgrow.features.definitions import FeatureView
from outgrow.features.joined import as_of_join, listed
from outgrow.features.poison import is_later, moments_of, poisoned

Make = Callable[[Dataset, Mapping[str, Dataset]], Any]
"""Makes training rows of the rows that ask and of tables by name."""
_SPINE = "asked"


@dataclass(frozen=True)
class Leak:
    """A column that knows of the future.

    Attributes
    ----------
    column : of the training rows; None where rows come or go.
    rows : how many changed, of those at or before the moment.
    moment : behind it, the future was changed.
    how : 'removed' where later rows were not there, 'changed' where they had other values.
    """

    column: str | None
    rows: int
    moment: Any
    how: str

    def __str__(self) -> str:
        what = "the rows themselves" if self.column is None else repr(self.column)
        return f"{what}: {self.rows:,} rows up to {self.moment} are others when later rows are {self.how}"


@dataclass(frozen=True)
class LeakageReport:
    """What a check has found.

    Attributes
    ----------
    leaks : the columns that know of the future, each where most rows changed.
    moments : at which the future was changed.
    rows : how many training rows were looked at.
    unchecked : tables without a time, whose rows were taken as known always.
    """

    leaks: tuple[Leak, ...]
    moments: tuple[Any, ...]
    rows: int
    unchecked: tuple[str, ...] = ()

    def raise_for_leaks(self) -> None:
        """Do nothing if there are none.

        Raises
        ------
        DataError
            Naming each.
        """
        if self.leaks:
            raise DataError(str(self))

    def __str__(self) -> str:
        leaks = "; ".join(map(str, self.leaks)) or "no leak found"
        text = f"{self.rows:,} training rows, the future changed at {len(self.moments)} moments: {leaks}."
        if self.leaks:
            text += " Join on times at or before the row's own, by the time at which rows were written."
        if self.unchecked:
            text += f" Not checked, as no time is given for them: {', '.join(self.unchecked)}."
        return text


def check_leakage(
    make: str | FeatureView | Sequence[FeatureView] | Make,
    labels: Any,
    tables: Mapping[str, Any] | None = None,
    *,
    time: str = "event_timestamp",
    times: Mapping[str, str | Sequence[str]] | None = None,
    moments: int = 5,
    engine: Engine | None = None,
) -> LeakageReport:
    """Whether any training row changes when rows that came after it are removed, or have other values.

    Parameters
    ----------
    make : what makes training rows: a SELECT in which `asked` are the labels and other names are `tables`;
        a function of the labels and the tables, both datasets; or views, whose sources are changed *before*
        their queries.
    labels : the rows that ask, with `time`; a sample will do for large tables, which are held in memory.
        Later ones are removed too, so a mean of labels that come later is seen.
    tables : what the names mean, paths or tables.
    time : the column that says of which time a training row is; the result must have it.
    times : of each table, the column, or the columns, of the times from which its rows are known. Tables
        that are not named are taken as known always.
    moments : at how many of the labels' times the future is changed, spread evenly; each takes two runs.
        A column that looks a little ahead is found by the rows just before a moment: more find more.
    engine : where it runs; this machine by default.

    Raises
    ------
    DataError
        When two runs give different rows though nothing has changed.
    ParameterError
        When `times` names no table.

    Notes
    -----
    It finds leaks; it cannot prove that there are none: a column that looks ahead only at times, or of keys,
    that no label has, is not seen.

    Examples
    --------
    >>> import datetime, pyarrow as pa, outgrow as og
    >>> days = [datetime.datetime(2026, 1, n) for n in (1, 2, 3, 4)]
    >>> sales = pa.table({"shop": ["a"] * 4, "day": days, "sold": [1, 2, 3, 4]})
    >>> asked = pa.table({"shop": ["a"] * 3, "event_timestamp": days[:3]})
    >>> query = "SELECT asked.*, (SELECT AVG(sold) FROM sales s WHERE s.shop = asked.shop{}) AS m FROM asked"
    >>> told = {"tables": {"sales": sales}, "times": {"sales": "day"}}
    >>> [leak.column for leak in og.check_leakage(query.format(""), asked, **told).leaks]
    ['m']
    >>> og.check_leakage(query.format(" AND day <= event_timestamp"), asked, **told).leaks
    ()
    """
    run, sources, clocks = _prepared(make, tables or {}, times or {}, time, engine)
    spine = _held(labels)
    ticks = moments_of(spine, time)
    wanted = np.unique(ticks[ticks < np.iinfo(np.int64).max])
    if not len(wanted) or moments < 1:
        raise ParameterError(f"Nothing can be checked: moments={moments}, and {len(wanted)} times of labels.")
    chosen = wanted[np.unique(np.linspace(0, len(wanted) - 1, moments).astype(int))]
    comparison = _Comparison(run(spine, sources), spine, time)
    comparison.check_steady(run(spine, sources))
    leaks: list[Leak] = []
    for moment in map(int, chosen):
        for how in ("removed", "changed"):
            changed = {
                name: _changed(table, clocks[name], moment, how, {*spine.column_names})
                for name, table in sources.items()
            }
            labels = spine.filter(pa.array(ticks <= moment)) if how == "removed" else spine
            leaks += comparison.leaks(run(labels, changed), moment, how)
    worst: dict[str | None, Leak] = {}
    for leak in leaks:
        if leak.column not in worst or leak.rows > worst[leak.column].rows:
            worst[leak.column] = leak
    unchecked = tuple(name for name in sources if not clocks[name][0])
    return LeakageReport(tuple(worst.values()), tuple(map(_moment, chosen)), spine.num_rows, unchecked)


_Clock = tuple[tuple[str, ...], int, tuple[str, ...]]
"""The columns of the times of a table, the delay in microseconds, and the columns that stay."""


def _prepared(
    make: Any,
    tables: Mapping[str, Any],
    times: Mapping[str, str | Sequence[str]],
    time: str,
    engine: Engine | None,
) -> tuple[Callable[[pa.Table, Mapping[str, pa.Table]], Any], dict[str, pa.Table], dict[str, _Clock]]:
    """What runs, on which tables, and when their rows are known."""
    if isinstance(make, FeatureView) or (isinstance(make, Sequence) and not isinstance(make, str)):
        views = [make] if isinstance(make, FeatureView) else list(make)
        sources = {view.name: _held(view.source.data) for view in views}
        clocks = {view.name: _clock(view, sources[view.name]) for view in views}

        def joined(spine: pa.Table, given: Mapping[str, pa.Table]) -> Any:
            moved = [replace(v, source=replace(v.source, data=given[v.name])) for v in views]
            return as_of_join(spine, moved, time=time, full_feature_names=True, engine=engine)

        return joined, sources, clocks
    unknown = [name for name in times if name not in tables]
    if unknown:
        raise ParameterError(f"times names {unknown}; the tables are {sorted(tables)}.")
    sources = {name: _held(table) for name, table in tables.items()}
    columns = {name: (t,) if isinstance(t, str) else tuple(t) for name, t in times.items()}
    for name, named in columns.items():
        check_columns(sources[name].schema, named)
    clocks = {name: (columns.get(name, ()), 0, ()) for name in tables}
    if callable(make):
        return (lambda spine, given: make(dataset(spine), _datasets(given))), sources, clocks
    return (lambda spine, given: sql(make, {_SPINE: spine, **given}, engine=engine)), sources, clocks


def _clock(view: FeatureView, rows: pa.Table) -> _Clock:
    source = view.source
    there = tuple(name for name in source.times if name in rows.column_names)
    delay = microseconds_of(source.delay, "delay") if len(there) == len(source.times) else 0
    return (there if source.timestamp_field in there else ()), delay, (*view.keys, *source.times)


def _changed(table: pa.Table, clock: _Clock, moment: int, how: str, kept: set[str]) -> pa.Table:
    times, delay, keys = clock
    if not times:
        return table
    late = is_later(table, times, moment, delay)
    if how == "removed":
        return table.filter(pa.array(~late))
    return poisoned(table, late, {*kept, *keys, *times})


class _Comparison:
    """Training rows against those of a run with another future."""

    def __init__(self, rows: Any, spine: pa.Table, time: str) -> None:
        self.rows, self.time = _held(rows), time
        check_columns(self.rows.schema, [time])
        self.shared = [name for name in self.rows.column_names if name in spine.column_names]
        self.ticks = moments_of(self.rows, time)
        self.last = int(np.max(self.ticks, initial=0, where=self.ticks < np.iinfo(np.int64).max))

    def check_steady(self, again: Any) -> None:
        """Refuse rows that are others each time."""
        unsteady = self.leaks(again, self.last, "the same")
        if unsteady:
            raise DataError(
                f"Two runs on the same tables give different {unsteady[0].column or 'rows'!r}, so nothing "
                "can be said of leaks. Order what is chosen by, and draw no random numbers."
            )

    def leaks(self, other: Any, moment: int, how: str) -> list[Leak]:
        """The columns in which rows up to a moment are not the same.

        Parameters
        ----------
        other : the rows of the other run.
        moment : microseconds since 1970.
        how : what was done to the future.
        """
        theirs = _held(other)
        first = self.rows.filter(pa.array(self.ticks <= moment))
        second = theirs.filter(pa.array(moments_of(theirs, self.time) <= moment))
        if not _differing(first, second, self.rows.column_names):
            return []
        gone = _differing(first, second, self.shared)
        if gone:
            return [Leak(None, gone, _moment(moment), how)]
        columns = [name for name in self.rows.column_names if name not in self.shared]
        counts = {name: _differing(first, second, [*self.shared, name]) for name in columns}
        return [Leak(name, count, _moment(moment), how) for name, count in counts.items() if count]


def _differing(first: pa.Table, second: pa.Table, names: Sequence[str]) -> int:
    """How many rows of either are not in the other, the larger number of both."""
    chosen = {"first": first.select(names), "second": second.select(names)}
    counts = [
        f"(SELECT COUNT(*) FROM (SELECT * FROM {a} EXCEPT ALL SELECT * FROM {b}))"
        for a, b in (("first", "second"), ("second", "first"))
    ]
    return int(sql(f"SELECT GREATEST({', '.join(counts)}) AS n", chosen).to_arrow()["n"][0].as_py())


def _held(rows: Any) -> pa.Table:
    return listed(read(rows) if isinstance(rows, str) else dataset(rows)).to_arrow()


def _datasets(tables: Mapping[str, pa.Table]) -> dict[str, Dataset]:
    return {name: dataset(table) for name, table in tables.items()}


def _moment(ticks: Any) -> Any:
    """A moment in UTC."""
    return pc.cast(pa.scalar(int(ticks), pa.int64()), pa.timestamp("us")).as_py()
