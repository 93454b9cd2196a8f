"""What a log says of the windows of a model: a fold of its records, which can be made anew at any time."""

from __future__ import annotations

import datetime
import hashlib
import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from outgrow.data.spans import TIME, Span, microseconds, moment
from outgrow.engine.reference import Reference
from outgrow.errors import ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.monitor.drift import Drift
from outgrow.monitor.findings import Finding
from outgrow.monitor.pairs import Group
from outgrow.stats.distances import distances
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, NoGrid, TextGrid

MOST_FINDINGS = 50
"""Of a window, so many that are not ok stand in the log, the gravest first."""
AHEAD = 86_400.0
"""Windows that begin so many seconds after now are set apart; less is a clock or a time zone that is off."""
_TOLD = (
    "what",
    "column",
    "slice",
    "measure",
    "value",
    "low",
    "high",
    "p",
    "q",
    "effect",
    "verdict",
    "because",
)
UNKNOWN = ""
"""The reference of windows that were counted before the log said which."""


class CountedGroup(Group):
    """A group, and the reference in whose cells its rows were counted: rows of two references do not add up.

    Attributes
    ----------
    reference : its digest; `UNKNOWN` where the log does not say.
    """

    reference: str

    def __new__(
        cls, version: str, role: str, slice: str, start: int | None, reference: str = UNKNOWN
    ) -> Self:
        group = super().__new__(cls, version, role, slice, start)
        group.reference = reference
        return group

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CountedGroup) and (*self, self.reference) == (*other, other.reference)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((*self, self.reference))


@dataclass(frozen=True)
class Judgement:
    """A window that was held against the reference.

    Attributes
    ----------
    version, role : of the model that answered.
    start, end : of the window.
    rows : how many it has.
    verdict : 'drift', 'watch', 'cannot say' or 'ok'.
    drifted : columns, those that explain most first.
    because : the gravest findings in words.
    """

    version: str
    role: str
    start: datetime.datetime
    end: datetime.datetime
    rows: int
    verdict: str
    drifted: tuple[str, ...]
    because: tuple[str, ...]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Judgement:
        """What a record `finding` of a window says."""
        return cls(
            body["version"],
            body["role"],
            moment(body["from"]),
            moment(body["to"]),
            body["rows"],
            body["verdict"],
            tuple(body["drifted"]),
            tuple(line["because"] for line in body["findings"]),
        )

    def __str__(self) -> str:
        who = f", version {self.version}" if self.version else ""
        when = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"
        head = f"{self.verdict}: {when}{who}, {self.rows:,} rows"
        return "\n  ".join([head, *self.because[:3]])


class MonitorView:
    """Windows, sources and judgements of one model, kept up to date with the log.

    Parameters
    ----------
    log : where its records lie.
    subject : the name under which it is watched.
    now : gives the time in seconds since 1970.
    """

    def __init__(self, log: EventLog, subject: str, now: Callable[[], float] = clock.time) -> None:
        self.log, self.subject, self.now = log, subject, now
        self.parts: dict[Group, list[str]] = {}
        self.rows: dict[Group, int] = {}
        self.references: dict[Group, str] = {}
        self.ends: dict[Group, datetime.datetime] = {}
        self.sources: set[str] = set()
        self.judged: dict[Group, Mapping[str, Any]] = {}
        self._position = 0
        self._held_against: dict[tuple[Any, ...], str] = {}

    def refreshed(self) -> MonitorView:
        """With all that was written meanwhile, also by others."""
        for record in self.log.since(
            self._position, kinds=("window.folded", "finding"), subject=self.subject
        ):
            self.take(record)
        return self

    def take(self, record: Record) -> None:
        """Take in a record of a window or a finding of the model."""
        self._position = record.position
        body = record.body
        self.sources |= set(body.get("sources", ()))
        if body.get("from") is None:
            return
        group = group_of(body)
        if record.kind == "finding" and "distances" in body:
            if "reference" not in body:  # of a log from before findings said it
                group = CountedGroup(*group, self._held_against.get(tuple(group), UNKNOWN))
            self.judged[group] = body
        elif record.kind == "window.folded":
            self.parts.setdefault(group, []).append(body["state"])
            self.references[group] = self._held_against[tuple(group)] = group.reference
            self.rows[group] = self.rows.get(group, 0) + body["rows"]
            self.ends[group] = moment(body["to"])

    def has_come(self, group: Group) -> bool:
        """Whether a window has begun by now, or will within `AHEAD`: those of later count as none."""
        return (group.start or 0) <= (self.now() + AHEAD) * 1e6

    def ahead(self) -> dict[datetime.datetime, int]:
        """The rows of windows of a time to come, by when they begin."""
        rows: dict[datetime.datetime, int] = {}
        for group, count in self.rows.items():
            if group.time is not None and not self.has_come(group):
                rows[group.time] = rows.get(group.time, 0) + count
        return rows

    def widened(self, groups: Sequence[Group], window: Span, longer: Span) -> list[Group]:
        """The longer windows in which some lie.

        Parameters
        ----------
        groups : that were counted.
        window : how long they are.
        longer : how long the others are.

        Raises
        ------
        ParameterError
            When the windows do not fit into longer ones.
        """
        if not longer.nests(window):
            raise ParameterError(
                f"window={str(longer)!r}: windows of {window} do not fit into it. Give a whole multiple, "
                f"such as {str(Span(2 * window.count, window.unit))!r}."
            )
        times = pa.array([group.start for group in groups], pa.int64()).cast(TIME)
        starts = microseconds(longer.floor(times)).tolist()
        return [
            CountedGroup(*group[:3], start, self.references[group])
            for group, start in zip(groups, starts, strict=True)
        ]

    def mark(self, group: Group) -> str:
        """What tells the parts of a window from others."""
        return hashlib.sha256("".join(sorted(self.parts[group])).encode()).hexdigest()[:16]

    def changed(self) -> list[Group]:
        """Windows with parts that no judgement knows, or that could not be judged when it was tried."""
        return [
            group
            for group in self.parts
            if self.has_come(group)
            and (
                group not in self.judged
                or self.judged[group]["parts"] != self.mark(group)
                or "failed" in self.judged[group]
            )
        ]

    def series(self) -> dict[str, dict[int, float]]:
        """By column that drifted in any window: the distance of each window, by its start."""
        drifted = {column for _, body in self._asked() for column in body["drifted"]}
        series: dict[str, dict[int, float]] = {column: {} for column in sorted(drifted)}
        for start, body in self._asked():
            for column, distance in body["distances"].items():
                if column in series:
                    series[column][start] = max(distance, series[column].get(start, 0.0))
        return series

    def drifting(self, column: str) -> set[int]:
        """The starts of windows in which a column drifted."""
        return {start for start, body in self._asked() if column in body["drifted"]}

    def _asked(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The starts and judgements of windows that have come, without those of shadows."""
        for group, body in self.judged.items():
            if group.start is not None and group.role != "shadow" and self.has_come(group):
                yield group.start, body

    def parts_by_start(self, roles: Iterable[str]) -> dict[int, dict[str, list[str]]]:
        """The states of windows of some roles, of all versions together: by start, then by reference."""
        parts: dict[int, dict[str, list[str]]] = {}
        for group, digests in self.parts.items():
            if group.start is not None and group.role in set(roles):
                by_reference = parts.setdefault(group.start, {})
                by_reference.setdefault(self.references[group], []).extend(digests)
        return parts


def group_of(body: Mapping[str, Any]) -> CountedGroup:
    """Version, role, slice, start and reference that a record names."""
    start = round(moment(body["from"]).timestamp() * 1e6)
    slice_, reference = body.get("slice", ""), body.get("reference", UNKNOWN)
    return CountedGroup(body["version"], body["role"], slice_, start, reference)


def as_body(group: Group, end: datetime.datetime | None, drift: Drift, parts: str) -> dict[str, Any]:
    """What the log keeps of a window that was judged.

    Parameters
    ----------
    group : which window.
    end : of it.
    drift : what was different.
    parts : tells what it was made of.
    """
    distances = {
        finding.column: finding.measures["js"].value
        for finding in drift.findings
        if "js" in finding.measures
        and not finding.slice
        and finding.what in ("values", "predictions", "label")
    }
    grave = [finding for finding in drift.findings if finding.verdict != "ok"]
    grave.sort(key=lambda finding: (finding.verdict != "drift", bool(finding.slice), -finding.share))
    return _head(group, end) | {
        "rows": int(drift.window.rows),
        "verdict": drift.verdict,
        "drifted": list(drift.drifted),
        "unsaid": _unsaid(drift),
        "shift": drift.shift,
        "findings": [_told(finding) for finding in grave[:MOST_FINDINGS]],
        "distances": distances,
        "parts": parts,
    }


def as_failed(
    group: Group, end: datetime.datetime | None, rows: int, because: str, parts: str
) -> dict[str, Any]:
    """What the log keeps of a window that could not be judged; it is tried again at the next look.

    Parameters
    ----------
    group, end, parts : as of `as_body`.
    rows : of the window.
    because : why, in words.
    """
    nan, words = float("nan"), f"It cannot be judged: {because}"
    finding = Finding("volume", "", "", "rows", nan, nan, nan, nan, nan, nan, "cannot say", words)
    return _head(group, end) | {
        "rows": rows,
        "verdict": "cannot say",
        "drifted": [],
        "shift": None,
        "findings": [_told(finding)],
        "distances": {},
        "parts": parts,
        "failed": because,
    }


def _head(group: Group, end: datetime.datetime | None) -> dict[str, Any]:
    head = {
        "version": group.version,
        "role": group.role,
        "slice": group.slice,
        "from": None if group.time is None else group.time.isoformat(),
        "to": None if end is None else end.isoformat(),
    }
    return head | ({"reference": group.reference} if isinstance(group, CountedGroup) else {})


def _told(finding: Finding) -> dict[str, Any]:
    return {key: getattr(finding, key) for key in _TOLD}


def _unsaid(drift: Drift) -> list[str]:
    """Columns of which there are too few values: what was known of their values still holds."""
    whole = (f for f in drift.findings if f.verdict == "cannot say" and f.column and not f.slice)
    return sorted({finding.column for finding in whole})


def js_between(reference: Reference, column: str, left: GridCounts, right: GridCounts) -> float:
    """Jensen and Shannon's distance of two windows, as findings have it; NaN of too few values.

    Parameters
    ----------
    reference : with which both were counted.
    column : of which.
    left, right : windows.
    """
    for index, entry in enumerate(reference.plan.entries):
        if column not in (entry.name, entry.measure.column) or isinstance(entry.grid, NoGrid):
            continue
        first, second = (reference.vector(window, index) for window in (left, right))
        if isinstance(entry.grid, TextGrid):
            apart = distances(first[HEADS:], second[HEADS:], None)
        else:
            positions = reference.positions(index, second, coarse=right.grids != reference.counts.grids)
            apart = distances(entry.grid.shares(first), entry.grid.shares(second), positions)
        return float("nan") if apart is None else apart.measures["js"].value
    return float("nan")
