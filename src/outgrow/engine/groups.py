"""Groups by key: counted where their rows are, packed into bins by size, and handed out one by one."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from outgrow._process import end_with
from outgrow.data.batch import Batch
from outgrow.data.hashing import row_hash, unit
from outgrow.data.keys import key_codes, key_hash, key_values
from outgrow.data.matrix import Matrix
from outgrow.data.scan import ScanPiece
from outgrow.engine.context import one_blas_thread
from outgrow.engine.memory import Memory, Store
from outgrow.stats.grouped import GroupedSums, Keys, Segments
from outgrow.stats.state import merge, to_tree

T = TypeVar("T")
Groups = Iterator[tuple[int, Batch]]
"""Groups one after the other: the hash of the key, and all rows."""

BIN_BYTES = 64 << 20
"""About the most that one call gets."""
WAVES = 4
"""Bins for each call that runs at once, so that slow ones even out."""
_ONE_BY_ONE = 4096
"""The largest groups go each to the emptiest bin; the many small ones fill up what is left."""
_WORTH = 2.0
"""Seconds of work below which processes would cost more than they save."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Which groups are worked on, and which of them together.

    Attributes
    ----------
    by : the columns of the keys.
    hashes : ndarray of the groups' hashes, sorted; rows of other groups are left out.
    bins : ndarray of shape (groups,), the bin of each.
    shares : ndarray of shape (groups,), the share of its rows that is used, chosen by their hash.
    count : how many bins there are.
    """

    by: tuple[str, ...]
    hashes: np.ndarray
    bins: np.ndarray
    shares: np.ndarray
    count: int

    @classmethod
    def of(
        cls,
        by: Sequence[str],
        hashes: np.ndarray,
        rows: np.ndarray,
        *,
        slots: int,
        row_bytes: int,
        most: int | None = None,
    ) -> Packing:
        """Groups in bins of about equal size.

        Parameters
        ----------
        by : the columns of the keys.
        hashes : uint64 of shape (groups,), of the keys; sorted.
        rows : shape (groups,), how many rows each has.
        slots : how many calls run at once; there are `WAVES` bins for each, if there are so many groups.
        row_bytes : about what a row takes; there are more bins where they would be larger than `BIN_BYTES`.
        most : about how many rows of one group are used; all by default.
        """
        used = rows if most is None else np.minimum(rows, most)
        wanted = max(WAVES * slots, int(used.sum()) * row_bytes // BIN_BYTES)
        count = int(max(1, min(wanted, len(hashes))))
        return cls(tuple(by), hashes, _packed(used, count), used / np.maximum(rows, 1), count)

    def sort_out(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a batch that are used, and the bin of each."""
        if not len(self.hashes):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        hashes = key_hash(batch, self.by)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        used = self.hashes[at] == hashes
        if (self.shares < 1).any():
            used &= unit(row_hash(batch)) < self.shares[at]
        rows = np.flatnonzero(used)
        return rows, self.bins[at[rows]]


def _packed(rows: np.ndarray, count: int) -> np.ndarray:
    """The bin of each group."""
    bins = np.zeros(len(rows), dtype=np.int32)
    order = np.argsort(-rows, kind="stable")
    loads = [(0, place) for place in range(count)]
    for group in order[:_ONE_BY_ONE].tolist():
        load, place = loads[0]
        bins[group] = place
        heapq.heapreplace(loads, (load + int(rows[group]), place))
    rest = order[_ONE_BY_ONE:]
    if len(rest):
        full = rows.sum() / count
        room = np.zeros(count)
        for load, place in loads:
            room[place] = max(0.0, full - load)
        middle = np.cumsum(rows[rest]) - rows[rest] / 2
        bins[rest] = np.minimum(np.searchsorted(np.cumsum(room), middle), count - 1)
    return bins


@dataclass(frozen=True)
class Tag:
    """A step of a scan: the rows of a packing's groups, with their bins as the column `place`."""

    packing: Packing
    place: str

    def __call__(self, batch: Batch) -> Batch:
        rows, bins = self.packing.sort_out(batch)
        return batch.take(rows).with_columns({self.place: pa.array(bins, pa.int32())})


@dataclass(frozen=True)
class OnlyGroups:
    """A step of a scan: the rows of some groups, whose hashes are sorted."""

    by: tuple[str, ...]
    hashes: np.ndarray

    def __call__(self, batch: Batch) -> Batch:
        return batch.filter(np.isin(key_hash(batch, self.by), self.hashes))


@dataclass(frozen=True)
class CountGroups:
    """The keys of a piece and their rows, as a tree; for `Engine.each_piece`."""

    by: tuple[str, ...]

    def __call__(self, number: int, piece: Any) -> Any:
        total = None
        for batch in piece.batches():
            segments = Segments.coded(*key_codes(batch, self.by))
            values = key_values(batch, self.by).take(pa.array(segments.firsts))
            counts = GroupedSums(segments.hashes, segments.counts[:, None].astype(np.float64))
            total = merge(total, (Keys.of(segments.hashes, values), counts))
        return None if total is None else to_tree(total)


def cut(batches: Sequence[Batch], by: Sequence[str]) -> Groups:
    """The groups among the rows of batches, each with all its rows, in an order that their values give.

    Parameters
    ----------
    batches : of equal columns and types; their own order does not matter.
    by : the columns of the keys; they stay in the rows.
    """
    if not batches:
        return
    whole = Batch.joined(batches)
    hashes = key_hash(whole, by)
    order = np.lexsort((row_hash(whole), hashes))
    whole, ordered = whole.take(order), hashes[order]
    edges = [*np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])).tolist(), len(ordered)]
    for start, end in pairwise(edges):
        yield int(ordered[start]), whole.slice(start, end - start)


class Bins:
    """The rows of the groups of a packing on this machine, bin by bin."""

    def __init__(self, stores: list[Store[Batch]], packing: Packing) -> None:
        self._stores = stores
        self._by = packing.by

    @classmethod
    def of(cls, pieces: Sequence[ScanPiece], packing: Packing, memory: Memory, threads: int) -> Bins:
        """Sort the rows of pieces into bins.

        Parameters
        ----------
        pieces : the rows, each read once.
        packing : which rows are used, and where they go.
        memory : the budget; rows past it wait in a file.
        threads : how many pieces are read at once.
        """
        stores: list[Store[Batch]] = [Store(memory) for _ in range(packing.count)]
        lock = threading.Lock()

        def read(piece: ScanPiece) -> None:
            for batch in piece.batches():
                rows, bins = packing.sort_out(batch)
                order = np.argsort(bins, kind="stable")
                places, starts = np.unique(bins[order], return_index=True)
                parts = np.split(rows[order], starts[1:])
                plain = text_decoded(batch)
                for place, part in zip(places.tolist(), parts, strict=False):
                    own = plain.take(part)
                    held = stores[place].hold(own, own.nbytes)
                    with lock:
                        stores[place].extend([[held]])

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(read, pieces):
                pass
        return cls(stores, packing)

    def each(self, function: Callable[[Groups], Iterator[T]], slots: int, *, processes: bool) -> Iterator[T]:
        """What the function yields, bin after bin as they finish; the rows of each are let go as it is taken.

        Parameters
        ----------
        function : called once for each bin with its groups. For processes, it and what it yields must be
            picklable.
        slots : how many bins are worked on at once.
        processes : the function holds Python's lock: the bins are worked on here one by one, and by processes
            as soon as they are expected to take long; else by threads.
        """
        began = time.perf_counter()
        for place in range(len(self._stores)):
            if slots > 1 and not processes:
                yield from self._on_threads(function, slots)
                return
            left = len(self._stores) - place
            expected = (time.perf_counter() - began) / place * left if place else 0.0
            if slots > 1 and left > 1 and expected > _WORTH:
                yield from self._on_processes(function, slots, place)
                return
            with one_blas_thread():
                yield from function(cut(self._pop(place), self._by))

    def _on_threads(self, function: Callable[[Groups], Iterator[T]], slots: int) -> Iterator[T]:
        def work(place: int) -> list[T]:
            return list(function(cut(self._pop(place), self._by)))

        with one_blas_thread(), ThreadPoolExecutor(slots) as pool:
            futures = [pool.submit(work, place) for place in range(len(self._stores))]
            try:
                for future in as_completed(futures):
                    yield from future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _on_processes(self, function: Callable[[Groups], Iterator[T]], slots: int, first: int) -> Iterator[T]:
        from joblib import Parallel, delayed

        pool = Parallel(
            n_jobs=slots,
            backend="loky",
            return_as="generator_unordered",
            mmap_mode=None,
            max_nbytes=None,
            initializer=end_with,
            initargs=(os.getpid(),),
        )
        tasks = (
            delayed(_bin)(function, self._pop(place), self._by) for place in range(first, len(self._stores))
        )
        for found in pool(tasks):
            yield from found

    def _pop(self, place: int) -> list[Batch]:
        store = self._stores[place]
        return [store.pop(index) for index in range(len(store))]


def _bin(function: Callable[[Groups], Iterator[T]], batches: list[Batch], by: tuple[str, ...]) -> list[T]:
    """One bin, in a process of its own."""
    with one_blas_thread():
        return list(function(cut(batches, by)))


def text_decoded(batch: Batch) -> Batch:
    """The batch with text as text, so that batches can be joined."""
    decoded = {
        name: column.dictionary_decode()
        for name, column in batch.columns.items()
        if not isinstance(column, Matrix) and pa.types.is_dictionary(column.type)
    }
    return batch.with_columns(decoded) if decoded else batch
