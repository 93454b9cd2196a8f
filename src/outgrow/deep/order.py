"""Which rows make which batch: pure functions of the plan, the seed, the epoch and the step.

The pieces of a dataset are put in a random order, one after the other, and cut into buffers of whole batches.
The rows of a buffer are cut into runs of consecutive rows, and each run is permuted. In every turn each run
gives one row, in a random order of the runs; so many rows make a batch, which is then ordered by run. A rank
has an equal share of every batch, which therefore lies in few runs: it reads its share of the rows and little
more. Neither the number of ranks nor that of threads changes a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from outgrow.data.hashing import mix

RUNS = 48
"""In a buffer, at most: it divides evenly among 2, 3, 4, 6, 8, 12, 16 and 24 ranks."""
BUFFER_ROWS_LIMIT = 1 << 24
"""A key for sorting holds the number of a row in 24 bits, above those a hash in 34, and the run in 6."""


@dataclass(frozen=True)
class Share:
    """The rows of a buffer that one rank gets.

    Attributes
    ----------
    steps : the first of its batches, and the one after the last.
    start : the first row of the buffer in the epoch's order of pieces.
    low, high : the rows lie here, counted from `start`.
    rows : int64 of shape (rows,); the number of each, counted from `start`, batch after batch.
    ends : int64 of shape (batches + 1,); where each batch begins in `rows`.
    """

    steps: tuple[int, int]
    start: int
    low: int
    high: int
    rows: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True, eq=False)
class Order:
    """The batches of every epoch.

    Every row comes once an epoch. The last two batches share what is left, so that none is short of more
    than half of its rows.

    Parameters
    ----------
    piece_rows : int64; how many rows each piece has.
    batch_size : rows of a batch, over all ranks.
    buffer_batches : batches of a buffer, at most.
    shuffle : whether the order is random; else it is that of the pieces.
    seed : of the random order.
    drop_last : leave out the rows that make no whole batch, other ones in every epoch.
    """

    piece_rows: np.ndarray
    batch_size: int
    buffer_batches: int
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False

    @cached_property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.piece_rows.sum())

    @cached_property
    def steps(self) -> int:
        """How many batches an epoch has."""
        whole, rest = divmod(self.rows, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @cached_property
    def buffers(self) -> int:
        """How many buffers an epoch has."""
        return -(-self.steps // self.buffer_batches)

    def first_rows(self, steps: np.ndarray) -> np.ndarray:
        """How many rows of the epoch come before each of some steps.

        Parameters
        ----------
        steps : int64, from 0 to the number of steps.
        """
        firsts = steps * self.batch_size
        if not self.drop_last:
            left = self.rows - max(0, self.steps - 2) * self.batch_size
            last_two = self.rows - left + (left + 1) // 2
            firsts = np.where(
                steps == self.steps - 1, min(last_two, (self.steps - 1) * self.batch_size), firsts
            )
            firsts = np.where(steps >= self.steps, self.rows, firsts)
        return firsts

    def buffer_steps(self, buffer: int) -> tuple[int, int]:
        """The first batch of a buffer, and the one after its last: buffers are about equal."""
        return buffer * self.steps // self.buffers, (buffer + 1) * self.steps // self.buffers

    def buffer_of(self, step: int) -> int:
        """The buffer that a batch lies in."""
        return ((step + 1) * self.buffers - 1) // self.steps

    def pieces(self, epoch: int) -> np.ndarray:
        """The pieces in the order of an epoch."""
        count = len(self.piece_rows)
        if not self.shuffle:
            return np.arange(count)
        hashes = mix(np.arange(count, dtype=np.uint64) ^ _key(self.seed, epoch))
        return np.argsort(hashes, kind="stable")

    def share(self, epoch: int, buffer: int, rank: int = 0, ranks: int = 1) -> Share:
        """What one rank gets of a buffer.

        Parameters
        ----------
        epoch, buffer : which one.
        rank, ranks : who, counted from 0, of how many.
        """
        first, last = self.buffer_steps(buffer)
        firsts = self.first_rows(np.arange(first, last + 1))
        start, cuts = int(firsts[0]), firsts - firsts[0]
        sizes = np.diff(cuts)
        lows = cuts[:-1] + rank * sizes // ranks
        highs = cuts[:-1] + (rank + 1) * sizes // ranks
        rows = self._by_run(epoch, buffer, cuts, lows, highs) if self.shuffle else ranges(lows, highs)
        low, high = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
        if self.shuffle:
            permuted, low, high = self._permuted(epoch, buffer, int(cuts[-1]), low, high)
            rows = permuted[rows - low]
        ends = np.concatenate([[0], np.cumsum(highs - lows)])
        return Share((first, last), start, low, high, rows, ends)

    def _by_run(
        self, epoch: int, buffer: int, cuts: np.ndarray, lows: np.ndarray, highs: np.ndarray
    ) -> np.ndarray:
        """Positions in the runs, one run after the other, of the rows of some parts of the batches.

        Parameters
        ----------
        epoch, buffer : which one.
        cuts : where the batches begin and end.
        lows, highs : the parts, of the same batches.
        """
        sizes = run_sizes(int(cuts[-1]))
        counts = self._counts(epoch, buffer, cuts, sizes)
        begins = (np.cumsum(sizes) - sizes + np.cumsum(counts, axis=0) - counts).ravel()
        counts = counts.ravel()
        ends = np.cumsum(
            counts
        )  # a batch ends where its last run does, so these are positions of batches too
        part = np.repeat(np.arange(len(lows)), len(sizes))
        low = np.clip(lows[part] - (ends - counts), 0, counts)
        high = np.clip(highs[part] - (ends - counts), 0, counts)
        return ranges(begins + low, begins + high)

    def _counts(self, epoch: int, buffer: int, cuts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """How many rows of each run each batch has, of shape (batches, runs)."""
        rows, runs, batches = int(cuts[-1]), len(sizes), len(cuts) - 1
        hashes = mix(np.arange(runs * int(sizes[0]), dtype=np.uint64) ^ _key(self.seed, epoch, buffer + 1, 1))
        hashes[rows:] = np.iinfo(np.uint64).max  # in the last turn, shorter runs have no row
        run = np.argsort(hashes.reshape(-1, runs), axis=1).ravel()[:rows]
        batch = np.repeat(np.arange(batches), np.diff(cuts))
        return np.bincount(batch * runs + run, minlength=batches * runs).reshape(batches, runs)

    def _permuted(
        self, epoch: int, buffer: int, rows: int, low: int, high: int
    ) -> tuple[np.ndarray, int, int]:
        """The rows of the runs about [low, high), each run permuted, and where those runs begin and end."""
        sizes = run_sizes(rows)
        borders = np.concatenate([[0], np.cumsum(sizes)])
        first, last = (int(i) for i in np.searchsorted(borders, [low, high - 1], side="right") - 1)
        low, high = int(borders[first]), int(borders[last + 1])
        row = np.arange(low, high, dtype=np.uint64)
        run = np.repeat(np.arange(first, last + 1, dtype=np.uint64), sizes[first : last + 1])
        hashes = mix(row ^ _key(self.seed, epoch, buffer + 1))
        keys = run << np.uint64(58) | hashes >> np.uint64(30) << np.uint64(24) | row
        keys.sort()
        return (keys & np.uint64(BUFFER_ROWS_LIMIT - 1)).astype(np.int64), low, high


def run_sizes(rows: int) -> np.ndarray:
    """How many rows each run of a buffer has.

    Parameters
    ----------
    rows : of the buffer.

    Returns
    -------
    int64 of shape (runs,), in which longer runs come first.
    """
    runs = max(1, min(RUNS, rows))
    return (rows - np.arange(runs) + runs - 1) // runs


def ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The whole numbers of some ranges, one range after the other.

    Parameters
    ----------
    begins, ends : int64; each range is [begin, end).

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.deep.order import ranges
    >>> ranges(np.array([5, 0]), np.array([7, 3]))
    array([5, 6, 0, 1, 2])
    """
    counts = ends - begins
    return np.arange(counts.sum()) + np.repeat(begins - (np.cumsum(counts) - counts), counts)


def _key(*numbers: int) -> np.uint64:
    """A hash of whole numbers."""
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = mix(key ^ mix(np.array([number], dtype=np.uint64)))
    return key[0]
