"""All that the log says of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from outgrow.errors import ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.track.recorder import RUNNING, STAGE

Curve = list[tuple[int, float]]


@dataclass
class RunDetails:
    """A run, folded from its records.

    Attributes
    ----------
    run : its id.
    beginning : the body of `run.began`: kind, name, parameters, code, environment, ...
    began : when.
    by, cause : who wrote it, and what led to it; `record` is the digest of the record itself.
    data : the bodies of `data.seen`.
    curves : by stage and metric, the points (step, value).
    stages : what was done one after the other: name, seconds, rows.
    samples : time and body of each look at processor and memory.
    ranks : by fit, the last body of `run.ranks`.
    ending : the body of `run.ended`; empty as long as there is none.
    measured : the bodies of evaluations after the run.
    tags : those of the beginning, and what was changed since.
    """

    run: str
    beginning: Mapping[str, Any]
    began: datetime
    by: str
    cause: str | None
    record: str
    data: list[Mapping[str, Any]] = field(default_factory=list)
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)
    stages: list[Mapping[str, Any]] = field(default_factory=list)
    samples: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list)
    ranks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    ending: Mapping[str, Any] = field(default_factory=dict)
    measured: list[Mapping[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    description: str | None = None

    @property
    def name(self) -> str:
        return str(self.beginning.get("name"))

    @property
    def state(self) -> str:
        return str(self.ending.get("state", RUNNING))

    @property
    def parameters(self) -> dict[str, Any]:
        """Those it began with, those it noted, and the best of a search."""
        best = (self.ending.get("best") or {}).get("parameters", {})
        return {**self.beginning.get("parameters", {}), **self.ending.get("parameters", {}), **best}

    @property
    def metrics(self) -> dict[str, float]:
        """Those of its end, and of evaluations since."""
        metrics = dict(self.ending.get("metrics", {}))
        for body in self.measured:
            metrics |= body.get("metrics", {})
        return {name: value for name, value in metrics.items() if value is not None}


def details(run: str, log: EventLog) -> RunDetails:
    """A run by its whole id.

    Parameters
    ----------
    run : the id, as `find_run` gives it.
    log : where it is recorded.

    Raises
    ------
    ParameterError
        When the log does not say how it began.
    """
    records = log.since(0, subject=run)
    first = next(records, None)
    if first is None or first.kind != "run.began":
        raise ParameterError(f"{log!r} does not say how run {run!r} began.")
    moment = datetime.fromtimestamp(first.time, UTC)
    folded = RunDetails(run, first.body, moment, first.by, first.cause, first.digest)
    folded.tags = dict(first.body.get("tags", {}))
    for record in records:
        _take(folded, record)
    return folded


def _take(run: RunDetails, record: Record) -> None:
    body = record.body
    if record.kind == "run.passed":
        for name, value in body.get("metrics", {}).items():
            if "step" in body and value is not None:
                run.curves.setdefault((body["stage"], name), []).append((body["step"], value))
        if body.get("unit") in (STAGE, "part"):
            run.stages.append(body)
    elif record.kind == "run.sampled":
        run.samples.append((record.time, body))
    elif record.kind == "run.ranks":
        run.ranks[body["stage"]] = body
    elif record.kind == "data.seen":
        run.data.append(body)
    elif record.kind == "run.measured":
        run.measured.append(body)
    elif record.kind == "run.ended":
        run.ending = body
    elif record.kind == "run.tagged":
        run.tags |= body.get("tags", {})
        run.description = body.get("description", run.description)
