"""A reference: how rows were distributed, in cells that are frozen with it and count later rows, too."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from outgrow import artifact
from outgrow.data.kind import Kind
from outgrow.data.matrix import Matrix
from outgrow.data.scan import check_columns
from outgrow.data.schema import wrong_columns
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.reading import read_as
from outgrow.engine.reference_learn import Learning
from outgrow.engine.reference_plan import Answers, Counting, Entry, Plan, types_of
from outgrow.errors import ArtifactError, ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.stats.grid_counts import GridCounts, packed
from outgrow.stats.grids import COARSE, HEADS, MISSING, NumberGrid, TextGrid, ValueGrid, equal_parts, summed
from outgrow.stats.state import from_tree, to_tree

FORMAT = 1
_READ_TWICE = 1 << 30
"""Bytes of rows from which both passes read them, rather than that the first keeps them."""
_FOLDED = ("counts", "slices", "slice_rows", "joint")


@dataclass(frozen=True, eq=False)
class Reference:
    """How rows were distributed: those a model learned from, or any others that later ones are held against.

    Attributes
    ----------
    plan : what is counted, in which cells.
    counts : the rows themselves on these cells.
    kinds : the kind of each column that the rows had, by name; not all need be counted.
    target : the column of the label; None where there was none.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> reference = og.Reference.of(pa.table({"hour": [7, 8, 9, 10], "carrier": ["AA", "UA", "AA", None]}))
    >>> reference
    <Reference of 4 rows: hour, carrier>
    >>> window = reference.count(pa.table({"hour": [8, 9], "carrier": ["AA", "DL"]}))
    >>> later = reference.count(pa.table({"hour": [12], "carrier": ["UA"]}))
    >>> window.merge(later).rows
    3
    """

    plan: Plan
    counts: GridCounts
    kinds: Mapping[str, str]
    target: str | None = None

    @classmethod
    def of(
        cls,
        rows: Any,
        model: Any = None,
        *,
        by: str | Sequence[str] | None = None,
        target: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Reference:
        """Make a reference of rows: two passes, with the same result to the bit on every engine.

        Parameters
        ----------
        rows : dataset, Spark DataFrame, table or array.
        model : a fitted model whose predictions are counted, too.
        by : columns whose most frequent values, up to 50 of each, are slices that are also counted by
            themselves.
        target : the column of the label; by default that of the model, where the rows have it.
        columns : which are counted; by default those of the model with the target, or all where there is no
            model.

        Raises
        ------
        DataError
            When there are no rows.
        ColumnNotFoundError
            When a column is not there.
        SchemaError
            When slices are to be made by a column that holds neither numbers, text nor times.
        """
        data = dataset(rows)
        slices = (by,) if isinstance(by, str) else tuple(by or ())
        if model is not None:
            data = read_as(data, model.columns_)
            known = getattr(model, "target_column_", None)
            target = known if target is None and isinstance(known, str) and known in data.columns else target
        wanted = _wanted(data, model, slices, target, columns)
        answers: Answers | None = None if model is None else model._score_columns()
        kinds = types_of(data.scan.example())
        data = data if wanted is None else data.select(wanted)
        _check_slices(data, slices)
        learned = _learned(data, Learning(slices, target, answers))
        plan, counts = Plan.from_tree(learned["plan"]), from_tree(learned["counts"])
        if not counts.rows:
            raise DataError("There are no rows to make a reference of. Check the path and the conditions.")
        return cls(plan, counts, kinds, target)

    @property
    def rows(self) -> int:
        """How many rows it was made of."""
        return int(self.counts.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are counted, without the label."""
        counted = (entry.measure.column for entry in self.plan.entries if entry.role == "column")
        return tuple(dict.fromkeys(counted))

    @property
    def by(self) -> tuple[str, ...]:
        """The columns of slices."""
        return tuple(dict.fromkeys(column for column, _ in self.plan.slices))

    @property
    def predictions(self) -> tuple[str, ...]:
        """The predictions that are counted; none where there was no model."""
        return tuple(entry.name for entry in self.plan.entries if entry.role == "prediction")

    def empty(self) -> GridCounts:
        """A window of no rows, which merges with any other."""
        return self.plan.empty()

    def counting(self, rows: Dataset, model: Any = None) -> Counting:
        """The fold that counts rows with these columns, for code that has batches at hand.

        Parameters
        ----------
        rows : whose schema counts; none are read.
        model : gives the predictions; None where the rows bring them as columns, or none are counted.
        """
        example = rows.scan.example()
        answers = None if model is None or not self.predictions else model._score_columns()
        return Counting.over(self.plan, example, answers)

    def count(self, rows: Any, model: Any = None) -> GridCounts:
        """Count rows in the cells of this reference: one pass. Windows merge, and merging is exact.

        Parameters
        ----------
        rows : dataset, Spark DataFrame, table or array. Columns that the reference has not are only
            named, and those it lacks count as gone.
        model : the model whose predictions are counted; None where the rows have those as columns.

        Returns
        -------
        GridCounts, a State.

        Raises
        ------
        ColumnNotFoundError
            When a column of the slices is missing.
        """
        data = self.opened(rows)
        missing = [name for name in self.by if name not in data.columns]
        if missing:
            raise ColumnNotFoundError(
                f"The reference has slices by {list(self.by)}, and these rows have no column {missing[0]!r}. "
                "Add it, or make the reference without it."
            )
        model = model if model is not None and _can_answer(model, data) else None
        counting, nothing = self.counting(data, model), self.empty()
        nothing = replace(nothing, schema={name: [kind] for name, kind in counting.schema.items()})
        used = self._used(data, model)
        read = data if set(used) == set(data.columns) or not used else data.select(used)

        def learn(shard: Any) -> Any:
            return to_tree(shard.reduce_units(counting, encoded=True, empty=nothing))

        window: GridCounts = from_tree(data.engine.fit(learn, read.scan, stage="count", keep=False).result)
        return window

    def opened(self, rows: Any) -> Dataset:
        """Rows as a dataset, files of text read as the kinds of this reference.

        Parameters
        ----------
        rows : as `count` takes them.
        """
        return read_as(dataset(rows), {name: Kind(kind) for name, kind in self.kinds.items()})

    def _used(self, data: Dataset, model: Any) -> list[str]:
        wanted = {entry.measure.column for entry in self.plan.entries} | set(self.by)
        wanted |= set() if model is None else set(model.columns_)
        matrices = {n for n, column in data.scan.example().columns.items() if isinstance(column, Matrix)}
        parts = {entry.measure.column for entry in self.plan.entries if entry.measure.part}
        return [name for name in data.columns if name in wanted or name in (matrices & parts)]

    def coarse(self, window: GridCounts) -> GridCounts:
        """A window in at most 256 cells a column, of about equal shares of the reference; for long keeping.

        Coarse windows merge with coarse ones, and are compared like others. Distances of ordered values are
        then lower bounds, off by at most 1/256 of the rows.

        Parameters
        ----------
        window : counted with this reference.
        """
        self._check(window)
        if window.grids == self._coarse_digest:
            return window
        vectors = []
        for index in range(len(self.plan.entries)):
            vector = self.plan.vector(window, index)
            vectors += [vector[:HEADS], summed(vector[HEADS:], self._parts[index])]
        return replace(window, grids=self._coarse_digest, counts=np.concatenate([np.zeros(0, int), *vectors]))

    def vector(self, window: GridCounts, index: int) -> np.ndarray:
        """The heads and cells of an entry in a window of this reference.

        Parameters
        ----------
        window : counted with this reference, coarse or not.
        index : the place of the entry in the plan.
        """
        self._check(window)
        starts = self.plan.starts if window.grids == self.plan.digest else self._coarse_starts
        return window.counts[starts[index] : starts[index + 1]]

    def positions(self, index: int, vector: np.ndarray, *, coarse: bool = False) -> np.ndarray:
        """Where the values of each cell of an entry of numbers lie.

        Parameters
        ----------
        index : the place of the entry in the plan.
        vector : of a window or of the reference, as `vector` gives it.
        coarse : whether its cells are the coarse ones.
        """
        grid = self.plan.entries[index].grid
        assert isinstance(grid, NumberGrid | ValueGrid)
        if not coarse:
            return grid.positions(vector)
        positions = grid.positions(self.plan.vector(self.counts, index))
        inner = positions[1:-1] if isinstance(grid, NumberGrid) else positions
        weights = np.maximum(self.plan.vector(self.counts, index)[HEADS:], 1e-9)
        parts = self._parts[index]
        middles = np.bincount(parts, weights * inner) / np.bincount(parts, weights)
        if isinstance(grid, ValueGrid):
            return middles
        tails = grid.positions(vector)
        return np.concatenate([tails[:1], middles, tails[-1:]])

    def _check(self, window: GridCounts) -> None:
        if window.grids not in (self.plan.digest, self._coarse_digest):
            raise ParameterError(
                "This window was counted with another reference. Count its rows with reference.count(rows)."
            )

    @property
    def _coarse_digest(self) -> str:
        return f"{self.plan.digest}/{COARSE}"

    @cached_property
    def _parts(self) -> list[np.ndarray]:
        """For each entry, to which coarse cell each cell belongs."""
        parts = []
        for index, entry in enumerate(self.plan.entries):
            counts = self.plan.vector(self.counts, index)[HEADS:]
            if isinstance(entry.grid, TextGrid):  # the most frequent come first, all that is new last
                part = np.minimum(np.arange(len(counts)), COARSE - 2)
                part[-1] = part[-2] + 1 if len(part) > 1 else 0
            else:
                part = equal_parts(counts, COARSE - 2)
            parts.append(part)
        return parts

    @cached_property
    def _coarse_starts(self) -> np.ndarray:
        sizes = [HEADS + int(part[-1]) + 1 for part in self._parts]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)

    def entry(self, name: str) -> Entry:
        """What is counted under a name.

        Raises
        ------
        ColumnNotFoundError
            When nothing is.
        """
        for entry in self.plan.entries:
            if entry.name == name:
                return entry
        raise ColumnNotFoundError(f"The reference counts no {name!r}; it has {list(self.columns)}.")

    def describe(self) -> list[dict[str, Any]]:
        """For each measure: name, role, cells, values, missing ones, mean, deviation and ends."""
        return [self._describe(index, entry) for index, entry in enumerate(self.plan.entries)]

    def _describe(self, index: int, entry: Entry) -> dict[str, Any]:
        vector, grid = self.plan.vector(self.counts, index), entry.grid
        shares = grid.shares(vector)
        known = {
            "name": entry.name,
            "role": entry.role,
            "type": entry.measure.type,
            "cells": grid.size,
            "count": int(shares.sum()),
            "missing": int(vector[MISSING]),
        }
        if isinstance(grid, NumberGrid | ValueGrid) and shares.sum():
            mean, deviation = moments(shares, grid.positions(vector))
            low, high = self.counts.ends[:, index].tolist()
            known |= {"mean": mean, "std": deviation, "min": low, "max": high}
        return known

    def to_bytes(self) -> bytes:
        """The reference in few bytes, as an artifact keeps it."""
        return zlib.compress(artifact.pack(self._tree()), 6)

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """What `to_bytes` gave.

        Raises
        ------
        ArtifactError
            When it is damaged, or of a later version.
        """
        try:
            tree = artifact.unpack(zlib.decompress(data))
            if tree["format"] > FORMAT:
                raise ArtifactError(
                    f"The reference has format {tree['format']}; this outgrow reads up to {FORMAT}. "
                    "Upgrade outgrow."
                )
            counts = from_tree(tree["counts"])
            wide = {name: np.asarray(getattr(counts, name), dtype=np.int64) for name in _FOLDED}
            shape = tuple(tree["joint"])
            plan = Plan.from_tree(tree["plan"])
            wide |= {"joint": wide["joint"].reshape(shape), "slices": wide["slices"].reshape(tree["slices"])}
            return cls(plan, _with(counts, wide), tree["kinds"], tree["target"])
        except (zlib.error, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"The reference is damaged: {error}. Restore it from a copy.") from error

    def _tree(self) -> dict[str, Any]:
        narrow = {name: packed(getattr(self.counts, name).ravel()) for name in _FOLDED}
        return {
            "format": FORMAT,
            "plan": self.plan.to_tree(),
            "counts": to_tree(_with(self.counts, narrow)),
            "joint": list(self.counts.joint.shape),
            "slices": list(self.counts.slices.shape),
            "kinds": dict(self.kinds),
            "target": self.target,
        }

    def __repr__(self) -> str:
        names = ", ".join(self.columns[:8]) + (", ..." if len(self.columns) > 8 else "")
        return f"<Reference of {self.rows:,} rows: {names}>"


def _with(counts: GridCounts, arrays: dict[str, Any]) -> GridCounts:
    return replace(counts, **arrays)


def moments(shares: np.ndarray, positions: np.ndarray) -> tuple[float, float]:
    """The mean and standard deviation of values that lie in the middle of their cells.

    Parameters
    ----------
    shares : counts of the cells.
    positions : where those are.
    """
    there = shares.nonzero()[0]
    weights, at = shares[there] / shares.sum(), positions[there]
    scale = max(float(np.abs(at).max(initial=0.0)), 1e-300)  # squares of very large numbers have no float
    mean = float(weights @ (at / scale))
    return mean * scale, float(np.sqrt(weights @ (at / scale - mean) ** 2)) * scale


def _wanted(
    data: Dataset, model: Any, by: Sequence[str], target: str | None, columns: Sequence[str] | None
) -> list[str] | None:
    """The columns to read, in the order of the rows; None for all."""
    named = [*by, *([] if target is None else [target]), *(columns or ())]
    check_columns(data.schema, named)
    if model is not None:
        named += list(model.columns_)
    elif columns is None:
        return None
    return [name for name in data.columns if name in named]


def _check_slices(data: Dataset, by: Sequence[str]) -> None:
    for name in by:
        kind = Kind.of(data.schema.field(name).type)
        if kind.base not in ("number", "category", "time"):
            raise SchemaError(
                f"Slices by {name!r}: a {kind} has no values to slice by. Choose another column."
            )


def _learned(data: Dataset, learning: Learning) -> Any:
    scan = data.scan
    size = sum(piece.nbytes for piece in scan.pieces()) if scan.source.has_pieces else 0
    keep = size <= _READ_TWICE
    return data.engine.fit(learning, scan, stage="reference", keep=keep).result


def _can_answer(model: Any, data: Dataset) -> bool:
    """Whether the rows have the columns of a model."""
    return not wrong_columns(model.columns_, data.schema)
