"""Spark DataFrames as sources, and scans as Spark DataFrames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.kind import Kind
from outgrow.data.names import check_names, numbered
from outgrow.data.scan import Step, run_steps
from outgrow.data.source import Piece, empty_batch
from outgrow.engine.spark.names import chosen_columns, quoted
from outgrow.engine.spark.plans import read_paths
from outgrow.engine.spark.supervise import is_connect
from outgrow.engine.spark.vectors import VectorColumn, empty_matrix, find_vectors, open_batch, vector_type
from outgrow.errors import ParameterError, SchemaError, ValueTypeError

_PLACE = "__outgrow_place"
_COMPILED_COLUMNS = 100
"""Up to so many columns Spark compiles a stage as a whole, if `spark.sql.codegen.maxFields` is what it is."""
_UNLIMITED = (1 << 31) - 1


class FrameSource:
    """The rows of a Spark DataFrame; Spark's tasks get them, this process never does."""

    has_pieces = False

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        check_names(frame.columns, "The Spark DataFrame")
        _check_types(frame)
        self.vectors = find_vectors(frame, lambda: self.paths)
        found = frame.limit(0).toArrow().schema
        self._schema = pa.schema(
            [(f.name, vector_type(self.vectors[f.name]) if f.name in self.vectors else f.type) for f in found]
        )
        others = [field for field in found if field.name not in self.vectors]
        nested = [f"{field.name} ({field.type})" for field in others if _is_beyond(field.type)]
        if nested:
            raise SchemaError(
                f"Nested columns cannot be used: {', '.join(nested)}. "
                "Select their fields, or drop them first."
            )

    @cached_property
    def paths(self) -> list[str]:
        """The Parquet files of which this is a plain read; none where it is something else."""
        return [] if is_connect(self.frame.sparkSession) else read_paths(self.frame)

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def example(self) -> Batch:
        vectors = {name: empty_matrix(name, vector) for name, vector in self.vectors.items()}
        return empty_batch(self._schema).with_columns(vectors)

    def pieces(self) -> Sequence[Piece]:
        raise TypeError("the rows of a Spark DataFrame are read by Spark's tasks")

    def select(self, names: Sequence[str]) -> FrameSource:
        """The same rows with some columns, which Spark then reads alone; no job runs for it.

        Parameters
        ----------
        names : of columns; if of all, their order stays.
        """
        if set(names) == set(self._schema.names):
            return self  # what selects nothing costs time: see `spread`
        found = copy(self)
        found.frame = chosen_columns(self.frame, names)
        found.vectors = {name: vector for name, vector in self.vectors.items() if name in names}
        found._schema = pa.schema([self._schema.field(name) for name in names])
        return found

    def plan_hash(self) -> str:
        """A hash of the plan and of the files it reads, as far as they are on this machine."""
        facts = [(file.stat().st_size, file.stat().st_mtime_ns) for file in self._files() if file.exists()]
        return hashlib.sha256(repr((self.frame.semanticHash(), facts)).encode()).hexdigest()

    def lasting_hash(self) -> str:
        """A hash of the plan and of the files it reads, that another session has, too.

        Raises
        ------
        ParameterError
            When there are no files, or some that this machine does not see.
        """
        files = self._files()
        unseen = [str(file) for file in files if not file.exists()]
        if unseen or not files:
            what = f"this machine does not see {unseen[0]}" if unseen else "these read no files"
            raise ParameterError(
                f"cache(keep=True) tells rows of a DataFrame by its files and their dates, and {what}, so "
                "nothing tells whether they changed. Write it as Parquet, or cache it for this session."
            )
        names = [str(file) for file in files]
        return hashlib.sha256(repr((self.plan_hash(), names)).encode()).hexdigest()

    def _files(self) -> list[Path]:
        return [Path(unquote(urlsplit(file).path)) for file in sorted(self.frame.inputFiles())]

    def describe(self) -> dict[str, Any]:
        text = str(self._schema)
        files = sorted(self.frame.inputFiles())
        return {"kind": "spark", "files": files, "sha256": hashlib.sha256(text.encode()).hexdigest()}


@dataclass(frozen=True, eq=False)
class StreamPiece:
    """Batches that Spark hands to a task; they come once."""

    rows: Iterator[pa.RecordBatch]
    steps: Sequence[Step]
    vectors: Mapping[str, VectorColumn]
    nbytes: int = 0

    def batches(self, *, encoded: bool = False) -> Iterator[Batch]:
        for batch in self.rows:
            if batch.num_rows:
                changed = run_steps(self.steps, open_batch(batch, self.vectors))
                if changed.num_rows:
                    yield changed


def free_place(columns: Sequence[str]) -> str:
    """A name for the column that says to which partition a row goes; names differ by more than their case."""
    return numbered(_PLACE, {name.casefold() for name in columns})


def spread(frame: Any, parts: int) -> Any:
    """A Spark DataFrame in partitions of equal size, by one shuffle.

    Where Spark (4.1 and later) takes the place of a row as it is told, rows need not be sorted first, as they
    are for an even `repartition` that can be repeated.

    Of rows that the driver holds, Spark computes a selection while it plans, in time that grows with the
    square of the columns; not so after a `coalesce`, which costs nothing where columns are too many for Spark
    to compile the stage.

    Parameters
    ----------
    frame : the DataFrame; nothing is computed yet.
    parts : how many partitions.
    """
    if not hasattr(frame, "repartitionById"):
        return frame.repartition(parts)
    from pyspark.sql import functions

    if len(frame.columns) > _COMPILED_COLUMNS:
        frame = frame.coalesce(_UNLIMITED)
    name, place = free_place(frame.columns), (functions.monotonically_increasing_id() % parts).cast("int")
    return frame.withColumn(name, place).repartitionById(parts, functions.col(name)).drop(name)


def gathered(frame: Any, parts: int, name: str) -> Any:
    """A Spark DataFrame with rows in the partitions that a column names, by one shuffle.

    Before Spark 4.1 several places may share a partition.

    Parameters
    ----------
    frame : the DataFrame; nothing is computed yet.
    parts : how many partitions.
    name : the column of their numbers, from 0; it stays.
    """
    from pyspark.sql import functions

    place = functions.col(name)
    return (
        frame.repartitionById(parts, place)
        if hasattr(frame, "repartitionById")
        else frame.repartition(parts, place)
    )


def spark_schema(schema: pa.Schema) -> tuple[str, dict[str, pa.DataType]]:
    """The Spark DDL of an Arrow schema, and the exact Arrow types Spark then expects."""
    pairs = [_spark_type(field) for field in schema]
    ddl = ", ".join(f"{quoted(field.name)} {name}" for field, (name, _) in zip(schema, pairs, strict=True))
    return ddl, {field.name: kind for field, (_, kind) in zip(schema, pairs, strict=True)}


def from_spark_types(batch: pa.RecordBatch, types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    """A batch from Spark with its columns in the Arrow types that Spark does not have, as they were.

    Parameters
    ----------
    batch : as Spark hands it over.
    types : of the columns by name; those that are not named, and nested ones, stay as they are.
    """
    arrays = [
        _back(column, types.get(name, column.type))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _back(column: pa.Array, type: pa.DataType) -> pa.Array:
    if column.type == type or pa.types.is_nested(column.type):
        return column
    if pa.types.is_null(type):
        return pa.nulls(len(column))
    return column.dictionary_encode() if pa.types.is_dictionary(type) else column.cast(type)


def to_spark_type(column: pa.Array, type: pa.DataType, name: str) -> pa.Array:
    """A column in the type that Spark has for it.

    Parameters
    ----------
    column : of any type that `spark_schema` takes.
    type : what `spark_schema` gives for it.
    name : how the message calls it.

    Raises
    ------
    ValueTypeError
        When a value is past what Spark's type holds.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column if column.type == type else column.cast(type)
    except pa.ArrowInvalid as error:
        raise ValueTypeError(
            f"Column {name!r} of type {column.type} is {type} in Spark, which not all of its values fit: "
            f"{error}. Cast it, or leave it out."
        ) from error


def with_vectors(
    ddl: str, exact: Mapping[str, pa.DataType], kept: Sequence[str], order: Sequence[str]
) -> tuple[Any, dict[str, pa.DataType | None]]:
    """A Spark schema with columns of Spark ML's vectors put where they stood.

    Parameters
    ----------
    ddl, exact : the other columns, as `spark_schema` gives them.
    kept : the columns of vectors.
    order : all columns, as they shall stand. Those of the schema that are not in it come from matrices, one
        for each of their names, and go behind.

    Returns
    -------
    The schema as a Spark StructType, and the Arrow types by name: None for those in `kept`.
    """
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import StructField, StructType

    parsed: Any = StructType.fromDDL(ddl) if ddl else StructType()
    fields = {field.name: field for field in parsed.fields}
    fields |= {name: StructField(name, VectorUDT()) for name in kept}
    names = [name for name in order if name in fields]
    names += [name for name in fields if name not in names]
    return StructType([fields[name] for name in names]), {name: exact.get(name) for name in names}


_DIGITS = 38
"""The most digits of a decimal of Spark."""

_EXACT = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.date32(): "date",
}
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.null(): pa.string(),
    pa.date64(): pa.date32(),
}


def _check_types(frame: Any) -> None:
    """Refuse columns that Spark hands to no Python code, before a job that says so of one of them."""
    from pyspark.sql import types

    kinds = [getattr(types, name, None) for name in ("YearMonthIntervalType", "CalendarIntervalType")]
    spans = tuple(kind for kind in kinds if kind is not None)
    refused = [
        f"{field.name} ({field.dataType.simpleString()})"
        for field in frame.schema.fields
        if isinstance(field.dataType, spans)
    ]
    if refused:
        raise SchemaError(
            f"Columns whose type Spark does not hand to Python: {', '.join(refused)}. Drop them, or cast "
            "them to text."
        )


def _is_beyond(type: pa.DataType) -> bool:
    """Whether values have parts of their own, other than those of lists of numbers or text."""
    return bool(pa.types.is_nested(type)) and Kind.of(type).items is None


def _spark_type(field: pa.Field) -> tuple[str, pa.DataType]:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if Kind.of(kind).items is not None:
        name, items = _spark_type(pa.field(field.name, kind.value_type))
        return f"array<{name}>", pa.list_(items)
    kind = _WIDER.get(kind, kind)
    if kind in _EXACT:
        return _EXACT[kind], kind
    if pa.types.is_timestamp(kind):
        return (
            ("timestamp_ntz", pa.timestamp("us"))
            if kind.tz is None
            else ("timestamp", pa.timestamp("us", "UTC"))
        )
    if pa.types.is_decimal(kind) and kind.precision <= _DIGITS:
        return f"decimal({kind.precision},{kind.scale})", kind
    raise SchemaError(
        f"Column {field.name!r} of type {kind} has no counterpart in Spark. Cast or drop it first."
    )
