"""A number for each row, the same on every engine and in any order, by which rows can be told apart.

It follows from the values of a row, and of equal rows from which of them it is: those of one rank come before
those of the next. Which of equal rows gets a number depends on the partitioning; how many get it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.hashing import mix, seeded, source_hash
from outgrow.engine.context import FitContext, Unit
from outgrow.stats.counts import DistinctCount
from outgrow.stats.state import State

_SEED = 0x1D5
"""So that choices by these numbers have nothing to do with the folds that a row's hash gives."""
_MOSTLY = 0.95
"""Where so many of the rows differ, the few equal ones need not be told apart."""


class Rows(Protocol):
    """The rows of this rank: what `Resident` and `FoldedRows` have in common."""

    run: FitContext
    matrices: dict[Any, Any]

    def plain(self, batch: Batch) -> Batch: ...

    @property
    def place(self) -> str | None:
        """The column that holds the place of each row; None where rows have none."""

    def units(self) -> Sequence[Unit]: ...

    def last_units(self) -> Sequence[Unit]: ...


@dataclass(frozen=True, eq=False)
class Copies(State):
    """How many equal rows each rank has.

    Attributes
    ----------
    hashes, ranks, counts : of shape (entries,), sorted by hash, then by rank; each pair is there once.
    """

    hashes: np.ndarray
    ranks: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray, rank: int) -> Copies:
        """The rows of a rank.

        Parameters
        ----------
        hashes : uint64 of shape (rows,).
        rank : whose they are.
        """
        once, counts = np.unique(hashes, return_counts=True)
        return cls(once, np.full(len(once), rank), counts)

    def merge(self, other: Copies) -> Copies:
        pairs = zip(self._arrays, other._arrays, strict=True)
        hashes, ranks, counts = (np.concatenate(pair) for pair in pairs)
        order = np.lexsort((ranks, hashes))
        return Copies(hashes[order], ranks[order], counts[order])

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.hashes, self.ranks, self.counts

    def before(self, hashes: np.ndarray, rank: int) -> np.ndarray:
        """How many rows with the same hashes lower ranks have.

        Parameters
        ----------
        hashes : some of those that the rank has, uint64 of shape (entries,).
        rank : the number of the rank.

        Returns
        -------
        Shape (entries,).
        """
        counted = np.cumsum(self.counts) - self.counts
        at = np.searchsorted(self.hashes, hashes)
        own = np.flatnonzero(self.ranks == rank)
        mine = own[np.searchsorted(self.hashes[own], hashes)]
        found: np.ndarray = counted[mine] - counted[at]
        return found


class IdentifiedRows:
    """Rows with the number of each in a further column.

    Parameters
    ----------
    rows : the rows; the numbers are worked out at once, in one pass over them, and kept.
    columns : whose values tell rows apart.
    name : of the further column.
    """

    def __init__(self, rows: Rows, columns: Sequence[str], name: str) -> None:
        self.run, self.plain, self.matrices, self.place = rows.run, rows.plain, rows.matrices, rows.place
        self.name = name
        self._rows = rows
        self._numbers = self._numbered(columns)

    def units(self) -> Sequence[Unit]:
        return self._beside(self._rows.units())

    def last_units(self) -> Sequence[Unit]:
        return self._beside(self._rows.last_units())

    def _beside(self, units: Sequence[Unit]) -> Sequence[Unit]:
        return [partial(self._read, number, unit) for number, unit in enumerate(units)]

    def _read(self, number: int, unit: Unit) -> Iterator[Batch]:
        for batch, numbers in zip(unit(), self._numbers[number], strict=True):
            yield batch.with_columns({self.name: pa.array(numbers)})

    def _numbered(self, columns: Sequence[str]) -> list[list[np.ndarray]]:
        """The numbers of the rows of each batch of each unit; all ranks ask together."""

        def hashed(unit: Unit) -> list[np.ndarray]:
            return [seeded(source_hash(batch, columns), _SEED) for batch in unit()]

        parts = list(self.run.map(hashed, self._rows.units()))
        every = [part for unit in parts for part in unit]
        hashes = np.concatenate([*every, np.zeros(0, np.uint64)])
        numbers = told_apart(self.run, hashes)
        ends = iter(np.split(numbers, np.cumsum([len(part) for part in every])))
        return [[next(ends) for _ in unit] for unit in parts]


def told_apart(run: FitContext, hashes: np.ndarray) -> np.ndarray:
    """Other numbers for the copies of equal rows; all ranks call it.

    Where nearly all rows differ, the few equal ones keep their hashes.

    Parameters
    ----------
    run : joins the ranks.
    hashes : uint64 of shape (rows,), of the rows of this rank.

    Returns
    -------
    uint64 of shape (rows,).
    """
    if getattr(run.comm, "sums_only", False):
        run = FitContext()  # who may tell nothing of its rows but sums counts its own copies alone
    seen, rows = run.combine((DistinctCount.of(hashes), np.array([len(hashes)])))
    if seen.estimate() >= _MOSTLY * rows[0]:
        return hashes
    return hashes ^ _mixed(_which(run, hashes))


def _which(run: FitContext, hashes: np.ndarray) -> np.ndarray:
    """Which of the rows equal to it each row is, counted over all ranks from 0."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    first = np.append(np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1])
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(ordered)))
    which = np.arange(len(ordered)) - np.repeat(starts, sizes)
    if run.comm.size > 1:
        copies = run.combine(Copies.of(hashes, run.comm.rank))
        which += np.repeat(copies.before(ordered[starts], run.comm.rank), sizes)
    found = np.empty_like(which)
    found[order] = which
    return found


def _mixed(which: np.ndarray) -> np.ndarray:
    """Numbers of copies spread over 64 bits; the first keeps its hash."""
    return np.where(which > 0, mix(which.astype(np.uint64)), np.uint64(0))
