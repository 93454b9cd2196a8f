"""What jobs were expected to take on this machine, and took: later forecasts are corrected by it."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "OUTGROW_CACHE"
_FILE = "plans.jsonl"
_LAST = 10
"""Runs that count."""
_MOST = 2.0
"""A correction is at most so large, and at least one by it."""


def path() -> Path:
    """The file of this user on this machine: in `OUTGROW_CACHE`, or in the user's cache."""
    home = os.environ.get(FOLDER) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "outgrow"
    )
    return Path(home) / _FILE


def note(job: str, settings: Sequence[str], seconds: float, memory: float, factor: float) -> None:
    """Remember a forecast.

    Parameters
    ----------
    job : the path of the job file.
    settings : values set in it.
    seconds, memory : the forecast.
    factor : the correction that is in `seconds`.
    """
    _append({"job": _key(job, settings), "planned": seconds, "memory": memory, "factor": factor})


def met(job: str, settings: Sequence[str], seconds: float, memory: float) -> dict[str, Any] | None:
    """Remember what a job took, if it was planned; the forecast.

    Parameters
    ----------
    job : the path of the job file.
    settings : values set in it.
    seconds, memory : what it took.
    """
    planned = [entry for entry in _entries() if entry["job"] == _key(job, settings) and "planned" in entry]
    if not planned:
        return None
    last = planned[-1]
    uncorrected = last["planned"] / last["factor"]
    _append({"job": _key(job, settings), "took": seconds, "held": memory, "uncorrected": uncorrected})
    return last


def factor() -> float:
    """By how much jobs took longer on this machine than samples said, in the mean of the last ones."""
    ratios = [entry["took"] / entry["uncorrected"] for entry in _entries() if entry.get("took")]
    if not ratios:
        return 1.0
    mean = math.fsum(map(math.log, ratios[-_LAST:])) / len(ratios[-_LAST:])
    return min(_MOST, max(1 / _MOST, math.exp(mean)))


def _key(job: str, settings: Sequence[str]) -> str:
    return json.dumps([os.path.abspath(job), *sorted(settings)])


def _entries() -> list[dict[str, Any]]:
    try:
        lines = path().read_text().splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue  # a line that was cut off
    return entries


def _append(entry: dict[str, Any]) -> None:
    """Append a line; where that cannot be, nothing is remembered."""
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with path().open("a") as file:
            file.write(json.dumps({**entry, "time": time.time()}) + "\n")
    except OSError:
        return
