"""Who does how much: the ranks of a fit, what they hold in memory, and for whom the others wait."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.board.api.registry import chosen
from outgrow.board.api.runs import listed
from outgrow.board.sources import Sources
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.track.runs import runs

_LOOKED_AT = 2_000
"""Records from the end of the log that say which runs are shown."""
_RUNS = 30
_POINTS = 300
_TOLD = ("run.ranks", "run.sampled")
_SHOWN = ("run", "name", "kind", "state", "began", "engine")


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """The runs that told of their ranks or of what they use lately, and all of one of them.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `run`, by default the last one that told of its ranks, or else the last one.

    Raises
    ------
    ParameterError
        When no run that is shown has this id.
    """
    log = sources.log
    position = log.last()
    latest = log.latest(_LOOKED_AT, kinds=_TOLD)
    ranked = {record.subject for record in latest if record.kind == "run.ranks"}
    names = list(dict.fromkeys(record.subject for record in reversed(latest)))[:_RUNS]
    names.sort(key=lambda name: name not in ranked)  # those with ranks first, the latest of them first
    given = query.get("run")
    if (
        given
        and given not in names
        and next(log.since(0, kinds=("run.began",), subject=given, limit=1), None)
    ):
        names.append(given)
    run = chosen(query, names, "run")
    about = {"runs": _named(log, names, ranked), "run": run or None, "position": position}
    return about | _of(log.since(0, subject=run) if run else ())


def _named(log: EventLog, names: Sequence[str], ranked: Collection[str]) -> list[dict[str, Any]]:
    """What there is to say of some runs, in their order; those of processes that are gone are lost."""
    table = runs(log=log)
    some = table.filter(pc.is_in(table["run"], pa.array(names, pa.string())))
    rows = listed(some, [name for name in _SHOWN if name in table.column_names])
    by = {row["run"]: row for row in rows}
    return [{"name": name[:8], "run": name, **by.get(name, {}), "ranked": name in ranked} for name in names]


def _of(records: Iterable[Record]) -> dict[str, Any]:
    stages: dict[str, dict[str, Any]] = {}
    samples: list[dict[str, Any]] = []
    slowest: list[str] = []
    for record in records:
        if record.kind == "run.ranks":
            _take(stages, record)
        elif record.kind == "run.sampled":
            samples.append({"time": record.time, **record.body})
        elif record.kind == "run.passed" and record.body.get("slowest"):
            slowest.append(record.body["slowest"])
    for stage in stages.values():
        for series in stage["series"].values():
            for name in series:
                series[name] = _thinned(series[name])
    return {"stages": list(stages.values()), "samples": _thinned(samples), "slowest": slowest[-1:]}


def _take(stages: dict[str, dict[str, Any]], record: Record) -> None:
    """Add what ranks said; their rows and seconds count from the beginning of the fit."""
    body = record.body
    name = str(body.get("stage", ""))
    stage = stages.setdefault(name, {"stage": name, "ranks": [], "stragglers": [], "time": 0.0, "series": {}})
    before = {rank["rank"]: rank for rank in stage["ranks"]}
    for rank in body["ranks"]:
        known = before.get(rank["rank"], {"rows": 0, "seconds": 0.0})
        rows, seconds = rank["rows"] - known["rows"], rank["seconds"] - known["seconds"]
        series = stage["series"].setdefault(
            str(rank["rank"]), {"time": [], "rows_per_second": [], "memory": []}
        )
        series["time"].append(record.time)
        series["rows_per_second"].append(rows / seconds if seconds > 0 and rows >= 0 else 0.0)
        series["memory"].append(rank["memory"])
    stage |= {
        "ranks": list(body["ranks"]),
        "stragglers": list(body.get("stragglers", ())),
        "time": record.time,
    }


def _thinned(points: list[Any]) -> list[Any]:
    every = max(1, -(-len(points) // _POINTS))
    return points[::every] if every == 1 else [*points[:-1:every], points[-1]]
