"""What jobs were expected to take on this machine, and took: later forecasts are corrected by it."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = "OUTGROW_CACHE"
_FILE = "plans.jsonl"
_LAST = 10
"""Runs that count."""
_MOST = 2.0
"""A correction is at most so large, and at least one by it."""
_SHORT = 0.05
"""Seconds of a stage below which it tells nothing."""


@dataclass(frozen=True)
class Constants:
    """By how much jobs took more on this machine than samples said: the mean ratio of the last ones.

    Attributes
    ----------
    stages : of the seconds, by stage.
    memory : of the bytes at the peak.
    runs : how many runs they are learned from.
    """

    stages: Mapping[str, float] = field(default_factory=dict)
    memory: float = 1.0
    runs: int = 0

    def of(self, stage: str) -> float:
        """The ratio of a stage; 1 where nothing is known."""
        return self.stages.get(stage, 1.0)


@dataclass(frozen=True)
class Expected:
    """A forecast, or what a run then took.

    Attributes
    ----------
    seconds : in all.
    memory : bytes at the peak.
    stages : seconds by stage.
    """

    seconds: float
    memory: float
    stages: Mapping[str, float]


@dataclass(frozen=True)
class Compared:
    """A run of a job beside its plan.

    Attributes
    ----------
    job : the path of the job file.
    planned, took : what was expected, and what it was.
    plan : the digest of the plan's record in a log; None where nothing was recorded.
    time : when the run ended, in seconds since 1970.
    """

    job: str
    planned: Expected
    took: Expected
    plan: str | None
    time: float


def path() -> Path:
    """The file of this user on this machine: in `OUTGROW_CACHE`, or in the user's cache."""
    home = os.environ.get(FOLDER) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "outgrow"
    )
    return Path(home) / _FILE


def note(
    job: str, settings: Sequence[str], planned: Expected, constants: Constants, plan: str | None = None
) -> None:
    """Remember a forecast.

    Parameters
    ----------
    job : the path of the job file.
    settings : values set in it.
    planned : the forecast.
    constants : the corrections that are in it.
    plan : the digest of its record in a log.
    """
    _append(
        {
            "job": _key(job, settings),
            "planned": _plain(planned),
            "ratios": {"stages": dict(constants.stages), "memory": constants.memory},
            "plan": plan,
        }
    )


def met(job: str, settings: Sequence[str], took: Expected) -> Compared | None:
    """Remember what a job took, beside its last plan; None where it was not planned.

    Parameters
    ----------
    job : the path of the job file.
    settings : values set in it.
    took : the seconds and bytes.
    """
    key = _key(job, settings)
    plans = [entry for entry in _entries() if entry["job"] == key and "took" not in entry]
    if not plans:
        return None
    _append({**plans[-1], "took": _plain(took)})
    return _compared({**plans[-1], "took": _plain(took), "time": time.time()})


def earlier(job: str) -> list[Compared]:
    """The last runs of a job that were planned on this machine, whatever was set in it; latest first.

    Parameters
    ----------
    job : the path of the job file.
    """
    here = os.path.abspath(job)
    runs = [e for e in _entries() if "took" in e and json.loads(e["job"])[0] == here]
    return [_compared(entry) for entry in reversed(runs[-_LAST:])]


def constants() -> Constants:
    """What the last runs on this machine say that forecasts must be multiplied by.

    The mean of log(took / forecast without corrections), with one run more of ratio 1: a single run moves a
    forecast by half of what it was off.
    """
    runs = [entry for entry in _entries() if "took" in entry][-_LAST:]
    ratios: dict[str, list[float]] = {}
    memory = []
    for entry in runs:
        planned, took, was = entry["planned"], entry["took"], entry["ratios"]
        memory.append(took["memory"] / planned["memory"] * was["memory"])
        for stage, seconds in took["stages"].items():
            before = planned["stages"].get(stage, 0.0) / was["stages"].get(stage, 1.0)
            if min(seconds, before) >= _SHORT:
                ratios.setdefault(stage, []).append(seconds / before)
    return Constants({stage: _mean(values) for stage, values in ratios.items()}, _mean(memory), len(runs))


def _mean(ratios: Sequence[float]) -> float:
    mean = math.exp(math.fsum(map(math.log, ratios)) / (len(ratios) + 1))
    return min(_MOST, max(1 / _MOST, mean))


def _compared(entry: Mapping[str, Any]) -> Compared:
    job = json.loads(entry["job"])[0]
    planned, took = Expected(**entry["planned"]), Expected(**entry["took"])
    return Compared(job, planned, took, entry["plan"], entry["time"])


def _plain(expected: Expected) -> dict[str, Any]:
    return {"seconds": expected.seconds, "memory": expected.memory, "stages": dict(expected.stages)}


def _key(job: str, settings: Sequence[str]) -> str:
    return json.dumps([os.path.abspath(job), *sorted(settings)])


def _entries() -> list[dict[str, Any]]:
    """Those that this version wrote: others, and lines that were cut off, say nothing."""
    try:
        lines = path().read_text().splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "ratios" in entry:
            entries.append(entry)
    return entries


def _append(entry: dict[str, Any]) -> None:
    """Append a line; where that cannot be, nothing is remembered."""
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with path().open("a") as file:
            file.write(json.dumps({**entry, "time": time.time()}) + "\n")
    except OSError:
        return
