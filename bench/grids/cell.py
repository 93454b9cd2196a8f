"""One cell of the grid: rows, two contenders, and a judge of what each found."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.processes import own_seconds

SHORT = 0.2
"""Seconds: jobs that take less are repeated until they took so long, and count by their mean."""

LONG = 20
"""Seconds: the first call of jobs that take longer counts, too."""

Job = Callable[[Any], Any]


@dataclass(frozen=True)
class Cell:
    """A job on rows of one shape.

    Attributes
    ----------
    make : gives the rows; what it gives is handed to the contenders and the judge.
    ours, theirs : what is timed.
    judge : from the rows and what a contender found to what should be low, an objective mostly.
    slack : the share of the peer's by which ours may be higher.
    turns : the most turns of the peer, where it is slow.
    ready : called before each turn of ours, and not timed.
    """

    name: str
    make: Callable[[], Any]
    ours: Job
    theirs: Job
    judge: Callable[[Any, Any], float]
    slack: float = 1e-6
    peer: str = "scikit-learn"
    turns: int = 3
    ready: Callable[[Any], None] = lambda rows: None


@dataclass
class Times:
    """Seconds of each turn on the clock, and of all cores."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    found: float = float("nan")

    def add(self, job: Job, rows: Any) -> Any:
        """Take one more turn."""
        gc.collect()
        calls, cpu, began = 0, own_seconds(), time.perf_counter()
        while not calls or time.perf_counter() - began < SHORT:
            result = job(rows)
            calls += 1
        self.wall.append((time.perf_counter() - began) / calls)
        self.cpu.append((own_seconds() - cpu) / calls)
        return result


def measure(cell: Cell, turns: int) -> dict[str, Any]:
    """Both contenders in turns, after a call of each that is not timed unless it is long: it may compile."""
    rows = cell.make()
    ours, theirs = Times(), Times()
    cell.ready(rows)
    for contender, job in ((ours, cell.ours), (theirs, cell.theirs)):
        contender.found = cell.judge(rows, contender.add(job, rows))
        if contender.wall[0] < LONG:
            contender.wall.clear()
            contender.cpu.clear()
    for turn in range(turns):
        if len(ours.wall) < turns:
            cell.ready(rows)
            ours.add(cell.ours, rows)
        if len(theirs.wall) < min(turns, cell.turns) and (turn == 0 or theirs.wall[0] < 20):
            theirs.add(cell.theirs, rows)
    return {
        "cell": cell.name,
        "peer": cell.peer,
        "ours": asdict(ours),
        "theirs": asdict(theirs),
        "ratio": median(theirs.wall) / median(ours.wall),
        "worse": ours.found - theirs.found > cell.slack * max(abs(theirs.found), 1e-12),
        "load": os.getloadavg()[0],
    }
