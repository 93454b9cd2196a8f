"""Contenders for one job: what each does, timed in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.processes import Neighbours, wait_for_quiet
from bench.spark import warm_session

LOUD = 0.2
"""Others disturb when they use more than so many cores."""
WARM_ROWS = 20_000
"""Rows of the untimed first run of each contender."""


@dataclass
class Place:
    """Where a contender finds its rows.

    Attributes
    ----------
    path : the Parquet file.
    session : a warm Spark session, or None for contenders without Spark.
    quick : whether this is a smoke test, for cases that do not follow the number of rows.
    """

    path: Path
    session: Any = None
    quick: bool = False


@dataclass(frozen=True)
class Contender:
    """From a Parquet file to a fitted model.

    Attributes
    ----------
    run : what is timed; gives what the case's judge understands, or None for the scan.
    spark : whether it needs the session.
    repeats : at most so many runs, for the slow ones.
    """

    name: str
    run: Callable[[Place], Any]
    spark: bool = False
    repeats: int | None = None


@dataclass(frozen=True)
class Quality:
    """What tells a good fit from a fast one.

    Attributes
    ----------
    best : whether low or high values are good.
    slack : by how much ours may be worse than the peer's, in units or as a share of the peer's.
    """

    name: str
    best: Literal["low", "high"]
    slack: float
    relative: bool = False

    def worse(self, ours: float, peer: float) -> bool:
        loss = ours - peer if self.best == "low" else peer - ours
        return loss > self.slack * (abs(peer) if self.relative else 1.0)


@dataclass(frozen=True)
class Target:
    """A ratio to reach: `peer` takes `at_least` times our seconds, or we take `at_most` times the peer's."""

    ours: str
    peer: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def aim(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def ratio(self, ours: float, peer: float) -> float:
        return peer / ours if self.at_least is not None else ours / peer

    def met(self, ratio: float) -> bool:
        return ratio >= self.at_least if self.at_least is not None else ratio <= (self.at_most or 0.0)


QualityMeasure = Callable[[Any], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """One job and all who do it.

    Attributes
    ----------
    table : the kind of table, None where the case brings its own rows.
    judge : given the file, gives a function from a contender's result to the qualities it reached; the first
        is the one that counts.
    spark_memory : whether memory is measured with Spark too, which takes a JVM and a slow run each.
    ready : called before the first turn, and not timed.
    """

    name: str
    title: str
    table: str | None
    contenders: tuple[Contender, ...]
    judge: Callable[[Path], QualityMeasure]
    quality: Quality
    targets: tuple[Target, ...]
    notes: str = ""
    spark_memory: bool = False
    ready: Callable[[Place], Any] = lambda place: None


@dataclass
class Record:
    """What one contender did, and how many cores the machine's other users had meanwhile."""

    contender: str
    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)
    peak_bytes: int | None = None

    @property
    def median(self) -> float:
        return median(self.seconds)


def hold(case: Case, places: dict[str, Place], repeats: int, say: Callable[[str], None]) -> list[Record]:
    """Run all contenders in turns, A B C A B C, so that a machine that slows down slows all of them."""
    records = {contender.name: Record(contender.name) for contender in case.contenders}
    case.ready(places["full"])
    place, judge = places["full"], case.judge(places["full"].path)
    for contender in case.contenders if "warm" in places else ():
        contender.run(places["warm"])
    for turn, contender in _turns(case, repeats):
        run = _run(contender, place)
        if run.others > LOUD and not place.quick and contender.repeats is None:
            run = min(run, _run(contender, place), key=lambda each: each.others)
        record = records[contender.name]
        record.seconds.append(run.seconds)
        record.others.append(run.others)
        if run.result is not None and not record.quality:
            record.quality = judge(run.result)
        say(f"{case.name}: {contender.name}, turn {turn + 1}: {run.seconds:.2f} s")
        del run
    return list(records.values())


@dataclass
class _Run:
    seconds: float
    others: float
    result: Any


def _run(contender: Contender, place: Place) -> _Run:
    gc.collect()
    if not place.quick:
        wait_for_quiet(LOUD)
    others = Neighbours()
    began = time.perf_counter()
    result = contender.run(place)
    run = _Run(time.perf_counter() - began, others.cores(), result)
    if contender.spark:
        place.session.catalog.clearCache()
    return run


def needs_spark(case: Case) -> bool:
    return any(contender.spark for contender in case.contenders)


def prepared(case: Case, place: Place) -> Place:
    """The place with a session where the case needs one."""
    return Place(place.path, warm_session(), place.quick) if needs_spark(case) else place


def _turns(case: Case, repeats: int) -> Iterator[tuple[int, Contender]]:
    for turn in range(repeats):
        for contender in case.contenders:
            if turn < (contender.repeats or repeats):
                yield turn, contender
