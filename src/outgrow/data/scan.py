"""What is read of a source: which columns, which rows, what becomes of them; a description, not an action."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.hashing import row_hash, unit
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.data.names import check_names, no_column, numbered
from outgrow.data.plain import plain_schema
from outgrow.data.source import ArrayPiece, Piece, Source, TablePiece
from outgrow.errors import ColumnNotFoundError

_ROW = "__outgrow_row"


@dataclass(frozen=True)
class Where:
    """Keep the rows for which an Arrow expression is true."""

    expression: pc.Expression

    def __call__(self, batch: Batch) -> Batch:
        matrices = [name for name, column in batch.columns.items() if isinstance(column, Matrix)]
        if not matrices:
            return Batch.from_arrow(batch.to_arrow().filter(self.expression))
        row = numbered(_ROW, batch.columns)
        rows = batch.with_columns({row: pa.array(np.arange(batch.num_rows))})
        try:
            kept = rows.drop(matrices).to_arrow().filter(self.expression)
        except pa.ArrowInvalid:  # it is on a column of a matrix
            kept = rows.drop(batch.too_wide).to_arrow().filter(self.expression)
        keep = np.zeros(batch.num_rows, dtype=bool)
        keep[kept.column(row).to_numpy()] = True
        return batch.filter(keep)

    def describe(self) -> str:
        return f"where {self.expression}"


@dataclass(frozen=True)
class HashSlice:
    """Keep the rows whose hash over `columns`, as a number in [0, 1), lies in [low, high)."""

    columns: tuple[str, ...]
    seed: int
    low: float
    high: float

    def __call__(self, batch: Batch) -> Batch:
        position = unit(row_hash(batch, self.columns, self.seed))
        return batch.filter((position >= self.low) & (position < self.high))

    def describe(self) -> str:
        return f"hash of {list(self.columns)} with seed {self.seed} in [{self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Apply:
    """Change batches with a function that works row by row; `schema` is that of its results."""

    function: Callable[[Batch], Batch]
    schema: pa.Schema

    def __call__(self, batch: Batch) -> Batch:
        return self.function(batch)

    def describe(self) -> str:
        return f"apply {_described(self.function)}"


@dataclass(frozen=True)
class Select:
    """Keep these columns, in this order."""

    columns: tuple[str, ...]

    def __call__(self, batch: Batch) -> Batch:
        return batch.select(self.columns)

    def describe(self) -> str:
        return f"select {list(self.columns)}"


Step = Where | HashSlice | Apply | Select


@dataclass(frozen=True)
class Origin:
    """How users name rows.

    Attributes
    ----------
    uri : a path, absolute, or a URI, without a password.
    kind, version : of what stands above the files, such as a revision of DVC; None for what the source says.
    """

    uri: str
    kind: str | None = None
    version: str | None = None


@dataclass(frozen=True, eq=False)
class Scan:
    """A source and the steps its batches go through, in order.

    A leading run of selections and conditions is handed to the source, which reads only those columns and
    skips row groups that cannot match.
    """

    source: Source
    steps: tuple[Step, ...] = ()
    origin: Origin | None = None
    """How users name the source; it counts for no digest."""

    def then(self, step: Step) -> Scan:
        return replace(self, steps=(*self.steps, step))

    @cached_property
    def schema(self) -> pa.Schema:
        schema = plain_schema(self.source.schema)
        for step in self.steps:
            if isinstance(step, Apply):
                schema = step.schema
            elif isinstance(step, Select):
                schema = pa.schema([schema.field(name) for name in step.columns])
        return schema

    def example(self) -> Batch:
        """A batch without rows, as the scan yields them."""
        return run_steps(self.steps, self.source.example())

    @property
    def salt(self) -> int:
        """How often rows were chosen by hash before: each choice must be independent of the last."""
        return sum(isinstance(step, HashSlice) for step in self.steps)

    def select(self, names: Sequence[str]) -> Scan:
        check_columns(self.schema, names)
        check_names(names, "The selection")
        return self.then(Select(tuple(names)))

    def pieces(self) -> list[ScanPiece]:
        """The pieces of the source with what is left of the steps."""
        columns, where, rest = self._pushed_down()
        return [ScanPiece(piece, columns, where, rest) for piece in self.source.pieces()]

    def columns_read(self) -> list[str] | None:
        """The only columns of the source that the steps look at; None where that may be all."""
        columns, where, _ = self._pushed_down()
        return columns if where is None else None

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """All steps over batches of the source, for engines that get its rows by another way."""
        for batch in batches:
            yield run_steps(self.steps, batch)

    def describe(self) -> dict[str, Any]:
        """What exactly is read, and a digest of it."""
        record: dict[str, Any] = {
            "source": self.source.describe(),
            "schema": {field.name: str(field.type) for field in self.schema},
            "steps": [step.describe() for step in self.steps],
        }
        text = json.dumps(record, sort_keys=True)
        return {**record, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    def _pushed_down(self) -> tuple[list[str] | None, pc.Expression | None, tuple[Step, ...]]:
        """The columns and the condition for the source, and the steps that remain."""
        where: pc.Expression | None = None
        lead = 0
        for step in self.steps:
            if not isinstance(step, Where):
                break
            where = step.expression if where is None else where & step.expression
            lead += 1
        rest = self.steps[lead:]
        needed: list[str] = []
        for step in rest:
            if isinstance(step, Select):
                return list(dict.fromkeys([*needed, *step.columns])), where, rest
            if not isinstance(step, HashSlice):
                break
            needed += step.columns
        return None, where, rest


@dataclass(frozen=True, eq=False)
class ScanPiece:
    """One piece of a scan: reads, then applies the steps that the source could not."""

    piece: Piece
    columns: list[str] | None
    where: pc.Expression | None
    steps: tuple[Step, ...]

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes

    @property
    def known_rows(self) -> int | None:
        """How many rows it gives, where that is known without reading them; functions may leave some out."""
        whole = self.where is None and all(isinstance(step, Select) for step in self.steps)
        return self.piece.known_rows if whole else None

    @property
    def at_hand(self) -> bool:
        """Whether its batches are views of rows in memory, so that reading them is no work."""
        dense = isinstance(self.piece, ArrayPiece) and not is_sparse(self.piece.values)
        held = dense or isinstance(self.piece, TablePiece)
        return held and self.where is None and all(isinstance(step, Select) for step in self.steps)

    def location(self, row: int) -> str:
        """Where a row of this piece, counted from 0, is in the source, as a person would look for it."""
        chosen = self.where is not None or any(isinstance(step, Where | HashSlice) for step in self.steps)
        return f"row {row} of those chosen from {self.piece}" if chosen else self.piece.location(row)

    def batches(self, *, encoded: bool = False) -> Iterator[Batch]:
        """Its rows; with `encoded`, text may come as the dictionaries that a file holds."""
        simple = self.where is None and all(isinstance(step, Select | HashSlice) for step in self.steps)
        for batch in self.piece.batches(self.columns, self.where, encoded=encoded and simple):
            result = run_steps(self.steps, batch)
            if result.num_rows:
                yield result


def _described(function: Callable[[Batch], Batch]) -> str:
    """A function, so that another process describes the same one by the same words, and no other."""
    if (name := lasting_name(function)) is not None:
        return name
    code = getattr(function, "__code__", None)
    if isinstance(function, FunctionType) and code is not None and function.__closure__ is None:
        values = _values_of(function)
        if values is not None:
            words = marshal.dumps(code) + repr(values).encode()
            return f"{function.__qualname__} {hashlib.sha256(words).hexdigest()}"
    return repr(function) if is_dataclass(function) else f"{function!r} {id(function):x}"


_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def _values_of(function: FunctionType) -> list[Any] | None:
    """The plain values of a function beside its code, defaults and globals; None with other defaults."""
    defaults = [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]
    if not all(map(_is_plain, defaults)):
        return None
    known = {name: function.__globals__.get(name) for name in _names_in(function.__code__)}
    return [*defaults, *sorted(item for item in known.items() if item[1] is not None and _is_plain(item[1]))]


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, _PLAIN)


def _names_in(code: CodeType) -> set[str]:
    """The globals that code may read, that within it included."""
    inner = [_names_in(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def lasting_name(function: Callable[[Batch], Batch]) -> str | None:
    """What a method of a fitted model is called in every session; None where it cannot be told from others.

    Parameters
    ----------
    function : of a batch; the object that it belongs to may have a `lasting_name`.
    """
    owner: Any = getattr(function, "__self__", None)
    name = owner.lasting_name() if hasattr(owner, "lasting_name") else None
    return None if name is None else f"{function.__name__} of {name}"


def run_steps(steps: Sequence[Step], batch: Batch) -> Batch:
    """A batch after some steps, one after the other.

    Parameters
    ----------
    steps : functions of a batch, first to last.
    batch : is not changed.
    """
    for step in steps:
        batch = step(batch)
    return batch


def check_columns(schema: pa.Schema, names: Sequence[str]) -> None:
    """Refuse names that are not columns.

    Parameters
    ----------
    schema : of the rows.
    names : of columns somebody asks for.

    Raises
    ------
    ColumnNotFoundError
        When any is not in the schema; it names all of those.
    """
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise no_column(missing, schema.names)


def check_condition(schema: pa.Schema, condition: pc.Expression) -> None:
    """Refuse a condition on columns that are not there, or of types that it does not fit.

    Parameters
    ----------
    schema : of the rows.
    condition : tried on a row without values, as Arrow looks at zones only where there are rows.

    Raises
    ------
    ColumnNotFoundError
        When it does not fit.
    """
    plain = plain_schema(schema)
    row = pa.Table.from_arrays([pa.nulls(1, kind) for kind in plain.types], schema=plain)
    try:
        row.filter(condition)
    except pa.ArrowException as error:
        zones = "timezone" in str(error)
        advice = ". Compare columns with a zone with moments that have one, as tzinfo=UTC" if zones else ""
        raise ColumnNotFoundError(
            f"The condition {condition} does not fit the columns {schema.names}: "
            f"{str(error).splitlines()[0].removesuffix('.')}{advice}."
        ) from error
