"""The cells in which values of a column are counted: frozen when the reference is made, never changed again.

The cells of many numbers are as wide as a power of two and begin at multiples of it, so that no rounding
decides in which of them a value lies: counts are the same to the bit in any code and on any machine.

Each grid writes its counts into a vector: five heads, then the cells. All of it adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.stats.number_sample import NumberSample

MISSING, BELOW, ABOVE, FAR_BELOW, FAR_ABOVE = range(5)
"""The heads: missing values; values below and above the cells, and by how many cells, summed."""
HEADS = 5
CELLS = 4_096
TAIL = 0.0005
"""The share of the reference's values at either end that lie outside of the cells, about."""
COARSE = 256
"""Cells at most of counts that are kept for long, and of those of slices."""
_FARTHEST = 2.0**31
_TABLE = 1 << 16
"""Cells of a table that tells which of few numbers a value is."""
_SMALLEST_LEVEL = -1_000
_EXACT_SUM = 2**53


@dataclass(frozen=True)
class NumberGrid:
    """Equal cells between two numbers, with all that lies beyond in two tails.

    Attributes
    ----------
    level : cells are 2**level wide.
    first : the number of the first cell; it begins at first * 2**level.
    size : how many cells there are.
    """

    level: int
    first: float
    size: int

    @property
    def edges(self) -> np.ndarray:
        """The ends of the cells, shape (size + 1,)."""
        return np.ldexp(self.first + np.arange(self.size + 1), self.level)

    @property
    def slice_cells(self) -> int:
        """How many cells there are for slices."""
        return -(-self.size // (CELLS // COARSE))

    def count(self, values: np.ndarray, out: np.ndarray) -> None:
        """Add the counts of values.

        Parameters
        ----------
        values : float64, NaN for missing ones.
        out : the vector, int64 of shape (5 + size,).
        """
        cells = self._cells(values)
        low = np.fmin.reduce(cells, initial=0.0)
        inner = np.clip(cells, -1.0, float(self.size))
        if np.isnan(inner.sum()):
            present = ~np.isnan(inner)
            out[MISSING] += len(inner) - np.count_nonzero(present)
            inner = inner[present]
        inner += 1.0
        counts = np.bincount(inner.astype(np.intp), minlength=self.size + 2)
        out[HEADS:] += counts[1:-1]
        out[BELOW] += counts[0]
        out[ABOVE] += counts[-1]
        if low < 0:
            out[FAR_BELOW] += int(np.clip(cells[cells < 0], -_FARTHEST, 0.0).sum())
        if counts[-1]:
            beyond = cells[cells >= self.size] - self.size
            out[FAR_ABOVE] += int(np.clip(beyond, 0.0, _FARTHEST).sum())

    def _cells(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            cells = values * 2.0**-self.level
            np.floor(cells, out=cells)
            cells -= self.first
        return cells

    def places(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value, from 0; those of tails are those at the ends, and -1 is missing."""
        cells = np.clip(self._cells(values), 0.0, self.size - 1.0)
        return np.where(np.isnan(cells), -1.0, cells).astype(np.intp)

    def slice_places(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value among those for slices, -1 for a missing one."""
        places = self.places(values)
        return np.where(places < 0, -1, places // (CELLS // COARSE))

    def positions(self, vector: np.ndarray) -> np.ndarray:
        """Where the values of each cell lie: the middle of the cell, and the mean of a tail.

        Parameters
        ----------
        vector : counts of this grid.

        Returns
        -------
        Shape (size + 2,): the tail below, the cells, the tail above.
        """
        width = 2.0**self.level
        below = vector[FAR_BELOW] / max(1, vector[BELOW]) + 0.5
        above = self.size + vector[FAR_ABOVE] / max(1, vector[ABOVE]) + 0.5
        cells = np.concatenate([[below], np.arange(self.size) + 0.5, [above]])
        return (self.first + cells) * width

    def shares(self, vector: np.ndarray) -> np.ndarray:
        """Counts in the order of the values: the tail below, the cells, the tail above."""
        return np.concatenate([vector[BELOW : BELOW + 1], vector[HEADS:], vector[ABOVE : ABOVE + 1]])

    def slice_positions(self) -> np.ndarray:
        """The middle of each cell for slices."""
        step = CELLS // COARSE
        return np.ldexp(self.first + (np.arange(self.slice_cells) + 0.5) * step, self.level)

    def to_tree(self) -> dict[str, Any]:
        return {"grid": "cells", "level": self.level, "first": self.first, "size": self.size}


@dataclass(frozen=True, eq=False)
class ValueGrid:
    """A cell for each of few numbers, and one for what lies between two of them.

    A number that another code rounds otherwise is still that number: what lies within a millionth of the way
    to the next one, or of the number itself where that is less, is counted as it.

    Attributes
    ----------
    values : float64, ascending, each once; at least one.
    """

    values: np.ndarray

    @property
    def size(self) -> int:
        """How many cells there are: before, at and after each number."""
        return 2 * len(self.values) + 1

    @property
    def slice_cells(self) -> int:
        """How many cells there are for slices."""
        return min(COARSE, len(self.values))

    @cached_property
    def _table(self) -> tuple[int, float, np.ndarray] | None:
        """The level and start of a table, and the cell of what lies at and after each of its entries."""
        values = self.values
        level = _common_level(values)
        if level is None:
            return None
        whole = np.ldexp(values, -level)
        span = whole[-1] - whole[0]
        if not span < _TABLE or np.abs(whole).max() >= 2.0**52:
            return None
        entries = np.arange(int(span) + 2) - 1.0 + whole[0]
        at = 2 * np.searchsorted(whole, entries) + np.isin(entries, whole)
        after = 2 * np.searchsorted(whole, entries, side="right")
        return level, float(whole[0]), np.stack([at, after], axis=1).ravel()

    def cells(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value; those of NaN are of no account."""
        if self._table is None:
            return self._searched(values)
        level, first, table = self._table
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            scaled = values * 2.0**-level
            entries = np.floor(scaled)
            between = (scaled != entries) | ((scaled == 0) & (values != 0))
            entries -= first - 1.0
        last = len(table) / 2 - 1
        between |= entries > last
        entries = np.clip(entries, 0.0, last)
        entries = np.where(np.isnan(entries), 0.0, entries).astype(np.intp)
        cells: np.ndarray = table[2 * entries + between]
        if between.any():
            cells[between] = self._searched(values[between])
        return cells

    def _searched(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value, without the table."""
        lows, highs = self._near
        left = np.searchsorted(highs, values)
        at = (left < len(lows)) & (lows[np.minimum(left, len(lows) - 1)] <= values)
        return 2 * left + at

    @cached_property
    def _near(self) -> tuple[np.ndarray, np.ndarray]:
        """From where to where a value is each of the numbers, rounded otherwise."""
        with np.errstate(over="ignore"):
            gaps = np.diff(self.values, prepend=-np.inf, append=np.inf)
            size = np.abs(self.values)
            gap = np.minimum(gaps[:-1], gaps[1:])
            gap = np.where(np.isinf(gap), size, gap)
            near = np.ldexp(np.maximum(np.minimum(gap, size), np.ldexp(gap, -20)), -20)
            return self.values - near, self.values + near

    def count(self, values: np.ndarray, out: np.ndarray) -> None:
        """Add the counts of values.

        Parameters
        ----------
        values : float64, NaN for missing ones.
        out : the vector, int64 of shape (5 + size,).
        """
        missing = np.isnan(values)
        if missing.any():
            out[MISSING] += np.count_nonzero(missing)
            values = values[~missing]
        counts = np.bincount(self.cells(values), minlength=self.size)
        out[HEADS:] += counts
        if counts[0]:
            out[FAR_BELOW] += _steps(self.values[0] - values, self._step)
        if counts[-1]:
            out[FAR_ABOVE] += _steps(values - self.values[-1], self._step)

    @cached_property
    def _step(self) -> int:
        """The level of the steps by which values beyond the known ones are summed: a 1024th of their span."""
        span = float(self.values[-1] / 2 - self.values[0] / 2) or abs(float(self.values[0])) or 1.0
        return int(max(_SMALLEST_LEVEL, np.frexp(span)[1] - 9))

    def places(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value, -1 for a missing one."""
        return np.where(np.isnan(values), -1, self.cells(values))

    def slice_places(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value among those for slices, -1 for a missing one."""
        places = self.places(values)
        nearest = np.minimum(places // 2, len(self.values) - 1)
        return np.where(places < 0, -1, nearest * self.slice_cells // len(self.values))

    def positions(self, vector: np.ndarray) -> np.ndarray:
        """Where the values of each cell lie: at the number, halfway to the next, or at the mean of a tail.

        Parameters
        ----------
        vector : counts of this grid.

        Returns
        -------
        Shape (size,).
        """
        ends = np.concatenate([self.values[:1], self.values, self.values[-1:]])
        middles = ends[:-1] + (ends[1:] - ends[:-1]) / 2
        positions = np.empty(self.size)
        positions[0::2], positions[1::2] = middles, self.values
        width = 2.0**self._step
        if vector[HEADS]:
            positions[0] -= vector[FAR_BELOW] / vector[HEADS] * width
        if vector[-1]:
            positions[-1] += vector[FAR_ABOVE] / vector[-1] * width
        return positions

    def shares(self, vector: np.ndarray) -> np.ndarray:
        """Counts in the order of the values."""
        return vector[HEADS:]

    def slice_positions(self) -> np.ndarray:
        """The mean of the numbers of each cell for slices."""
        cells = np.arange(len(self.values)) * self.slice_cells // len(self.values)
        return np.bincount(cells, self.values) / np.bincount(cells)

    def to_tree(self) -> dict[str, Any]:
        return {"grid": "values", "values": self.values}


def _steps(beyond: np.ndarray, level: int) -> int:
    """How many steps values lie beyond an end, summed; those within count for nothing."""
    beyond = beyond[beyond > 0]
    with np.errstate(over="ignore"):
        steps = np.floor(beyond * 2.0**-level)
    return int(np.clip(steps, 0.0, _FARTHEST).sum())


@dataclass(frozen=True, eq=False)
class TextGrid:
    """A cell for each text that is known, and one for all others.

    Attributes
    ----------
    texts : those that are known.
    complete : whether the reference has no others, so that any other is new.
    """

    texts: tuple[str, ...]
    complete: bool

    @property
    def size(self) -> int:
        """How many cells there are; the last is for all others."""
        return len(self.texts) + 1

    @property
    def slice_cells(self) -> int:
        """How many cells there are for slices; one where not all texts are known."""
        return min(COARSE, self.size) if self.complete else 1

    @cached_property
    def _known(self) -> pa.Array:
        return pa.array(self.texts, pa.string())

    def word_cells(self, words: pa.Array) -> np.ndarray:
        """The cell of each text.

        Parameters
        ----------
        words : an Arrow array of text without nulls.
        """
        return pc.index_in(words, self._known).fill_null(len(self.texts)).to_numpy(zero_copy_only=False)

    def count_words(self, cells: np.ndarray, counts: np.ndarray, missing: int, out: np.ndarray) -> None:
        """Add the counts of texts.

        Parameters
        ----------
        cells : of each text, as `word_cells` gives them.
        counts : how often each occurs.
        missing : how many values have no text.
        out : the vector, int64 of shape (5 + size,).
        """
        out[MISSING] += missing
        np.add.at(out[HEADS:], cells, counts)

    def slice_of(self, cells: np.ndarray) -> np.ndarray:
        """The cell for slices of each cell; rarer texts share one."""
        if not self.complete:
            return np.zeros_like(cells)
        if self.size <= COARSE:
            return cells
        return np.where(cells == len(self.texts), COARSE - 1, np.minimum(cells, COARSE - 2))

    def shares(self, vector: np.ndarray) -> np.ndarray:
        """The counts of the cells."""
        return vector[HEADS:]

    def to_tree(self) -> dict[str, Any]:
        return {"grid": "texts", "texts": list(self.texts), "complete": self.complete}


@dataclass(frozen=True)
class NoGrid:
    """Of values that are not told apart: only whether there is one. The one cell counts those."""

    size = 1
    slice_cells = 1

    def shares(self, vector: np.ndarray) -> np.ndarray:
        """The one count."""
        return vector[HEADS:]

    def to_tree(self) -> dict[str, Any]:
        return {"grid": "none"}


Grid = NumberGrid | ValueGrid | TextGrid | NoGrid


def grid_from_tree(tree: dict[str, Any]) -> Grid:
    """What `to_tree` of a grid gave."""
    kind = tree["grid"]
    if kind == "cells":
        return NumberGrid(int(tree["level"]), float(tree["first"]), int(tree["size"]))
    if kind == "values":
        return ValueGrid(np.asarray(tree["values"], dtype=np.float64))
    return TextGrid(tuple(tree["texts"]), bool(tree["complete"])) if kind == "texts" else NoGrid()


def number_grid(sample: NumberSample) -> Grid:
    """The grid for numbers of which this is the sample."""
    numbers = sample.sorted()
    if sample.complete:
        return ValueGrid(numbers) if len(numbers) else NoGrid()
    low, high = numbers[[round(TAIL * (len(numbers) - 1)), round((1 - TAIL) * (len(numbers) - 1))]].tolist()
    level = _level(low, high, whole=bool((numbers == np.floor(numbers)).all()))
    first = np.floor(np.ldexp(low, -level))
    return NumberGrid(level, float(first), int(np.floor(np.ldexp(high, -level)) - first) + 1)


def _level(low: float, high: float, *, whole: bool) -> int:
    """The least level with which the cells between two numbers are few enough."""
    largest = int(np.frexp(max(abs(low), abs(high)))[1])
    span = int(np.frexp(high / 2 - low / 2)[1]) + 1
    level = max(largest - 52, span - 13, _SMALLEST_LEVEL, 0 if whole else _SMALLEST_LEVEL)
    while np.floor(np.ldexp(high, -level)) - np.floor(np.ldexp(low, -level)) + 1 > CELLS:
        level += 1
    return level


def _common_level(values: np.ndarray) -> int | None:
    """The greatest level of whose power of two all numbers are multiples; None where it is out of reach."""
    rest = values[values != 0]
    if not len(rest):
        return 0
    mantissas, exponents = np.frexp(rest)
    whole = np.ldexp(mantissas, 53).astype(np.int64)
    zeros = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    level = int((exponents - 53 + zeros).min())
    return level if -900 < level < 900 else None


def equal_parts(counts: np.ndarray, parts: int) -> np.ndarray:
    """To which part each cell belongs, so that parts of neighbours hold about as much each.

    Parameters
    ----------
    counts : of the cells, in their order.
    parts : how many there may be at most.

    Returns
    -------
    For each cell the number of its part, ascending from 0 without gaps.
    """
    total = max(1, int(counts.sum()))
    middle = np.cumsum(counts) - counts / 2
    part = np.minimum((middle * parts / total).astype(np.intp), parts - 1)
    steps = np.zeros(len(part), dtype=np.intp)
    steps[1:] = part[1:] > part[:-1]
    return steps.cumsum()


def summed(counts: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The counts of parts.

    Parameters
    ----------
    counts : of cells.
    parts : to which each belongs, as `equal_parts` gives it.
    """
    size = int(parts.max(initial=-1)) + 1
    if len(counts) and counts.max() < _EXACT_SUM // len(counts):  # floats hold the sums without loss
        return np.bincount(parts, counts, size).astype(np.int64)
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, parts, counts.astype(np.int64))
    return sums


def heaviest(counts: Sequence[int] | np.ndarray, most: int) -> np.ndarray:
    """The places of the largest counts, the largest first; of equal ones the first.

    Parameters
    ----------
    counts : one for each.
    most : how many are wanted.
    """
    return np.argsort(-np.asarray(counts, dtype=np.float64), kind="stable")[:most]
