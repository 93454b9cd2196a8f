"""Rows of many requests are scored in one batch, after no longer a wait than promised.

The kernel runs between two turns of the event loop: for small batches a thread would cost more than it saves.
Work that is expected to take longer goes to a thread, so that health checks and short requests are not held
up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from outgrow.data.batch import Batch
from outgrow.serve.http.refusal import BusyError
from outgrow.serve.http.rows import Row
from outgrow.serve.http.scoring import Answers, FeatureSource, LoadedVersion, answer_all

INLINE_SECONDS = 0.01
"""Work expected to take longer does not run on the event loop."""

_LEARNING_RATE = 0.2
_BatchResult = tuple[list[Answers | Exception], float]


@dataclass(eq=False)
class PendingRequest:
    """The rows of a request, and the future that its handler waits for."""

    served: LoadedVersion
    rows: Sequence[Row] | Batch
    count: int
    future: asyncio.Future[Answers | Exception]
    since: float = field(default_factory=time.perf_counter)

    @property
    def abandoned(self) -> bool:
        return self.future.done()


@dataclass
class BatchTiming:
    """How long batches take: a part for each batch, and one for each row; both learned as it goes."""

    batch: float = 0.0005
    row: float = 0.00002

    def expect(self, rows: int) -> float:
        return self.batch + rows * self.row

    def learn(self, rows: int, seconds: float) -> None:
        """Learn from a batch: half of what was not expected goes to each part, slowly.

        Parameters
        ----------
        rows : how many the batch had.
        seconds : how long it took.
        """
        error = seconds - self.expect(rows)
        self.batch = max(1e-5, self.batch + _LEARNING_RATE * error / 2)
        self.row = max(1e-8, self.row + _LEARNING_RATE * error / 2 / max(rows, 8))


@dataclass
class Batcher:
    """Collects the rows of requests for one model.

    Parameters
    ----------
    max_batch : rows in a batch.
    max_wait : seconds a request waits for others at most; none waits where none can be expected.
    max_queue : rows that may wait; past it requests are refused.
    observe : called with rows and seconds of each batch.
    queued : called with the seconds that the rows of a request waited for their batch.
    pool : where long work runs, one batch of this model at a time; None for the event loop's own.
    features : where columns of the model are looked up that requests do not bring.

    Attributes
    ----------
    waiting : rows whose answers somebody waits for.
    """

    max_batch: int = 256
    max_wait: float = 0.002
    max_queue: int = 4096
    observe: Callable[[int, float], None] | None = None
    queued: Callable[[float], None] | None = None
    pool: Executor | None = None
    features: FeatureSource | None = None
    waiting: int = 0
    _queue: OrderedDict[PendingRequest, None] = field(default_factory=OrderedDict)
    _expected: int = 1
    _timer: Any = None
    _timing: BatchTiming = field(default_factory=BatchTiming)
    _since: float | None = None
    _due: bool = False

    async def answer(self, served: LoadedVersion, rows: Sequence[Row] | Batch) -> Answers:
        """The answers for some rows; who is cancelled while waiting leaves nothing behind.

        Parameters
        ----------
        served : the version to ask; requests of other versions are not in the same batch.
        rows : as its reader read them. A `Batch` is scored alone, lists of rows together with others.

        Raises
        ------
        BusyError
            When too many rows wait.
        """
        count = rows.num_rows if isinstance(rows, Batch) else len(rows)
        if self.waiting and self.waiting + count > self.max_queue:
            raise BusyError(f"{self.waiting} rows", max(1, math.ceil(self._timing.expect(self.waiting))))
        loop = asyncio.get_running_loop()
        request = PendingRequest(served, rows, count, loop.create_future())
        self._queue[request] = None
        self.waiting += count
        try:
            self._schedule(loop)
            answers = await request.future
        finally:
            self.waiting -= count
            self._queue.pop(request, None)
        if isinstance(answers, Exception):
            raise answers
        return answers

    @property
    def busy_for(self) -> float:
        """Seconds since a thread began the batch under way; 0 when there is none."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._since is not None or self._due:
            return  # the batch under way looks at the queue when it is done
        if len(self._queue) >= self._expected or self.waiting >= self.max_batch:
            self._flush_soon(loop)
        elif self._timer is None:
            self._timer = loop.call_later(self.max_wait, self._flush)

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """After what this turn of the loop still brings."""
        self._due = True
        loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._since is not None or not self._queue:
            return
        self._expected = len(self._queue)
        batch = self._take()
        rows = sum(request.count for request in batch)
        if self.queued is not None:
            now = time.perf_counter()
            for request in batch:
                self.queued(now - request.since)
        if self._timing.expect(rows) <= INLINE_SECONDS:
            self._settle(batch, answer_all(batch))
            return
        self._since = time.monotonic()
        task = asyncio.get_running_loop().run_in_executor(self.pool, answer_all, batch)
        task.add_done_callback(partial(self._finish, batch))

    def _take(self) -> list[PendingRequest]:
        """The next requests that fit one batch: of one version, all rows or one table."""
        first, _ = self._queue.popitem(last=False)
        taken, rows = [first], first.count
        while self._queue and not isinstance(first.rows, Batch):
            request = next(iter(self._queue))
            fits = rows + request.count <= self.max_batch and request.served is first.served
            if not fits or isinstance(request.rows, Batch):
                break
            del self._queue[request]
            taken.append(request)
            rows += request.count
        return taken

    def _finish(self, batch: list[PendingRequest], task: asyncio.Future[_BatchResult]) -> None:
        began, self._since = self._since, None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._settle(batch, task.result())
        else:
            failed = RuntimeError(f"the batch could not run: {error!r}")
            self._settle(batch, ([failed] * len(batch), time.monotonic() - (began or 0.0)))

    def _settle(self, batch: list[PendingRequest], outcome: _BatchResult) -> None:
        answers, seconds = outcome
        if self._queue:
            self._flush_soon(asyncio.get_running_loop())
        for request, answer in zip(batch, answers, strict=True):
            if not request.abandoned:
                request.future.set_result(answer)
        rows = sum(request.count for request in batch)
        self._timing.learn(rows, seconds)
        if self.observe is not None:
            self.observe(rows, seconds)
