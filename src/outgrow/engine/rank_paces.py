"""What each rank of a fit has done: its rows, its seconds at work, its memory; and which ranks are behind."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from outgrow.engine.memory import resident_bytes
from outgrow.stats.state import State

EVERY = 2.0
"""Seconds between two times that a rank tells what it has done."""
SLOW = 2.0
"""A rank is slow that works so many times as long as the median of the others."""
_LEAST_LOSS = 0.5
"""Seconds by which it then is behind them at least: less is chance."""

Pace = Mapping[str, Any]
"""Of one rank: `rank`, `host`, `rows`, `seconds` at work, `rows_per_second`, `memory` in bytes."""


@dataclass(frozen=True)
class RankPaces(State):
    """What ranks have done since the fit began, of those that have told it; by rank, as text."""

    ranks: dict[str, Pace]

    def merge(self, other: RankPaces) -> RankPaces:
        both = dict(self.ranks)
        for rank, pace in other.ranks.items():
            both[rank] = max(both.get(rank, pace), pace, key=lambda one: (one["seconds"], one["rows"]))
        return RankPaces(both)

    def listed(self) -> list[Pace]:
        """In the order of the ranks."""
        return [self.ranks[rank] for rank in sorted(self.ranks, key=int)]


class PaceCounter:
    """Counts what this rank does in a fit.

    Parameters
    ----------
    rank, host : which it is.
    every : seconds between two times that it reports.
    """

    def __init__(self, rank: int, host: str, *, every: float = EVERY) -> None:
        self.rows, self.seconds = 0, 0.0
        self._rank, self._host, self._every = rank, host, every
        self._reported = time.monotonic()
        self._lock = threading.Lock()

    def add(self, rows: int = 0, seconds: float = 0.0) -> None:
        """Count rows that were read, or seconds of work; on any thread.

        Parameters
        ----------
        rows, seconds : how many more.
        """
        with self._lock:
            self.rows += rows
            self.seconds += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is done inside the block as work."""
        began = time.perf_counter()
        yield
        self.add(seconds=time.perf_counter() - began)

    def now(self) -> dict[str, Any]:
        """What this rank has done until now."""
        return {
            "rank": self._rank,
            "host": self._host,
            "rows": self.rows,
            "seconds": self.seconds,
            "rows_per_second": self.rows / self.seconds if self.seconds > 0 else 0.0,
            "memory": resident_bytes(),
        }

    def report(self) -> RankPaces:
        """The same, to be merged with what other ranks tell."""
        self._reported = time.monotonic()
        return RankPaces({str(self._rank): self.now()})

    def due(self) -> RankPaces | None:
        """The same, where it was not told for some seconds."""
        return self.report() if time.monotonic() - self._reported >= self._every else None


def stragglers(ranks: Sequence[Pace]) -> list[int]:
    """The ranks for which the others wait: each works far longer than the median of the others.

    Parameters
    ----------
    ranks : what each has done in the same time.
    """
    slow = []
    for pace in ranks:
        others = [other["seconds"] for other in ranks if other["rank"] != pace["rank"]]
        usual = statistics.median(others) if others else pace["seconds"]
        if pace["seconds"] >= SLOW * usual and pace["seconds"] - usual >= _LEAST_LOSS:
            slow.append(int(pace["rank"]))
    return slow
