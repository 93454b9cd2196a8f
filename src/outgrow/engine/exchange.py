"""Rows placed by a key: all rows of a key come to one rank, and into one batch.

Every row goes to one of many bins, which the hash of its key names, and a bin to one rank. Parts of bins are
Arrow streams of bytes, in memory as far as the budget goes and then in a file, and the same bytes cross from
rank to rank. A bin is put together when a pass asks for it, so that one for each thread is in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.hashing import source_hash
from outgrow.data.keys import key_hash
from outgrow.data.matrix import Matrix
from outgrow.engine.context import FitContext, Unit
from outgrow.engine.memory import Store
from outgrow.engine.mesh import Post
from outgrow.engine.outcome import guarded
from outgrow.engine.stored_matrices import StoredMatrices

LEAST_BYTES, MOST_BYTES = 1 << 18, 32 << 20
"""About how large a bin is, at least and at most, where keys are many and none has too many rows."""
_SHARE = 16
"""Of the memory of a thread, one part is a bin: it is read, joined, sorted, and made into something else."""
_MOST_BINS = 1 << 14


def bin_count(run: FitContext, nbytes: float) -> int:
    """How many bins rows are sorted into, the same on every rank; all ranks ask.

    Parameters
    ----------
    run : the fit; the least budget of a rank counts.
    nbytes : about what all rows take, over all ranks.
    """
    share = run.least_budget() / (_SHARE * run.threads)
    each = ceil(nbytes / min(max(share, LEAST_BYTES), MOST_BYTES) / run.comm.size)
    return run.comm.size * min(max(each, run.threads), _MOST_BINS)


class ExchangedRows:
    """The bins of this rank.

    Parameters
    ----------
    run : the fit.
    by : the columns of the key.
    example : a batch without rows, as those that are placed.
    bins : how many there are over all ranks; rank r has those whose number leaves r when it is divided by the
        number of ranks.
    """

    place: str | None = None
    identified: Any = None

    def __init__(self, run: FitContext, by: Sequence[str], example: Batch, bins: int) -> None:
        self.run = run
        self.matrices: dict[Any, Any] = {}
        self._by = list(by)
        self._bins = bins
        self._sorted = [name for name in example.columns if _is_flat(example, name)]
        self._matrices = StoredMatrices.of(example)
        self._store: Store[np.ndarray] = Store(run.memory)
        self._parts: dict[int, list[int]] = {
            number: [] for number in range(run.comm.rank, bins, run.comm.size)
        }
        self._lock = threading.Lock()

    def fill(self, units: Sequence[Unit]) -> None:
        """Place rows; all ranks call it, and an error that one raises on purpose is raised by all.

        Parameters
        ----------
        units : those of this rank, of batches like the example; each is read once.
        """
        comm = self.run.comm

        def post(send: Post) -> None:
            def work(unit: Unit) -> None:
                for batch in unit():
                    comm.check()
                    for number, part in self._split(batch):
                        message = {"bin": number, "rows": self._packed(part)}
                        owner = number % comm.size
                        if owner == comm.rank:
                            self._take(message)
                        else:
                            send(owner, message)

            for _ in self.run.map(work, units):
                pass

        outcome = guarded(lambda _: comm.exchange(post, self._take))(None)
        self.run.combine(outcome).get()

    def units(self) -> Sequence[Unit]:
        return [partial(self._bin, number, self._store.get) for number in self._parts]

    def last_units(self) -> Sequence[Unit]:
        """The bins for the last time, each let go as it is taken."""
        return [partial(self._bin, number, self._store.pop) for number in self._parts]

    def plain(self, batch: Batch) -> Batch:
        """The batch, whose text is text already."""
        return batch

    def _split(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """The rows of a batch for each bin that gets some."""
        hashes = key_hash(batch, self._by)
        places = (hashes >> np.uint64(32)) * np.uint64(self._bins) >> np.uint64(32)
        order = np.argsort(places, kind="stable")
        numbers, starts = np.unique(places[order], return_index=True)
        rows, ends = batch.take(order), [*starts[1:].tolist(), len(order)]
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            yield number, rows.slice(start, end - start)

    def _packed(self, part: Batch) -> np.ndarray:
        """Rows as the bytes of an Arrow stream."""
        sink, rows = pa.BufferOutputStream(), self._matrices.to_arrow(part)
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_batch(rows)
        return np.frombuffer(sink.getvalue(), dtype=np.uint8)

    def _take(self, message: dict[str, Any]) -> None:
        part = message["rows"]
        held = self._store.hold(part, part.nbytes)
        with self._lock:
            self._store.extend([[held]])
            self._parts[message["bin"]].append(len(self._store) - 1)

    def _bin(self, number: int, get: Callable[[int], np.ndarray]) -> Iterator[Batch]:
        """All rows of a bin: those of a key side by side, in an order that their values but lists give."""
        parts = [part for index in self._parts[number] for part in self._opened(get(index))]
        if parts:
            rows = Batch.joined(parts)
            yield rows.take(np.lexsort((source_hash(rows, self._sorted), key_hash(rows, self._by))))

    def _opened(self, part: np.ndarray) -> Iterator[Batch]:
        with pa.ipc.open_stream(pa.py_buffer(part)) as stream:
            for rows in stream:
                yield self._matrices(Batch.from_arrow(rows))


def _is_flat(example: Batch, name: str) -> bool:
    """Whether a column has values that order rows of one key, each a number, a time or a text."""
    column = example[name]
    return isinstance(column, Matrix) or not (
        pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_null(column.type)
    )
