"""What a log says of the windows of a model: a fold of its records, which can be made anew at any time."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from outgrow.data.spans import moment
from outgrow.engine.reference import Reference
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.monitor.drift import Drift
from outgrow.monitor.pairs import Group
from outgrow.stats.distances import distances
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, NoGrid, TextGrid

MOST_FINDINGS = 50
"""Of a window, so many that are not ok stand in the log, the gravest first."""


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
    """Windows, sources and judgements of one model, kept up to date with the log."""

    def __init__(self, log: EventLog, subject: str) -> None:
        self.log, self.subject = log, subject
        self.parts: dict[Group, list[str]] = {}
        self.rows: dict[Group, int] = {}
        self.references: dict[Group, str] = {}
        self.sources: set[str] = set()
        self.judged: dict[Group, Mapping[str, Any]] = {}
        self._position = 0

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
            self.judged[group] = body
        elif record.kind == "window.folded":
            self.parts.setdefault(group, []).append(body["state"])
            self.references[group] = body.get("reference", "")
            self.rows[group] = self.rows.get(group, 0) + body["rows"]

    def mark(self, group: Group) -> str:
        """What tells the parts of a window from others."""
        return hashlib.sha256("".join(sorted(self.parts[group])).encode()).hexdigest()[:16]

    def changed(self) -> list[Group]:
        """Windows with parts that no judgement knows."""
        return [
            group
            for group in self.parts
            if group not in self.judged or self.judged[group]["parts"] != self.mark(group)
        ]

    def series(self) -> dict[str, dict[int, float]]:
        """By column that drifted in any window: the distance of each window, by its start."""
        drifted = {column for body in self.judged.values() for column in body["drifted"]}
        series: dict[str, dict[int, float]] = {column: {} for column in sorted(drifted)}
        for group, body in self.judged.items():
            for column, distance in body["distances"].items():
                if column in series and group.start is not None and group.role != "shadow":
                    series[column][group.start] = max(distance, series[column].get(group.start, 0.0))
        return series

    def drifting(self, column: str) -> set[int]:
        """The starts of windows in which a column drifted."""
        return {
            group.start
            for group, body in self.judged.items()
            if column in body["drifted"] and group.start is not None and group.role != "shadow"
        }

    def parts_by_start(self, roles: Iterable[str]) -> dict[int, list[str]]:
        """The states of windows of some roles, of all versions together."""
        parts: dict[int, list[str]] = {}
        for group, digests in self.parts.items():
            if group.start is not None and group.role in set(roles):
                parts.setdefault(group.start, []).extend(digests)
        return parts


def group_of(body: Mapping[str, Any]) -> Group:
    """Version, role, slice and start that a record names."""
    start = round(moment(body["from"]).timestamp() * 1e6)
    return Group(body["version"], body["role"], body.get("slice", ""), start)


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
    keys = (
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
    return {
        "version": group.version,
        "role": group.role,
        "slice": group.slice,
        "from": None if group.time is None else group.time.isoformat(),
        "to": None if end is None else end.isoformat(),
        "rows": int(drift.window.rows),
        "verdict": drift.verdict,
        "drifted": list(drift.drifted),
        "shift": drift.shift,
        "findings": [{key: getattr(finding, key) for key in keys} for finding in grave[:MOST_FINDINGS]],
        "distances": distances,
        "parts": parts,
    }


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
