"""`og.Monitor`: what a model is asked and answers, window by window, held against its reference."""

from __future__ import annotations

import datetime
import os
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.spans import Span, as_times, microseconds, moment
from outgrow.engine.open import dataset
from outgrow.engine.reading import read
from outgrow.engine.reference import Reference
from outgrow.errors import DataError, EngineError, OutgrowError, ParameterError
from outgrow.log.event_log import EventLog, author
from outgrow.log.record import Fact
from outgrow.ml.base import VERSION
from outgrow.monitor.drift import Drift, _reference
from outgrow.monitor.findings import EFFECT, FDR
from outgrow.monitor.kinds import Kind, kind_of
from outgrow.monitor.pairs import EVERYTHING, Group
from outgrow.monitor.view import UNKNOWN, Judgement, MonitorView, as_body, as_failed, js_between
from outgrow.monitor.watched import Watched
from outgrow.monitor.windows import (
    WindowFiles,
    WindowFold,
    by_schema,
    fold_windows,
    merge_all,
    new_files,
    reference_columns,
)
from outgrow.stats.grid_counts import GridCounts

ROLE = "role"
PRIMARY = ("", "primary", "canary")
"""The roles whose requests are judged; a shadow sees the same rows again."""


class Monitor:
    """Watches a model over time: counts rows by window, holds windows against the reference, and remembers.

    Windows are counts on the reference's grid, kept as files that a log names; they merge to days and months
    without rows. Rows may come late and in any order: they add to their window, which is judged again.

    Parameters
    ----------
    model : a model with a reference, its path, a `Reference`, or rows to make one of.
    log : an `EventLog`, or where it lies; None keeps nothing: one in a folder of its own that ends with the
        process.
    window : the length of a window, such as "1h", "1d" or "1mo".
    name : under which it stands in the log; by default the model's folder, or the kind of the model.
    states : the folder of the counts; by default `windows` beside the log.
    period : how long a season is, such as "7d": a window like that of one period before is no drift.
    fdr, effect, columns : as for `og.drift`.
    by : columns of slices, where the reference is made here.

    Examples
    --------
    >>> import tempfile, numpy as np, pyarrow as pa, outgrow as og
    >>> rng = np.random.default_rng(0)
    >>> before = pa.table({"delay": rng.normal(5, 2, 5_000)})
    >>> monitor = og.Monitor(before, tempfile.mkdtemp() + "/ops.db", window="1h", name="late")
    >>> times = np.datetime64("2026-03-01") + np.arange(4_000).astype("timedelta64[s]") * 2
    >>> rows = pa.table({"at": times, "delay": rng.normal(5, 2, 4_000) + (np.arange(4_000) > 1_800)})
    >>> monitor.fold(rows, time="at")
    4000
    >>> [(judged.start.hour, judged.rows, judged.verdict) for judged in monitor.judge(open_too=True)]
    [(0, 1800, 'ok'), (1, 1800, 'drift'), (2, 400, 'drift')]
    """

    def __init__(
        self,
        model: Any,
        log: EventLog | str | os.PathLike[str],
        *,
        window: str = "1h",
        name: str | None = None,
        states: str | os.PathLike[str] | None = None,
        period: str | None = None,
        fdr: float = FDR,
        effect: Mapping[str, float] | None = None,
        columns: Sequence[str] | None = None,
        by: str | Sequence[str] | None = None,
    ) -> None:
        self.reference, self.model = _reference(model, by, None)
        self.log = log if isinstance(log, EventLog) else EventLog(log)
        self.window = Span.of(window)
        self.name = name or _name_of(model)
        self.files = WindowFiles(Path(states) if states is not None else folder_beside(self.log))
        self.settings: dict[str, Any] = {"fdr": fdr, "effect": effect, "columns": columns}
        self.period = None if period is None else _windows_in(Span.of(period), self.window)
        self.view = MonitorView(self.log, self.name)
        self.threshold = float((effect or EFFECT).get("js", EFFECT["js"]))
        self.timeless = 0
        self.unread: dict[str, str] = {}
        self._references: dict[str, Reference] = {}
        Drift.of(self.reference, self.reference.empty(), **self.settings)  # refuses settings before any rows
        self._check_window()

    def fold(
        self,
        rows: Any,
        *,
        time: str | None = None,
        at: Any = None,
        source: str | None = None,
    ) -> int:
        """Count rows in their windows; how many were counted.

        Parameters
        ----------
        rows : a path, dataset, table or Spark DataFrame, perhaps with predictions, `model_version` (or
            `version`) and `role`.
        time : the column that says when a row was asked.
        at : the time of all rows, where no column says it; now by default.
        source : what tells these rows from others, such as a batch's name: rows of a source that was counted
            before are not counted again.
        """
        known = self.view.refreshed()
        if source is not None and source in known.sources:
            return 0
        return self._fold(rows, time, at, [] if source is None else [source])

    def fold_files(self, folder: str | os.PathLike[str], *, time: str | None = "time") -> tuple[int, int]:
        """Count the rows of files that are new in a folder, such as the log of the server or of a stream.

        Parameters
        ----------
        folder : of Parquet files, each of which appears whole and does not change.
        time : the column that says when a row was asked.

        Returns
        -------
        How many rows, of how many files. Those that cannot be counted are in `unread` with the reason; they
        are tried again when this is called again, and do not keep others from being counted.

        Raises
        ------
        DataError
            When no file could be counted, now or before.
        """
        known = self.view.refreshed().sources
        groups, self.unread = by_schema(dict(new_files(folder, known)))
        rows = files = 0
        for group in groups:
            for states, names in self._countable(group, time):
                self.record(states, names)
                rows, files = rows + sum(int(state.rows) for state in states.values()), files + len(names)
        if self.unread and not files and not known:
            name, because = next(iter(self.unread.items()))
            raise DataError(
                f"None of the {len(self.unread):,} file(s) of {folder} could be counted; {name}: {because}"
            )
        return rows, files

    def _countable(
        self, files: Mapping[str, Path], time: str | None
    ) -> Iterator[tuple[dict[Group, GridCounts], list[str]]]:
        """Counts of files, and their names: of all together, or of each where that does not work."""
        try:
            yield self.counted(list(map(os.fspath, files.values())), time=time), list(files)
        except (OutgrowError, OSError, pa.ArrowException) as error:
            if isinstance(error, EngineError):  # it is not the files
                raise
            if len(files) == 1:
                self.unread |= dict.fromkeys(files, str(error))
                return
            for name, path in files.items():
                yield from self._countable({name: path}, time)

    def judge(self, *, open_too: bool = False) -> list[Judgement]:
        """Hold the windows that changed since they were last judged against the reference.

        Each becomes a record `finding` in the log.

        Parameters
        ----------
        open_too : also those that more rows may come to, as no later window has any.
        """
        view = self.view.refreshed()
        latest = max((group.start or 0 for group in view.parts if view.has_come(group)), default=0)
        judged = []
        for group in sorted(view.changed(), key=lambda group: (group.start or 0, group)):
            if not open_too and (group.start or 0) >= latest:
                continue
            body = self._judged(group)
            known = view.judged.get(group)
            if known is not None and all(known.get(key) == body.get(key) for key in ("parts", "failed")):
                continue  # it failed before, and does so again
            self.log.append("finding", self.name, body)
            judged.append(Judgement.of(body))
        return judged

    def _judged(self, group: Group) -> dict[str, Any]:
        """What is to be said of a window; one that cannot be judged keeps no other from it."""
        view = self.view
        try:
            return as_body(group, view.ends[group], self.drift(group), view.mark(group))
        except OutgrowError as error:
            return as_failed(group, view.ends[group], view.rows[group], str(error), view.mark(group))

    def watch(
        self, folder: str | os.PathLike[str], *, time: str | None = "time", open_too: bool = False
    ) -> Watched:
        """Look once at a folder: count what is new, judge what changed, and tell the kinds of drift apart.

        Parameters
        ----------
        folder, time : as of `fold_files`.
        open_too : as of `judge`.
        """
        rows, files = self.fold_files(folder, time=time)
        judged = self.judge(open_too=open_too)
        gaps, kinds = tuple(self.gaps()), self.kinds()
        ahead = self.view.ahead()
        return Watched(rows, files, tuple(judged), self.timeless, gaps, kinds, self.unread, ahead)

    def watch_stream(
        self,
        frame: Any,
        checkpoint: str | os.PathLike[str],
        *,
        time: str,
        trigger: dict[str, Any] | None = None,
    ) -> Any:
        """Count the rows of a stream of Spark as they come, and judge windows as they end.

        Parameters
        ----------
        frame : a streaming DataFrame.
        checkpoint : the folder for Spark's notes; a batch that is tried again counts once.
        time : the column that says when a row was asked.
        trigger : as for `og.score_stream`.
        """

        def look(batch: Any, number: int) -> None:
            self.fold(batch, time=time, source=f"{os.fspath(checkpoint)}#{number}")
            self.judge()

        writer = frame.writeStream.foreachBatch(look).option("checkpointLocation", os.fspath(checkpoint))
        return (writer if trigger is None else writer.trigger(**trigger)).start()

    def counts(self, group: Group | None = None, *, window: str | None = None) -> dict[Group, GridCounts]:
        """The counts of windows, merged from what the log names; no rows are read.

        Parameters
        ----------
        group : the only one, of whichever references; None for all.
        window : longer windows, such as "1d" or "1mo"; None for those that were counted.

        Returns
        -------
        Counts by version, role, slice, start, and the reference in whose cells they were counted: rows of
        different references do not add up.

        Raises
        ------
        ParameterError
            When the windows that were counted do not fit into those of this length.
        """
        view = self.view.refreshed()
        chosen = [key for key in view.parts if group is None or group in (key, Group(*key))]
        longer = chosen if window is None else view.widened(chosen, self.window, Span.of(window))
        wanted: dict[Group, list[str]] = {}
        for key, wide in zip(chosen, longer, strict=True):
            wanted.setdefault(wide, []).extend(view.parts[key])
        return {key: merge_all(list(map(self.files.get, digests))) for key, digests in wanted.items()}

    def drift(self, group: Group) -> Drift:
        """What is different in a window that was counted, from the reference in whose cells it was.

        Parameters
        ----------
        group : version, role and start, as `counts` has them; of several references the last.
        """
        counts = self.counts(group)
        if not counts:
            raise DataError(f"There is no window {group} of {self.name!r}. `monitor.counts()` has all.")
        key = next(reversed(counts))
        return Drift.of(self._reference_of(self.view.references[key]), counts[key], **self.settings)

    def _reference_of(self, digest: str) -> Reference:
        """What windows were counted with: of this monitor, or of one before it under this name."""
        if digest in (UNKNOWN, self._reference_digest):
            return self.reference
        if digest not in self._references:
            self._references[digest] = self.files.reference(digest)
        return self._references[digest]

    def gaps(self) -> list[datetime.datetime]:
        """The windows between the first and the last that have no rows."""
        view = self.view.refreshed()
        times = sorted({group.time for group in view.parts if group.time and view.has_come(group)})
        missing: list[datetime.datetime] = []
        for before, after in pairwise(times):
            start = self.window.end(before)
            while start < after and len(missing) < 100_000:
                missing.append(start)
                start = self.window.end(start)
        return missing

    def kinds(self) -> dict[str, Kind]:
        """The kind of drift of each column that drifted in a window, from the series of its windows."""
        series = self.view.refreshed().series()
        kinds = {}
        for column, distances in series.items():
            starts = self._axis(distances)
            values = np.array([distances.get(start, np.nan) for start in starts])
            drifting = np.isin(starts, list(self.view.drifting(column)))
            earlier = None if self.period is None else self._to_earlier(column, starts, drifting)
            kind = kind_of(
                values,
                threshold=self.threshold,
                period=self.period,
                to_earlier=earlier,
                drifting=drifting,
            )
            if kind.name != "none":
                kinds[column] = kind
        return kinds

    def _axis(self, distances: Mapping[int, float]) -> list[int]:
        """All windows from the first to the last, also those without rows."""
        if not distances:
            return []
        start = Group("", "", EVERYTHING, min(distances)).time
        assert start is not None
        axis: list[int] = []
        while len(axis) < 100_000 and (number := round(start.timestamp() * 1e6)) <= max(distances):
            axis.append(number)
            start = self.window.end(start)
        return axis

    def _to_earlier(self, column: str, starts: Sequence[int], drifting: np.ndarray) -> np.ndarray:
        """The distance of windows that are far from the reference to the same phase one period before."""
        assert self.period is not None
        parts = self.view.parts_by_start(PRIMARY)
        earlier = np.full(len(starts), np.nan)
        for index in map(int, np.flatnonzero(drifting)):
            before = index - self.period
            if before < 0 or starts[before] not in parts:
                continue
            now, then = parts.get(starts[index], {}), parts[starts[before]]
            for digest in now.keys() & then.keys():
                apart = self._apart(column, digest, now[digest], then[digest])
                earlier[index] = np.fmax(earlier[index], apart)
        return earlier

    def _apart(self, column: str, digest: str, now: Sequence[str], then: Sequence[str]) -> float:
        """The distance of two windows that were counted on one reference; NaN where their files are gone."""
        try:
            left, right = (merge_all(list(map(self.files.get, digests))) for digests in (now, then))
            return js_between(self._reference_of(digest), column, left, right)
        except OutgrowError:
            return float("nan")

    def _fold(self, rows: Any, time: str | None, at: Any, sources: list[str]) -> int:
        states = self.counted(rows, time=time, at=at)
        self.record(states, sources)
        return int(sum(state.rows for state in states.values()))

    def counted(self, rows: Any, *, time: str | None = None, at: Any = None) -> dict[Group, GridCounts]:
        """Rows as counts by window, which nothing keeps yet; `record` does.

        Parameters
        ----------
        rows, time, at : as of `fold`.
        """
        data = read(rows) if isinstance(rows, str | os.PathLike | list) else dataset(rows)
        if time is not None and time not in data.columns:
            raise ParameterError(
                f"The rows have no column {time!r} of times; they have {data.columns}. Give time=..., or "
                "at=... where all rows have one time."
            )
        version = next((name for name in (VERSION, "version") if name in data.columns), None)
        role = ROLE if ROLE in data.columns else None
        beside = [name for name in (time, version, role) if name is not None]
        seen = reference_columns(self.reference, data, beside)
        model = self.model if _answers(self.reference, data) else None
        counting = self.reference.counting(
            seen.drop(*[n for n in beside if n not in self.reference.kinds]), model
        )
        start = self._start(at)
        states, timeless = fold_windows(seen, WindowFold(counting, self.window, time, start, version, role))
        self.timeless += timeless
        return states

    def record(self, states: Mapping[Group, GridCounts], sources: Sequence[str] = ()) -> None:
        """Keep counts: all windows of some sources become records at once, or none do.

        Parameters
        ----------
        states : by window, as `counted` gives them.
        sources : what tells their rows from others.
        """
        self._check_window()
        facts: list[dict[str, Any]] = []
        now, who = clock.time(), author()
        for group, state in states.items():
            digest = self.files.put(self.reference.coarse(state))
            body: dict[str, Any] = {
                "model": self.name,
                "version": group.version,
                "role": group.role,
                "slice": group.slice,
                "from": _iso(group.time),
                "to": _iso(None if group.time is None else self.window.end(group.time)),
                "rows": int(state.rows),
                "state": digest,
                "reference": self._reference_digest,
            }
            facts.append(body)
        facts = facts or [{"model": self.name, "rows": 0}]
        facts[0]["sources"] = list(sources)
        self.log.store.append([Fact.of(now, "window.folded", self.name, body, who, None) for body in facts])

    def _check_window(self) -> None:
        """Refuse another length of windows than the log has under this name: they would not add up."""
        view = self.view.refreshed()
        group, end = next(reversed(view.ends.items()), (None, None))
        if group is None or group.time is None or end is None:
            return
        (start,) = self.window.floor(_one(group.time)).to_pylist()
        if (start, self.window.end(start)) != (group.time, end):
            raise ParameterError(
                f"window={str(self.window)!r}: the windows of {self.name!r} in this log are of another "
                f"length, such as {group.time:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}. Give that length, or "
                "another name=...."
            )

    @cached_property
    def _reference_digest(self) -> str:
        return self.files.put_reference(self.reference)

    def _start(self, at: Any) -> int:
        when = datetime.datetime.now(datetime.UTC) if at is None else moment(at)
        return int(microseconds(self.window.floor(as_times(_one(when), "at")))[0])


def _one(when: datetime.datetime) -> Any:
    return pa.array([when], pa.timestamp("us", "UTC"))


def _answers(reference: Reference, data: Any) -> bool:
    """Whether the model must be asked: predictions are counted, and the rows do not bring them."""
    lacking = [name for name in reference.predictions if name.partition("[")[0] not in data.columns]
    return bool(lacking)


def _iso(when: datetime.datetime | None) -> str | None:
    return None if when is None else when.isoformat()


def folder_beside(log: EventLog) -> Path:
    """Where the counts of windows lie when nothing else was said.

    Raises
    ------
    ParameterError
        When the log is no file.
    """
    if "://" in log.uri and not log.uri.startswith("sqlite:"):
        raise ParameterError(
            f"The counts of windows are files; where they lie beside {log.uri.split('@')[-1]} must be said "
            "with states=...."
        )
    path = Path(log.uri.removeprefix("sqlite:///"))
    return (path if path.is_dir() else path.parent) / "windows"


def _name_of(model: Any) -> str:
    if isinstance(model, str | os.PathLike):
        return Path(model).resolve().name
    if isinstance(model, Reference) or hasattr(model, "__arrow_c_stream__"):
        return "rows"
    return type(model).__name__


def _windows_in(period: Span, window: Span) -> int:
    count = round(period.seconds / window.seconds)
    if count < 2 or abs(count * window.seconds - period.seconds) > 0.04 * period.seconds:
        raise ParameterError(f"A period of {period} is no whole number of windows of {window}.")
    return count
