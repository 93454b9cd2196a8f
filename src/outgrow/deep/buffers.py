"""The rows of an epoch read by threads, a few buffers ahead of whoever takes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Condition, Thread
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.deep.fields import Field
from outgrow.deep.order import Order, Share
from outgrow.deep.plan import Plan
from outgrow.errors import DataError

AHEAD = 2
"""Buffers that may be under way or full beside the one that is handed out."""
_TILE_BYTES = 1 << 19
"""Rows that are brought into row-major order at once: they stay in a core's cache."""


class Buffer:
    """The rows of one rank's share of a buffer, which come in any order and lie in that of the batches.

    Parameters
    ----------
    share : which rows, and where they belong.
    fields : what becomes an array; the other columns stay as they come, until all are there.
    empty : makes the arrays, of a shape and a type.
    """

    def __init__(
        self, share: Share, fields: Sequence[Field], empty: Callable[..., np.ndarray] = np.empty
    ) -> None:
        self.share = share
        self._fields = [field for field in fields if field.is_array and field.row_bytes]
        self._others = list(dict.fromkeys(c for field in fields if not field.is_array for c in field.columns))
        rows = len(share.rows)
        self.arrays = {
            field.name: empty((rows, *field.shape), dtype=field.dtype) for field in fields if field.is_array
        }
        self._positions = np.full(share.high - share.low, -1, dtype=np.int64)
        self._positions[share.rows - share.low] = np.arange(rows)
        self._all = rows == len(self._positions)
        self._parts: list[tuple[int, Batch]] = []
        self.missing = len(self._positions)

    def put(self, row: int, batch: Batch) -> None:
        """Take some rows.

        Parameters
        ----------
        row : the number of the first, counted from the first row of the buffer.
        batch : consecutive rows, all of them in the share's range.
        """
        begin = row - self.share.low
        position = self._positions[begin : begin + batch.num_rows]
        for field in self._fields:
            self._scatter(field, field.numbers(batch), position)
        if self._others:
            self._parts.append((begin, batch.select(self._others)))

    def _scatter(self, field: Field, columns: Sequence[np.ndarray], position: np.ndarray) -> None:
        """Copy rows to where they belong: row-major in a core's cache first, then each as one item."""
        row = np.dtype((np.void, field.row_bytes))
        out = self.arrays[field.name].reshape(len(self.share.rows), -1).view(row)[:, 0]
        step = min(len(position), max(1, _TILE_BYTES // row.itemsize))
        tile = np.empty((step, row.itemsize // np.dtype(field.dtype).itemsize), dtype=field.dtype)
        for start in range(0, len(position), step):
            part = position[start : start + step]
            field.fill(tile[: len(part)], columns, start)
            items = tile.view(row)[: len(part), 0]
            if self._all:
                out[part] = items
            else:
                out[part[part >= 0]] = items[part >= 0]

    def others(self, begin: int, end: int) -> Batch:
        """The columns that are no arrays, of some rows in the order of the batches.

        Parameters
        ----------
        begin, end : the rows; all must have come.
        """
        if not self._others:
            return Batch({}, end - begin)
        if len(self._parts) != 1 or self._parts[0][0]:
            self._parts = [
                (0, Batch.joined([part for _, part in sorted(self._parts, key=lambda part: part[0])]))
            ]
        return self._parts[0][1].take(self.share.rows[begin:end] - self.share.low)


class BufferReader:
    """The buffers of one epoch for one rank, in order, read by threads.

    Threads take one piece after the other, in the order of the epoch, and hand its rows to the buffers they
    belong to; a thread waits when it gets too far ahead.

    Parameters
    ----------
    plan, order : what is read, and the order.
    fields : what is made of it.
    epoch, first : the epoch, and the buffer to begin with.
    rank, ranks : who reads.
    threads : how many.
    empty : see `Buffer`.
    """

    def __init__(
        self,
        plan: Plan,
        order: Order,
        fields: Sequence[Field],
        *,
        epoch: int,
        first: int,
        rank: int,
        ranks: int,
        threads: int,
        empty: Callable[..., np.ndarray] = np.empty,
    ) -> None:
        self._plan, self._order, self._fields, self._empty = plan, order, fields, empty
        self._epoch, self._rank, self._ranks = epoch, rank, ranks
        self._pieces = order.pieces(epoch)
        ends = np.cumsum(plan.rows[self._pieces])
        self._begins, self._ends = ends - plan.rows[self._pieces], ends
        starts = order.first_rows(
            np.array([order.buffer_steps(buffer)[0] for buffer in range(order.buffers)] + [order.steps])
        )
        self._starts = starts
        self._current = first
        self._next_piece = int(np.searchsorted(ends, starts[first], side="right"))
        self._buffers: dict[int, Future[Buffer]] = {}
        self._to_make = iter(range(first, order.buffers))
        self._maker = ThreadPoolExecutor(1, "outgrow order")
        self._make(1 + AHEAD)
        self._changed = Condition()
        self._error: BaseException | None = None
        self._closed = False
        self.reading_seconds = 0.0
        self._threads = [
            Thread(target=self._work, name=f"outgrow loader {number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Buffer]:
        """The buffers, each when it is full."""
        for number in range(self._current, self._order.buffers):
            yield self._full(number)
            with self._changed:
                self._current = number + 1
                self._buffers.pop(number, None)
                self._make(1)
                self._changed.notify_all()

    def close(self) -> None:
        """Stop the threads, and wait until they have."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._maker.shutdown(cancel_futures=True)
        self._buffers.clear()

    def _make(self, count: int) -> None:
        """Have the next buffers made beside the reading: their order is work, too."""
        for number in islice(self._to_make, count):
            self._buffers[number] = self._maker.submit(self._made, number)

    def _made(self, number: int) -> Buffer:
        share = self._order.share(self._epoch, number, self._rank, self._ranks)
        return Buffer(share, self._fields, self._empty)

    def _full(self, number: int) -> Buffer:
        buffer = self._buffers[number].result()
        with self._changed:
            while buffer.missing and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
        return buffer

    def _open(self, number: int) -> Buffer | None:
        """A buffer that rows may be put into now, once it is not too far ahead.

        None after `close`, and for one that was handed out meanwhile: it lacked nothing that is read here.
        """
        with self._changed:
            while number not in self._buffers and number >= self._current and not self._closed:
                self._changed.wait()
            buffer = None if self._closed else self._buffers.get(number)
        return None if buffer is None else buffer.result()

    def _work(self) -> None:
        try:
            while (index := self._taken()) is not None:
                self._read(index)
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._closed = True
                self._changed.notify_all()

    def _taken(self) -> int | None:
        """The next piece, by its position in the epoch."""
        with self._changed:
            if self._closed or self._next_piece >= len(self._pieces):
                return None
            self._next_piece += 1
            return self._next_piece - 1

    def _read(self, index: int) -> None:
        """Put the rows of a piece where they belong; nothing is read that this rank does not need."""
        begin, end = int(self._begins[index]), int(self._ends[index])
        batches: Iterator[tuple[int, Batch]] | None = None
        left: tuple[int, Batch] | None = None
        first = max(int(np.searchsorted(self._starts, begin, side="right")) - 1, self._current)
        for number in range(first, self._order.buffers):
            if self._starts[number] >= end:
                break
            buffer = self._open(number)
            if buffer is None:
                if self._closed:
                    return
                continue
            low = max(begin, buffer.share.start + buffer.share.low)
            high = min(end, buffer.share.start + buffer.share.high)
            if low >= high:
                continue
            batches = batches or self._batches(index, begin)
            left = self._fill(buffer, low, high, batches, left)
            if left is None and self._closed:
                return

    def _fill(
        self,
        buffer: Buffer,
        low: int,
        high: int,
        batches: Iterator[tuple[int, Batch]],
        left: tuple[int, Batch] | None,
    ) -> tuple[int, Batch] | None:
        """Put the rows [low, high) of the epoch into a buffer; what is left of the last batch comes back."""
        while low < high:
            if self._closed:
                return None
            row, batch = left or next(batches)
            left = None
            if row + batch.num_rows <= low:
                continue
            wanted = batch.slice(low - row, high - low)
            with self._reading():
                buffer.put(low - buffer.share.start, wanted)
            low += wanted.num_rows
            self._note(buffer, wanted.num_rows)
            if row + batch.num_rows > low:
                left = low, batch.slice(low - row, batch.num_rows)
        return left

    def _note(self, buffer: Buffer, rows: int) -> None:
        with self._changed:
            buffer.missing -= rows
            if not buffer.missing:
                self._changed.notify_all()

    def _batches(self, index: int, begin: int) -> Iterator[tuple[int, Batch]]:
        """The batches of a piece, each with the number of its first row in the epoch."""
        piece, rows = self._plan.pieces[self._pieces[index]], int(self._ends[index]) - begin
        row, batches = begin, piece.batches()
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                break
            if row - begin + batch.num_rows > rows:
                raise _changed(piece, rows, row - begin + batch.num_rows)
            yield row, batch
            row += batch.num_rows
        raise _changed(piece, rows, row - begin)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.reading_seconds += time.perf_counter() - began


def _changed(piece: Any, rows: int, now: int) -> DataError:
    return DataError(
        f"{piece.location(0)}: there were {rows} rows when the loader was made, and now {now} were read. The "
        "data have changed: make a new loader."
    )
