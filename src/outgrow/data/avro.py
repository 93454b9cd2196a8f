"""Avro files as a source: records as columns, the types those of the schema in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from outgrow._optional import optional
from outgrow.data.avro_blocks import add_codecs
from outgrow.data.batch import Batch
from outgrow.data.hive import Keys, folder_keys, key_types, key_value
from outgrow.data.names import check_names
from outgrow.data.paths import file_record, unreadable
from outgrow.data.schema import difference
from outgrow.data.source import Piece, chosen, empty_batch, needed
from outgrow.errors import DataError, SchemaError

_ROWS = 16_384
_ERRORS = (ValueError, OSError, EOFError, LookupError, TypeError, AttributeError, SystemError, MemoryError)
"""What reading bytes raises that are no Avro."""
_PLAIN = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
    "fixed": pa.binary(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
}


class AvroSource:
    """The rows of some Avro files of one schema, in the order of their paths."""

    has_pieces = True
    format = "avro"

    def __init__(self, filesystem: Any, files: Sequence[str]) -> None:
        self.filesystem = filesystem
        self.paths = list(files)
        self._keys = [folder_keys(path) for path in files]
        self._key_types = key_types(self._keys)
        check_names(self.schema.names, self.paths[0])

    @cached_property
    def schema(self) -> pa.Schema:
        first = _schema_of(self.filesystem, self.paths[0])
        for path in self.paths[1:]:
            other = _schema_of(self.filesystem, path)
            if not first.equals(other):
                raise SchemaError(
                    f"{path} has other columns than {self.paths[0]}:\n{difference(first, other)}\n"
                    "Make the files alike, or read them separately."
                )
        stored = [field for field in first if field.name not in self._key_types]
        return pa.schema([*stored, *self._key_types.items()])

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        sizes = (int(self.filesystem.get_file_info(path).size or 0) for path in self.paths)
        return [
            AvroPiece(self.filesystem, path, self.schema, keys, size)
            for path, keys, size in zip(self.paths, self._keys, sizes, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        return {"kind": "avro", **file_record(self.filesystem, self.paths)}


@dataclass(frozen=True, eq=False)
class AvroPiece:
    """A file, whose blocks cannot be told apart before they are read."""

    filesystem: Any
    path: str
    schema: pa.Schema
    keys: Keys
    nbytes: int

    @property
    def known_rows(self) -> None:
        return None

    def location(self, row: int) -> str:
        return f"row {row} of {self.path}"

    def __str__(self) -> str:
        return self.path

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`.

        Parameters
        ----------
        columns : names of columns, also of keys of folders; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.

        Raises
        ------
        DataError
            When the file is damaged.
        """
        read = pa.schema([self.schema.field(name) for name in needed(self.schema.names, columns, where)])
        for records in self._records():
            yield from chosen(self._table(records, read), columns, where)

    def _records(self) -> Iterator[list[dict[str, Any]]]:
        avro = optional("fastavro", "avro")
        add_codecs(avro.read.BLOCK_READERS)
        try:
            with self.filesystem.open_input_stream(self.path) as stream:
                reader = avro.reader(stream)
                while records := list(islice(reader, _ROWS)):
                    yield records
        except _ERRORS as error:
            raise unreadable(self.path, error) from error

    def _table(self, records: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        columns = []
        for field in schema:
            if field.name in self.keys:
                value = key_value(self.path, field.name, self.keys[field.name], field.type)
                columns.append(pa.repeat(value, len(records)))
            else:
                columns.append(_column([record[field.name] for record in records], field.type))
        return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        values = [str(value) if isinstance(value, UUID) else value for value in values]
    return pa.array(values, kind)


def _schema_of(filesystem: Any, path: str) -> pa.Schema:
    avro = optional("fastavro", "avro")
    try:
        with filesystem.open_input_stream(path) as stream:
            written = avro.reader(stream).writer_schema
    except _ERRORS as error:
        raise unreadable(path, error) from error
    if not isinstance(written, dict) or written.get("type") != "record":
        raise DataError(f"{path} holds no records, but {str(written)[:60]}. Write rows as records.")
    named: dict[str, Any] = {}
    return pa.schema(
        [(f["name"], _arrow(f["type"], f"{path}: {f['name']}", named)) for f in written["fields"]]
    )


def _arrow(given: Any, where: str, named: dict[str, Any]) -> pa.DataType:
    """The Arrow type of a type of Avro."""
    if isinstance(given, list):
        others = [item for item in given if item != "null"]
        if len(others) > 1:
            raise DataError(f"{where}: a union of {others} is no type of a column. Write one type, or null.")
        return _arrow(others[0], where, named) if others else pa.null()
    if isinstance(given, str):
        if given not in _PLAIN and named.get(given) is None:
            raise DataError(f"{where}: records that hold such again are no columns. Leave them out.")
        return _PLAIN[given] if given in _PLAIN else _arrow(named[given], where, named)
    kind, logical = given["type"], given.get("logicalType")
    if kind != "record":
        named.setdefault(given.get("name", ""), given)
    if logical == "decimal":
        return pa.decimal128(given["precision"], given.get("scale", 0))
    if logical in _LOGICAL:
        return _LOGICAL[logical]
    if kind == "array":
        return pa.list_(_arrow(given["items"], where, named))
    if kind == "map":
        return pa.map_(pa.string(), _arrow(given["values"], where, named))
    if kind == "record":
        inner = pa.struct([(f["name"], _arrow(f["type"], where, named)) for f in given["fields"]])
        named.setdefault(given.get("name", ""), given)  # not before, as it may not hold itself
        return inner
    return _arrow(kind, where, named)
