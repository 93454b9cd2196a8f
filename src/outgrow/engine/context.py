"""One fit under way on one rank: passes over its rows, merged over the ranks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from outgrow.engine.collective import Alone, Communicator
from outgrow.engine.events import Event, emit, heard
from outgrow.engine.journal import Journal
from outgrow.engine.memory import Memory, peak_bytes
from outgrow.engine.rank_paces import PaceCounter, RankPaces
from outgrow.errors import DataError
from outgrow.stats.state import State, merge

_CALL, _HOP = 2e-4, 2e-3
"""Seconds: to call the threads, and for states to go from one rank to the next."""

R = TypeVar("R")
T = TypeVar("T")
Unit = Callable[[], Iterator[Any]]


class Foldable(Protocol):
    """Rows of this rank, as units that threads take; each unit yields what a fold gets."""

    def units(self) -> Sequence[Unit]: ...


@dataclass(frozen=True)
class SlowestRank(State):
    """The rank that worked longest in a pass, and how long."""

    seconds: float
    rank: int
    host: str

    def merge(self, other: SlowestRank) -> SlowestRank:
        return max(self, other, key=lambda pace: (pace.seconds, -pace.rank))

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host}"


class FitContext:
    """Who takes part in a fit, with how many threads and how much memory, and how many passes it took.

    Attributes
    ----------
    journal : the states of passes that an earlier run of the same fit has made, and where new ones go.
    pace : the rank that was slowest in the last pass.
    work : counts what this rank does.
    paces : what the ranks said of that in the last pass; None where none did.
    tells_paces : whether ranks say it to each other.
    shared : whether other fits go on when this one fails, so that all ranks must know that it did.
    reuse : whether more fits of the same rows follow, so that what is made of them is worth keeping.
    many : whether many fits like this one follow, so that compiling code for them pays.
    elastic : whether ranks may leave and join while the fit goes on.
    between : what this process keeps from one company of ranks to the next, by name; empty in a new process.
    regroups : whether somebody waits to join, so that ranks shall part and meet anew as soon as they can.
    """

    shared = False
    reuse = False
    many = False
    elastic = False
    tells_paces = True

    def __init__(
        self,
        comm: Communicator | None = None,
        threads: int = 1,
        memory: Memory | None = None,
        stage: str = "fit",
        journal: Journal | None = None,
    ) -> None:
        self.comm: Communicator = comm or Alone()
        self.threads = threads
        self.memory = memory or Memory(1 << 62)
        self.stage = stage
        self.journal = journal or Journal()
        self.pace: SlowestRank | None = None
        self.work = PaceCounter(self.comm.rank, self.comm.host)
        self.paces: RankPaces | None = None
        self.waited = 0.0
        self.between: dict[str, Any] = {}
        self.regroups: Callable[[], bool] = lambda: False
        self.passes = 0
        self.rows = 0
        self._recalled = False
        self._began = time.perf_counter()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def workers(self) -> int:
        """How many threads fold rows, over all ranks."""
        return self.threads * self.comm.size

    @property
    def pass_seconds(self) -> float:
        """What a pass over no rows takes: the same guess on every rank."""
        return _CALL + _HOP * (self.comm.size - 1).bit_length()

    def reduce(self, rows: Foldable, fold: Callable[[Any], R | None], *, empty: R | None = None) -> R:
        """One pass: fold the units, merge in their order, then over the ranks; or recall what it gave.

        All ranks ask for the same passes in the same order, and get the same.

        Parameters
        ----------
        rows : the rows of this rank.
        fold : called with each item of each unit, on several threads at once; returns a `State`, an array, a
            tuple of those, or None where the item adds nothing.
        empty : the answer where no rank has anything to merge.

        Raises
        ------
        DataError
            When there are no rows, and `empty` is not given.
        """
        self._recalled = self.journal.knows()
        if self._recalled:
            self.passes += 1
            return self.journal.recall()
        began = time.perf_counter()
        local = self._local(rows, fold)
        own = SlowestRank(time.perf_counter() - began, self.comm.rank, self.comm.host)
        self.work.add(seconds=own.seconds)
        own_pace = self.work.due() if self.tells_paces and self.comm.size > 1 else None
        merged, self.pace, self.paces = self.comm.allreduce((local, own, own_pace))
        self.passes += 1
        merged = empty if merged is None else merged
        if merged is None:
            raise no_rows()
        self.journal.note(merged)
        self.tell("pass", self.passes, seconds=time.perf_counter() - began, rows=self.rows)
        return merged

    def read(self, unit: Unit) -> Iterator[Any]:
        """What a unit yields, its rows counted; raises where another rank is known to have failed."""
        self.comm.check()
        for item in unit():
            self.work.add(getattr(item, "num_rows", 0))
            yield item

    def combine(self, state: R) -> R:
        """The states that each rank brings, merged: no pass over rows, so neither counted nor kept.

        Where fits run side by side, it belongs inside `call`, which lets one of them after the other talk.
        """
        began = time.perf_counter()
        merged: R = self.comm.allreduce(state)
        self.waited += time.perf_counter() - began
        return merged

    def least_budget(self) -> int:
        """The memory budget of the rank that has least, in bytes; all ranks ask together."""
        if self.comm.size == 1:
            return self.memory.budget
        each = np.zeros(self.comm.size)
        each[self.comm.rank] = self.memory.budget
        budgets: np.ndarray = self.call(lambda: self.combine(each))
        return int(budgets.min())

    @property
    def recalled(self) -> bool:
        """Whether the last pass was only recalled from the journal, so that no fold saw any row."""
        return self._recalled

    def resume(self) -> None:
        """Take no more of what the journal knows: what follows is computed anew."""
        self.journal.forget()
        self._recalled = False

    def map(self, function: Callable[[T], R], units: Sequence[T]) -> Iterator[R]:
        """`function` of each unit of this rank, in order, on the threads; of one alone, in this one.

        Parameters
        ----------
        function : called with the unit itself, which it runs; several calls go on at once.
        units : of this rank; other ranks are not asked.
        """
        if len(units) < 2:
            yield from map(function, units)
        else:
            with one_blas_thread():
                yield from self._threaded(function, units)

    def call(self, function: Callable[[], T]) -> T:
        """Run something that itself talks to the other ranks."""
        return function()

    def tell(
        self,
        unit: str,
        step: int,
        total: int | None = None,
        *,
        seconds: float = 0.0,
        rows: int = 0,
        loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Report progress; ranks other than the first, and passes that are only recalled, keep quiet.

        Parameters
        ----------
        unit : what `step` counts, like 'pass', 'round' or 'iteration'.
        step, total : how far, from 1; total is None where it cannot be known.
        seconds : what this step took.
        rows : how many it touched, over all ranks.
        loss : the value being minimised, where there is one.
        metrics : what else was measured, by name.
        """
        if self.comm.rank == 0 and heard() and not self._recalled:
            elapsed = time.perf_counter() - self._began
            slowest = str(self.pace) if self.pace is not None and self.comm.size > 1 else None
            event = Event(self.stage, unit, step, total, rows, seconds, elapsed, loss, peak_bytes(), slowest)
            ranks = () if self.paces is None else self.paces.listed()
            emit(replace(event, metrics=metrics or {}, ranks=ranks))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _local(self, rows: Foldable, fold: Callable[[Any], R]) -> R | None:
        """The part of a pass that this rank does: None when it has no rows."""
        return self._fold(rows.units(), fold)

    def _fold(self, units: Sequence[Unit], fold: Callable[[Any], R]) -> R | None:
        """The local part of a pass; each thread takes runs of neighbouring units."""

        def fold_units(part: Sequence[Unit]) -> R | None:
            total: R | None = None
            for unit in part:
                for item in self.read(unit):
                    total = merge(total, fold(item))
            return total

        total: R | None = None
        for state in self.map(fold_units, runs(units, 8 * self.threads)):
            total = merge(total, state)
        return total

    def _threaded(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        if self.threads == 1:
            return map(function, items)
        if self._pool is None:  # no fit of few rows starts threads
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="outgrow")
        return self._pool.map(function, items)


def no_rows() -> DataError:
    """What is wrong with rows of which there are none."""
    return DataError("There are no rows to learn from. Check the path, the conditions and the split.")


class _OneBlasThread:
    """From the first of several threads that ask for it to the last that lets it go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._asked == 0:
                several = ((library, library.get_num_threads()) for library in _blas())
                self._before = [(library, threads) for library, threads in several if (threads or 1) > 1]
                for library, _ in self._before:
                    library.set_num_threads(1)
            self._asked += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._asked -= 1
            if self._asked == 0:
                for library, threads in self._before:
                    library.set_num_threads(threads)


_one_blas_thread = _OneBlasThread()


def one_blas_thread() -> AbstractContextManager[None]:
    """One BLAS thread for each of ours: the parallelism is over rows."""
    return _one_blas_thread


@lru_cache(1)
def _blas() -> list[Any]:
    """The BLAS libraries that are loaded; threadpoolctl's own limits look at each time and again."""
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def runs(units: Sequence[Unit], parts: int) -> list[Sequence[Unit]]:
    """Runs of neighbours.

    Parameters
    ----------
    units : in their order.
    parts : how many runs, at most.
    """
    count = min(parts, len(units))
    if count < 2:
        return [units] * count
    edges = [len(units) * part // count for part in range(count + 1)]
    return [units[a:b] for a, b in pairwise(edges)]
