"""Plans beside what the jobs then took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrow.board.sources import Sources
from outgrow.log.record import Record

_MOST = 500


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """The last plans, and the last runs of planned jobs.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `job`, the subject of the records; all if not given.

    Returns
    -------
    dict with 'plans' (seconds and memory with their intervals, places, advice, the formula of each) and 'met'
    (planned and taken seconds, memory and stages), the newest first.
    """
    job = query.get("job") or None
    kinds = ("plan.made", "plan.met")
    records = sources.log.latest(_MOST, kinds=kinds, subject=job)
    position = records[-1].position if records else sources.log.last()
    made = {record.digest: record for record in records if record.kind == "plan.made"}
    met = [record for record in reversed(records) if record.kind == "plan.met"]
    return {
        "plans": [_plan(record) for record in reversed(made.values())],
        "met": [_met(record, made.get(record.cause or "")) for record in met],
        "position": position,
    }


def _plan(record: Record) -> dict[str, Any]:
    kept = ("job", "size", "seconds", "memory", "stages", "places", "advice", "currency", "planning_seconds")
    return {
        **{name: record.body[name] for name in kept if name in record.body},
        "name": record.subject,
        "time": record.time,
        "record": record.digest,
    }


def _met(record: Record, plan: Record | None) -> dict[str, Any]:
    interval = {} if plan is None else plan.body.get("seconds", {})
    return {
        "name": record.subject,
        "time": record.time,
        "plan": record.cause,
        "run": record.body.get("run"),
        "rows": record.body.get("rows"),
        "planned": record.body["planned"],
        "took": record.body["took"],
        "low": interval.get("low"),
        "high": interval.get("high"),
    }
