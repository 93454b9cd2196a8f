"""Rows of many requests meet in one batch, as large as the moment gives and never later than promised.

The kernel runs between two turns of the event loop: for small batches a thread would cost more than it saves.
Work that is expected to take longer goes to a thread, so that health checks and short requests are not held
up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.errors import OutgrowError
from outgrow.serve.http.rows import Row, RowReader, RowsError
from outgrow.serve.versions import Version

INLINE_SECONDS = 0.01
"""Work expected to take longer does not run on the event loop."""

_LEARNING = 0.2


class BusyError(Exception):
    """More rows wait than may.

    Attributes
    ----------
    retry_after : seconds after which it is worth trying again.
    """

    def __init__(self, rows: int, retry_after: int) -> None:
        super().__init__(f"{rows} rows wait already. Try again in {retry_after} s.")
        self.retry_after = retry_after


class LateError(Exception):
    """The deadline of a request passed before its turn came."""


@dataclass(frozen=True, eq=False)
class Served:
    """A version of a model and what reads its rows."""

    version: Version
    reader: RowReader

    @classmethod
    def of(cls, version: Version) -> Served:
        return cls(version, RowReader(version.predictor.columns))


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers for the rows of a request.

    Attributes
    ----------
    predictions : one for each row.
    probabilities : of each class for each row; None where the model has none.
    served : the version that made them.
    batch_rows : how many rows were in the batch.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None
    served: Served
    batch_rows: int


@dataclass(eq=False)
class Work:
    """The rows of a request, and who waits for them."""

    served: Served
    rows: Sequence[Row] | Batch
    count: int
    future: asyncio.Future[Answers]
    due: float


@dataclass
class Pace:
    """How long batches take: a part for each batch, and one for each row; both learned as it goes."""

    batch: float = 0.0005
    row: float = 0.00002

    def expect(self, rows: int) -> float:
        return self.batch + rows * self.row

    def learn(self, rows: int, seconds: float) -> None:
        error = seconds - self.expect(rows)
        self.batch = max(1e-5, self.batch + _LEARNING * error / 2)
        self.row = max(1e-8, self.row + _LEARNING * error / 2 / max(rows, 8))


@dataclass
class Batcher:
    """Collects the rows of requests for one model.

    Parameters
    ----------
    max_batch : rows in a batch.
    max_wait : seconds a request waits for others at most; none waits where none can be expected.
    max_queue : rows that may wait; past it requests are refused.
    told : called with rows and seconds of each batch.
    """

    max_batch: int = 256
    max_wait: float = 0.002
    max_queue: int = 4096
    told: Callable[[int, float], None] | None = None
    waiting: int = 0
    _queue: list[Work] = field(default_factory=list)
    _expected: int = 1
    _timer: Any = None
    _pace: Pace = field(default_factory=Pace)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _busy: bool = False
    _due: bool = False

    def submit(
        self, served: Served, rows: Sequence[Row] | Batch, due: float = math.inf
    ) -> asyncio.Future[Answers]:
        """The answers for some rows, when they are there.

        Raises
        ------
        BusyError
            When too many rows wait.
        """
        count = rows.num_rows if isinstance(rows, Batch) else len(rows)
        if self.waiting and self.waiting + count > self.max_queue:
            raise BusyError(self.waiting, max(1, math.ceil(self._pace.expect(self.waiting))))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answers] = loop.create_future()
        self._queue.append(Work(served, rows, count, future, due))
        self.waiting += count
        self._schedule(loop)
        return future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._busy or self._due:
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
        if self._busy or not self._queue:
            return
        self._expected = len(self._queue)
        batch = self._take()
        rows = sum(work.count for work in batch)
        if not batch:
            pass
        elif self._pace.expect(rows) > INLINE_SECONDS:
            self._busy = True
            task = asyncio.get_running_loop().run_in_executor(self._pool, _answer, batch)
            task.add_done_callback(lambda done: self._finish(batch, rows, done.result()))
            self._watch(batch)
            return
        else:
            self._finish(batch, rows, _answer(batch))
        if self._queue:
            self._flush_soon(asyncio.get_running_loop())

    def _watch(self, batch: list[Work]) -> None:
        """Tell those whose deadline passes while a thread works; others are looked at when they are taken."""
        if not self._busy:
            return
        now = time.monotonic()
        dues = [now + 1.0]
        for work in (*batch, *self._queue):
            if work.due < now and not work.future.done():
                work.future.set_exception(LateError("The deadline passed while the model worked."))
            elif not work.future.done():
                dues.append(work.due)
        asyncio.get_running_loop().call_later(max(0.001, min(dues) - now), self._watch, batch)

    def _take(self) -> list[Work]:
        """The next works that fit one batch: of one version, all rows or one table."""
        now = time.monotonic()
        taken: list[Work] = []
        rows = 0
        while self._queue:
            work = self._queue[0]
            fits = not taken or (
                rows + work.count <= self.max_batch
                and work.served is taken[0].served
                and not isinstance(work.rows, Batch)
                and not isinstance(taken[0].rows, Batch)
            )
            if not fits:
                break
            self._queue.pop(0)
            if work.future.done() or work.due < now:
                self.waiting -= work.count
                if not work.future.done():
                    work.future.set_exception(LateError("The deadline passed while the rows waited."))
                continue
            taken.append(work)
            rows += work.count
        return taken

    def _finish(self, batch: list[Work], rows: int, outcome: tuple[list[Answers | Exception], float]) -> None:
        answers, seconds = outcome
        self._pace.learn(rows, seconds)
        self.waiting -= rows
        for work, answer in zip(batch, answers, strict=True):
            if work.future.done():
                continue  # the client has gone
            if isinstance(answer, Exception):
                work.future.set_exception(answer)
            else:
                work.future.set_result(answer)
        if self.told is not None:
            self.told(rows, seconds)
        if self._busy:
            self._busy = False
            if self._queue:
                self._flush_soon(asyncio.get_running_loop())

    def close(self) -> None:
        """Let go of the thread."""
        self._pool.shutdown(wait=False)


def _answer(works: list[Work]) -> tuple[list[Answers | Exception], float]:
    """The answers for each work of a batch, and the seconds they took."""
    began = time.perf_counter()
    try:
        answers = _together(works)
    except OutgrowError as error:
        answers = [_alone(work) for work in works] if len(works) > 1 else [_refused(works[0], error)]
    except Exception as error:  # a fault of ours, or of a transformer: those who wait must hear of it
        answers = [error] * len(works)
    return answers, time.perf_counter() - began


def _together(works: list[Work]) -> list[Answers | Exception]:
    served = works[0].served
    first = works[0].rows
    if isinstance(first, Batch):
        batch = first
    else:
        rows = [row for work in works if not isinstance(work.rows, Batch) for row in work.rows]
        batch = served.reader.batch(rows)
    predictor = served.version.predictor
    if predictor.classes is None:
        predictions, probabilities = predictor.answer(batch).tolist(), None
    else:
        chances = predictor.answer(batch, "predict_proba")
        predictions = predictor.model.classes_[np.argmax(chances, axis=1)].tolist()
        probabilities = chances.tolist()
    answers: list[Answers | Exception] = []
    start = 0
    for work in works:
        end = start + work.count
        chosen = None if probabilities is None else probabilities[start:end]
        answers.append(Answers(predictions[start:end], chosen, served, batch.num_rows))
        start = end
    return answers


def _alone(work: Work) -> Answers | Exception:
    """The answers of one request of a batch in which a row is bad."""
    try:
        return _together([work])[0]
    except OutgrowError as error:
        return _refused(work, error)


def _refused(work: Work, error: OutgrowError) -> RowsError:
    """Which rows of a request are bad, and why."""
    batch = work.rows if isinstance(work.rows, Batch) else work.served.reader.batch(work.rows)
    reasons = work.served.version.predictor.sift(batch).reasons
    if not reasons:
        return RowsError(str(error))
    row, reason = min(reasons.items())
    return RowsError(
        f"Row {row} cannot be scored: {reason}", rows={str(place): said for place, said in reasons.items()}
    )
