"""What is counted of rows beside a reference, and the pass that counts it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.keys import words_hash
from outgrow.data.matrix import Matrix, numbers
from outgrow.data.measured import (
    Measure,
    as_words,
    kinds_by_column,
    measures,
    missing_values,
    number_values,
    word_codes,
    words_of,
)
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import (
    HEADS,
    MISSING,
    Grid,
    NumberGrid,
    TextGrid,
    ValueGrid,
    grid_from_tree,
)
from outgrow.stats.text_tally import LeastTexts

Role = Literal["column", "prediction", "target"]
Answers = Callable[[Batch], Mapping[str, Any]]
"""Gives the predictions for a batch, as columns by name."""
MANY_COLUMNS, FEW_ROWS = 200, 1 << 14
"""From so many columns on, batches of so few rows are counted all at once."""
MANY_VALUES = 1 << 23
"""When a process has counted so many values, compiled code is worth the time that it takes to load."""
_counted = SimpleNamespace(values=0)  # in this process
ALL_LISTED = 1_000
"""Texts of a batch that are looked at one by one, when they are new."""


@dataclass(frozen=True)
class Entry:
    """A measure with its grid.

    Attributes
    ----------
    measure : what is counted.
    role : 'column', 'prediction' of the model, or 'target'.
    grid : in which cells.
    """

    measure: Measure
    role: Role
    grid: Grid

    @property
    def name(self) -> str:
        """What it is called."""
        return self.measure.name

    def to_tree(self) -> dict[str, Any]:
        return {"measure": asdict(self.measure), "role": self.role, "grid": self.grid.to_tree()}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Entry:
        return cls(Measure(**tree["measure"]), tree["role"], grid_from_tree(tree["grid"]))


@dataclass(frozen=True, eq=False)
class Axis:
    """Few parts of a measure, for a table of two of them.

    Attributes
    ----------
    entry : the place of the measure among the entries.
    edges : of numbers, where parts begin but for the first; None of text.
    texts : of text, those with a part of their own, others share the last.
    """

    entry: int
    edges: np.ndarray | None
    texts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many parts there are."""
        return len(self.texts if self.edges is None else self.edges) + 1

    def to_tree(self) -> dict[str, Any]:
        return {"entry": self.entry, "edges": self.edges, "texts": list(self.texts)}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Axis:
        return cls(int(tree["entry"]), tree["edges"], tuple(tree["texts"]))


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is counted.

    Attributes
    ----------
    entries : the measures, in their order.
    slices : column and value, as text, of the rows that are also counted by themselves.
    joint : the label and the prediction that are counted together; None where one is missing.
    """

    entries: tuple[Entry, ...]
    slices: tuple[tuple[str, str], ...] = ()
    joint: tuple[Axis, Axis] | None = None

    @cached_property
    def starts(self) -> np.ndarray:
        """Where the vector of each entry begins, and the last ends."""
        sizes = [HEADS + entry.grid.size for entry in self.entries]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)

    @cached_property
    def slice_starts(self) -> np.ndarray:
        """Where the cells of each entry begin in those of a slice, and the last ends."""
        sizes = [1 + entry.grid.slice_cells for entry in self.entries]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)

    @cached_property
    def digest(self) -> str:
        """Tells these grids from others."""
        return hashlib.sha256(_canonical(self.to_tree())).hexdigest()[:32]

    @cached_property
    def texts(self) -> dict[int, int]:
        """The entries of text, each with its number among those."""
        places = [i for i, entry in enumerate(self.entries) if isinstance(entry.grid, TextGrid)]
        return {entry: number for number, entry in enumerate(places)}

    def empty(self) -> GridCounts:
        """The counts of no rows."""
        ends = np.repeat([[np.inf], [-np.inf]], len(self.entries), axis=1)
        slices = np.zeros((len(self.slices), int(self.slice_starts[-1]) if self.slices else 0), np.int64)
        shape = (0, 0) if self.joint is None else tuple(axis.size for axis in self.joint)
        return GridCounts(
            self.digest,
            0,
            np.zeros(int(self.starts[-1]), np.int64),
            ends,
            slices,
            np.zeros(len(self.slices), np.int64),
            np.zeros(shape, np.int64),
            {},
            tuple(LeastTexts.empty() for _ in self.texts),
        )

    def vector(self, counts: GridCounts, entry: int) -> np.ndarray:
        """The vector of an entry.

        Parameters
        ----------
        counts : on these grids.
        entry : its place.
        """
        return counts.counts[self.starts[entry] : self.starts[entry + 1]]

    def to_tree(self) -> dict[str, Any]:
        joint = None if self.joint is None else [axis.to_tree() for axis in self.joint]
        slices = [list(part) for part in self.slices]
        return {"entries": [entry.to_tree() for entry in self.entries], "slices": slices, "joint": joint}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Plan:
        joint = None if tree["joint"] is None else tuple(map(Axis.from_tree, tree["joint"]))
        slices = tuple((column, value) for column, value in tree["slices"])
        return cls(tuple(map(Entry.from_tree, tree["entries"])), slices, joint)  # type: ignore[arg-type]


def _canonical(tree: Any) -> bytes:
    def plain(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value

    return json.dumps(tree, sort_keys=True, default=plain).encode()


@dataclass(frozen=True, eq=False)
class Seen:
    """A batch with the answers of a model beside it: what measures are read from.

    Attributes
    ----------
    rows : the batch.
    answers : predictions as a batch; None where there are none.
    """

    rows: Batch
    answers: Batch | None = None

    @classmethod
    def of(cls, batch: Batch, answers: Answers | None) -> Seen:
        """A batch and what a model answers.

        Parameters
        ----------
        batch : the rows.
        answers : gives the predictions; None for none.
        """
        if answers is None:
            return cls(batch)
        return cls(batch, Batch(dict(answers(batch)), batch.num_rows))

    def batch_of(self, role: Role) -> Batch:
        """Where a measure with this role is read; predictions that came with the rows are among these."""
        return self.answers if role == "prediction" and self.answers is not None else self.rows


@dataclass(frozen=True, eq=False)
class Counting:
    """The fold that counts: a function of the batches of a piece.

    Attributes
    ----------
    plan : what is counted.
    present : for each entry whether the rows have it.
    answers : the model's predictions; None where the rows bring them, or there are none.
    schema : kind and type of the columns, by name.
    plain : the entries that are columns of numbers on grids of equal cells.
    """

    plan: Plan
    present: tuple[bool, ...]
    answers: Answers | None
    schema: dict[str, str]
    plain: tuple[int, ...] = ()

    @classmethod
    def over(cls, plan: Plan, example: Batch, answers: Answers | None) -> Counting:
        """The counting of rows of a schema.

        Parameters
        ----------
        plan : what is counted.
        example : a batch of the rows.
        answers : the model's predictions; None for none.
        """
        seen = Seen.of(example.slice(0, 0), answers)
        known = {role: set(_names(seen.batch_of(role))) for role in ("column", "prediction", "target")}
        present = tuple(
            (entry.measure.name, entry.measure.column, entry.measure.sort) in known[entry.role]
            or _all_missing(seen.batch_of(entry.role), entry.measure)
            for entry in plan.entries
        )
        plain = tuple(
            index
            for index, entry in enumerate(plan.entries)
            if present[index] and entry.role != "prediction" and _is_plain(example, entry)
        )
        return cls(plan, present, answers, types_of(example), plain)

    @cached_property
    def _many(self) -> _ManyColumns | None:
        """The plain columns for compiled code, where that is there and slices need no more."""
        if not self.plain or self.plan.slices or find_spec("numba") is None:
            return None
        return _ManyColumns.of(self.plan, self.plain)

    def __call__(self, batches: Iterator[Batch]) -> GridCounts:
        total = self.plan.empty()
        novel = list(total.novel)
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            seen = Seen.of(batch, self.answers)
            slices = self._slices(batch)
            if len(self.plan.slices):
                np.add.at(total.slice_rows, slices[slices >= 0], 1)
            at_once: frozenset[int] = frozenset()
            many = self._many
            _counted.values += batch.num_rows * len(self.plain)
            few = len(self.plain) >= MANY_COLUMNS and batch.num_rows <= FEW_ROWS
            if many is not None and (few or _counted.values > MANY_VALUES):
                many.count(batch, total.counts, total.ends, together=few)
                at_once = many.entries
            for index, entry in enumerate(self.plan.entries):
                if self.present[index] and index not in at_once:
                    self._count(index, entry, seen, total, novel, slices)
            if self.plan.joint is not None:
                self._count_joint(seen, total.joint)
        schema = {name: [kind] for name, kind in self.schema.items()}
        return GridCounts(
            total.grids,
            rows,
            total.counts,
            total.ends,
            total.slices,
            total.slice_rows,
            total.joint,
            schema,
            tuple(novel),
        )

    def _count(
        self,
        index: int,
        entry: Entry,
        seen: Seen,
        total: GridCounts,
        novel: list[LeastTexts],
        slices: np.ndarray,
    ) -> None:
        batch, out = seen.batch_of(entry.role), self.plan.vector(total, index)
        grid, measure = entry.grid, entry.measure
        if isinstance(grid, NumberGrid | ValueGrid):
            values = numbers_of(batch, measure)
            grid.count(values, out)
            if len(values):
                total.ends[0, index] = np.fmin(total.ends[0, index], np.fmin.reduce(values))
                total.ends[1, index] = np.fmax(total.ends[1, index], np.fmax.reduce(values))
            if len(slices):
                self._count_slices(index, grid.slice_places(values), total.slices, slices, measure)
        elif isinstance(grid, TextGrid):
            words, codes, counts, missing = _words(batch, measure, coded=len(slices) > 0)
            cells = grid.word_cells(words)
            grid.count_words(cells, counts, missing, out)
            number = self.plan.texts[index]
            novel[number] = _with_new(novel[number], words, counts, cells == len(grid.texts))
            if len(slices):
                places = np.append(grid.slice_of(cells), -1)[codes]
                self._count_slices(index, places, total.slices, slices, measure)
        else:
            missing = _missing(batch, measure)
            out[MISSING] += missing
            out[HEADS] += batch.num_rows - missing

    def _slices(self, batch: Batch) -> np.ndarray:
        """The slice of each row, -1 for none: a line for each column of slices."""
        plan = self.plan
        if not plan.slices:
            return np.zeros((0, 0), dtype=np.intp)
        lines = []
        for column in dict.fromkeys(column for column, _ in plan.slices):
            numbers = {value: i for i, (of, value) in enumerate(plan.slices) if of == column}
            words, codes = as_words(batch, column)
            which = np.array([numbers.get(word, -1) for word in words.to_pylist()] + [-1], dtype=np.intp)
            lines.append(which[codes])
        return np.stack(lines)

    def _count_slices(
        self, index: int, places: np.ndarray, out: np.ndarray, slices: np.ndarray, measure: Measure
    ) -> None:
        if measure.part == "items":
            return  # they are not one to a row
        start, end = self.plan.slice_starts[index : index + 2]
        width = int(end - start)
        for line in slices:
            inside = line >= 0
            flat = line[inside] * width + places[inside] + 1
            counts = np.bincount(flat, minlength=len(out) * width)
            out[:, start:end] += counts.reshape(len(out), width)

    def _count_joint(self, seen: Seen, out: np.ndarray) -> None:
        assert self.plan.joint is not None
        parts = []
        for axis in self.plan.joint:
            if not self.present[axis.entry]:
                return
            entry = self.plan.entries[axis.entry]
            batch = seen.batch_of(entry.role)
            if axis.edges is not None:
                values = numbers_of(batch, entry.measure)
                parts.append(np.where(np.isnan(values), -1, np.searchsorted(axis.edges, values, "right")))
            else:
                words, codes = word_codes(batch, entry.measure)
                numbers = {text: number for number, text in enumerate(axis.texts)}
                which = [numbers.get(word, len(axis.texts)) for word in words.to_pylist()]
                parts.append(np.array([*which, -1], dtype=np.intp)[codes])
        both = (parts[0] >= 0) & (parts[1] >= 0)
        flat = parts[0][both] * out.shape[1] + parts[1][both]
        out += np.bincount(flat, minlength=out.size).reshape(out.shape)


@dataclass(frozen=True, eq=False)
class _ManyColumns:
    """Columns that are counted together.

    Attributes
    ----------
    names : of the columns.
    entries : their places in the plan.
    grids : as the kernel takes them.
    """

    names: tuple[str, ...]
    entries: frozenset[int]
    grids: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, plan: Plan, plain: tuple[int, ...]) -> _ManyColumns:
        grids = [grid for index in plain if isinstance(grid := plan.entries[index].grid, NumberGrid)]
        factors = np.array([2.0**-grid.level for grid in grids])
        firsts, sizes = (np.array([getattr(g, part) for g in grids], float) for part in ("first", "size"))
        places = np.array(plain, dtype=np.int64)
        names = tuple(plan.entries[index].measure.column for index in plain)
        return cls(names, frozenset(plain), (factors, firsts, sizes, plan.starts[places], places))

    def count(self, batch: Batch, out: np.ndarray, ends: np.ndarray, *, together: bool) -> None:
        """Add the counts of a batch.

        Parameters
        ----------
        batch : the rows.
        out, ends : of the state.
        together : as one matrix, which saves calls; else column by column, which saves copies.
        """
        from outgrow.engine.reference_kernels import count_matrix

        if together:
            count_matrix(batch.matrix(self.names, order="K"), *self.grids, out, ends)
            return
        for j, name in enumerate(self.names):
            values = numbers(batch[name]).astype(np.float64, copy=False)
            count_matrix(values[:, None], *(part[j : j + 1] for part in self.grids), out, ends)


def _is_plain(example: Batch, entry: Entry) -> bool:
    if entry.measure.part or not isinstance(entry.grid, NumberGrid):
        return False
    column = example[entry.measure.column]
    return not isinstance(column, Matrix) and is_numeric(column.type)


def numbers_of(batch: Batch, measure: Measure) -> np.ndarray:
    """The numbers of a measure, all of them NaN where the rows have the column without a type.

    Parameters
    ----------
    batch : the rows.
    measure : of numbers.
    """
    return np.full(batch.num_rows, np.nan) if _all_missing(batch, measure) else number_values(batch, measure)


def _missing(batch: Batch, measure: Measure) -> int:
    column = batch[measure.column]
    if measure.sort == "number":
        return int(np.isnan(numbers_of(batch, measure)).sum())
    return missing_values(batch, measure) if hasattr(column, "null_count") else 0


def _words(batch: Batch, measure: Measure, *, coded: bool) -> tuple[pa.Array, np.ndarray, np.ndarray, int]:
    """Texts, the code of each row where that is wanted, the count of each text, and the missing ones."""
    if not coded:
        words, counts, missing = words_of(batch, measure)
        return words, np.zeros(0, np.intp), counts, missing
    words, codes = word_codes(batch, measure)
    there = codes[codes >= 0]
    return words, codes, np.bincount(there, minlength=len(words)), len(codes) - len(there)


def _with_new(kept: LeastTexts, words: pa.Array, counts: np.ndarray, new: np.ndarray) -> LeastTexts:
    new = new & (counts > 0)
    if not new.any():
        return kept
    texts = words.filter(pa.array(new))
    hashes, counts = words_hash(texts), counts[new]
    if len(texts) > ALL_LISTED:
        least = np.argsort(hashes, kind="stable")[: 4 * kept.most]
        hashes, counts, texts = hashes[least], counts[least], texts.take(pa.array(least))
    return kept.merge(LeastTexts.of(hashes, counts, texts.to_pylist(), kept.most))


def _names(batch: Batch) -> Iterator[tuple[str, str, str]]:
    return ((measure.name, measure.column, measure.sort) for measure in measures(batch))


def _all_missing(batch: Batch, measure: Measure) -> bool:
    """Whether the rows have the column without a type, as all of its values are missing."""
    if measure.column not in batch.columns:
        return False
    return getattr(batch[measure.column], "type", None) == pa.null() and not measure.part


def types_of(example: Batch) -> dict[str, str]:
    """The kind of each column of a batch."""
    return kinds_by_column(example)
