"""Files as a source: Parquet and Arrow IPC, whose columns say of which type they are, and files of text."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from outgrow.data.avro import AvroSource
from outgrow.data.batch import Batch
from outgrow.data.hdf5 import Hdf5Source
from outgrow.data.hive import folder_keys, key_types, key_value
from outgrow.data.ipc import READ_ERRORS, validated
from outgrow.data.kind import CATEGORY, Kind
from outgrow.data.names import check_names
from outgrow.data.paths import TEXT_FORMATS, common_format, file_record, find, replaced_since, unreadable
from outgrow.data.schema import difference
from outgrow.data.source import BATCH_ROWS, Piece, Source, batch_rows, chosen, empty_batch, needed
from outgrow.data.text import TextOptions
from outgrow.data.text_source import TextSource
from outgrow.data.widest import widest
from outgrow.errors import DataError, ParameterError, SchemaError

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_FEW_BYTES = 4.0
"""Text of fewer bytes a value is stored as indices into a dictionary: no text itself could be so short."""
_READ_BYTES = 1 << 20
"""Columns of a local file that are smaller are read when they are needed: reading ahead costs more."""


@dataclass(frozen=True, eq=False)
class FilePiece:
    """A row group of a Parquet file, or a whole file of another format.

    Attributes
    ----------
    fragment : the file; the pieces of a file share it, and so its metadata, wherever they are sent together.
    group : the number of the row group; None for the whole file.
    encoded : a fragment of the same file and its schema, which give text as the dictionaries that the file
        holds; None where it holds none.
    """

    fragment: Any
    schema: pa.Schema
    nbytes: int
    batch_rows: int = BATCH_ROWS
    group: int | None = None
    encoded: tuple[Any, pa.Schema] | None = None

    @property
    def known_rows(self) -> int:
        if self.group is not None:
            return int(self.fragment.metadata.row_group(self.group).num_rows)
        try:
            return int(self.fragment.count_rows())
        except READ_ERRORS as error:
            raise unreadable(self.fragment.path, error) from error

    def location(self, row: int) -> str:
        start = 0
        if self.group is not None:
            metadata = self.fragment.metadata
            start = sum(metadata.row_group(group).num_rows for group in range(self.group))
        return f"row {start + row} of {self.fragment.path}"

    def __str__(self) -> str:
        group = "" if self.group is None else f", row group {self.group}"
        return f"{self.fragment.path}{group}"

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all. Parquet skips row groups by it.
        encoded : text may come as the dictionaries that the file holds.

        Raises
        ------
        DataError
            When the bytes are not what they should be.
        InputNotFoundError
            When the file is gone.
        """
        options: dict[str, Any] = {"use_threads": False, "batch_size": self.batch_rows, "batch_readahead": 1}
        fragment, schema = self.encoded if encoded and self.encoded else (self.fragment, self.schema)
        try:
            if isinstance(self.fragment.format, ds.IpcFileFormat):
                options["columns"] = list(needed(schema.names, columns, where))
                for batch in self._read(fragment, schema, options):
                    validated(batch)  # before anything looks at its values
                    yield from chosen(pa.Table.from_batches([batch]), columns, where)
                return
            if where is not None:
                options["filter"] = where
            if columns is not None:
                options["columns"] = list(columns)
            for batch in self._read(fragment, schema, options):
                if batch.num_rows:
                    yield Batch.from_arrow(batch)
        except (*READ_ERRORS, DataError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> Exception:
        """Why the rows cannot be read: values that the types of all files do not hold, or a bad file."""
        file = self.fragment
        try:
            stored = file.format.inspect(file.path, file.filesystem)
        except READ_ERRORS:
            return unreadable(file.path, error)
        reason = str(error).splitlines()[0]
        if not stored.equals(file.physical_schema):
            return replaced_since(file.path, f"it has other columns or types; {reason}")
        other = [
            f"{name} is {stored.field(name).type}, read as {self.schema.field(name).type}"
            for name in self.schema.names
            if name in stored.names and not stored.field(name).type.equals(self.schema.field(name).type)
        ]
        if not other or not isinstance(error, pa.ArrowInvalid | pa.ArrowNotImplementedError):
            return unreadable(file.path, error)
        return DataError(
            f"{file.path} holds values that do not fit the types which all files had together when they were "
            f"opened: {', '.join(other)}; {reason}. Open them again if the file was "
            "replaced, else write it with those types, or read it separately."
        )

    def _read(self, fragment: Any, schema: pa.Schema, options: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        """The batches of a fragment, in a schema and with options of Arrow's scanners."""
        if self.group is None:
            yield from fragment.to_batches(schema=schema, **options)
        elif "filter" in options or not _as_stored(fragment, schema):
            part = fragment.subset(row_group_ids=[self.group])
            yield from part.to_batches(schema=schema, **options)
        else:  # a scanner takes three times as long to begin, which counts where files are small
            with (
                fragment.open() as file,
                pq.ParquetFile(
                    file,
                    metadata=fragment.metadata,
                    pre_buffer=self.nbytes > _READ_BYTES
                    or not isinstance(fragment.filesystem, LocalFileSystem),
                    page_checksum_verification=True,
                ) as whole,
            ):
                yield from whole.iter_batches(
                    self.batch_rows,
                    row_groups=[self.group],
                    columns=options.get("columns"),
                    use_threads=False,
                )


def _as_stored(fragment: Any, schema: pa.Schema) -> bool:
    """Whether a file holds all columns in their types, and none is known from its folders."""
    keyless: bool = fragment.partition_expression.equals(pc.scalar(True))
    return keyless and bool(fragment.physical_schema.equals(schema))


def open_files(
    path: str | os.PathLike[str] | Sequence[Any], format: str | None, options: TextOptions
) -> Source:
    """The files that a path names as a source.

    Parameters
    ----------
    path : a file, a folder, a pattern with `*`, or a list of those; local or remote.
    format : of all files; None for what their endings say.
    options : how text is read. Of files of other formats only types of the keys of folders may be in it.
    """
    filesystem, files = find(path)
    known = common_format(files, format)
    if known in TEXT_FORMATS:
        return TextSource(filesystem, files, known, options)
    if known in _OWN_READERS:
        check_no_text_options(options, files[0], known)
        return _OWN_READERS[known](filesystem, files)
    return FilesSource(filesystem, files, known, options)


_OWN_READERS = {"avro": AvroSource, "hdf5": Hdf5Source}


def check_no_text_options(options: TextOptions, path: str, format: str) -> None:
    """Refuse options of text for what has types of its own.

    Parameters
    ----------
    options : how text is read.
    path, format : what is read.

    Raises
    ------
    ParameterError
        When there are any.
    """
    if options != TextOptions():
        raise ParameterError(
            f"types, na_values, encoding, sep and decimal say how text is read; {path} is {format}, whose "
            "columns have types of their own."
        )


class FilesSource:
    """The rows of some files of one format and one schema, in the order of their paths.

    A column that files store in several types, such as whole numbers of 32 and of 64 bits, has the widest.
    """

    has_pieces = True

    def __init__(self, filesystem: Any, files: Sequence[str], format: str, options: TextOptions) -> None:
        self.filesystem = filesystem
        self.format = format
        self._options = options
        self._keys = [folder_keys(path) for path in files]
        self._reader = _reader(format)
        folder_types = key_types(self._keys)
        unused = [name for name in options.types if name not in folder_types]
        types = {name: options.types[name] for name in unused}
        check_no_text_options(replace(options, types=types), files[0], format)
        self.arrow_dataset = self._open(list(files), {**folder_types, **options.types})

    def _open(self, files: list[str], keys: Mapping[str, pa.DataType]) -> Any:
        first = _inspected(self._reader, files[0], self.filesystem).remove_metadata()
        check_names(first.names, files[0])
        keys = {name: _stored_type(first, name, kind) for name, kind in keys.items()}
        for path, values in zip(files, self._keys, strict=True):
            for name, value in values.items():
                key_value(path, name, value, keys[name])
        try:
            named = ds.dataset(
                files,
                schema=first,
                filesystem=self.filesystem,
                format=self._reader,
                partitioning=ds.partitioning(pa.schema(list(keys.items())), flavor="hive"),
            )
            fragments = list(named.get_fragments())
        except READ_ERRORS as error:
            raise unreadable(files[0], error) from error
        stored, self.alike = _columns(fragments, first, keys.keys())
        fields = {**dict(zip(stored.names, stored.types, strict=True)), **keys}
        return ds.FileSystemDataset(fragments, pa.schema(list(fields.items())), self._reader, self.filesystem)

    def with_kinds(self, kinds: Mapping[str, Kind]) -> FilesSource:
        """The same rows, in which the names of folders are text where text was promised."""
        names = [name for name, kind in kinds.items() if kind == CATEGORY and self._is_number_key(name)]
        if not names:
            return self
        types = {**self._options.types, **dict.fromkeys(names, pa.string())}
        return FilesSource(self.filesystem, self.paths, self.format, replace(self._options, types=types))

    def _is_number_key(self, name: str) -> bool:
        is_key = any(name in keys for keys in self._keys)
        return is_key and pa.types.is_integer(self.schema.field(name).type)

    @property
    def paths(self) -> list[str]:
        """The files, in order."""
        return list(self.arrow_dataset.files)

    @property
    def schema(self) -> pa.Schema:
        return self.arrow_dataset.schema

    def example(self) -> Batch:
        return empty_batch(self.schema)

    @cached_property
    def _fragments(self) -> list[Any]:
        return list(self.arrow_dataset.get_fragments())

    def pieces(self) -> Sequence[Piece]:
        schema = self.schema
        if self.format != "parquet":
            return [FilePiece(fragment, schema, self._size(fragment.path)) for fragment in self._fragments]
        return [piece for fragment in self._fragments for piece in row_group_pieces(fragment, schema)]

    @property
    def known_rows(self) -> int | None:
        """How many rows there are, where the footers say it."""
        if self.format != "parquet":
            return None
        return sum(int(fragment.metadata.num_rows) for fragment in self._fragments)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.format, **file_record(self.filesystem, self.paths)}

    def _size(self, path: str) -> int:
        return int(self.filesystem.get_file_info(path).size or 0)


def _reader(format: str) -> Any:
    """Arrow's reader of a format."""
    if format == "parquet":
        return _parquet()
    return ds.OrcFileFormat() if format == "orc" else ds.IpcFileFormat()


def row_group_pieces(fragment: Any, schema: pa.Schema) -> Iterator[FilePiece]:
    """The row groups of a Parquet file; also with text left as the dictionaries that the file holds.

    Parameters
    ----------
    fragment : the file, as `pyarrow.dataset` has it.
    schema : what its rows are read as.
    """
    names, encoded = _dictionaries(fragment, schema), None
    if names:
        kinds = [_DICTIONARY if field.name in names else field.type for field in schema]
        same = _parquet(dictionary_columns=names).make_fragment(
            fragment.path, fragment.filesystem, fragment.partition_expression
        )
        encoded = same, pa.schema(list(zip(schema.names, kinds, strict=True)))
    for info in fragment.row_groups:
        rows = batch_rows(info.total_byte_size, info.num_rows)
        yield FilePiece(fragment, schema, info.total_byte_size, rows, info.id, encoded)


def _dictionaries(fragment: Any, schema: pa.Schema) -> list[str]:
    """The columns of text whose values the first row group of a file holds as dictionaries."""
    text = {field.name for field in schema if pa.types.is_string(field.type)}
    if not text or not fragment.num_row_groups:
        return []
    info = fragment.metadata.row_group(0)
    chunks = [info.column(index) for index in range(info.num_columns)]
    return [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.path_in_schema in text
        and chunk.has_dictionary_page
        and chunk.total_uncompressed_size < _FEW_BYTES * chunk.num_values
    ]


def _physical_schema(fragment: Any) -> pa.Schema:
    try:
        return fragment.physical_schema
    except READ_ERRORS as error:
        raise unreadable(fragment.path, error) from error


def _columns(fragments: list[Any], first: pa.Schema, keys: Collection[str]) -> tuple[pa.Schema, bool]:
    """The columns of files, each of a type that holds the values of all; whether all store them like that.

    A file may lack a key, whose value its folder says.
    """
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(_physical_schema, fragments))
    schema = first
    for fragment, other in zip(fragments, stored, strict=True):
        if other.equals(schema):
            continue
        try:
            schema = widest(schema, other, keys)
        except DataError as error:
            raise SchemaError(
                f"{fragment.path} has other columns than {fragments[0].path}:\n"
                f"{difference(schema, other)}\nMake the files alike, or read them separately."
            ) from error
    return schema, all(other.equals(schema) for other in stored)


def _inspected(reader: Any, path: str, filesystem: Any) -> pa.Schema:
    try:
        return reader.inspect(path, filesystem)
    except READ_ERRORS as error:
        if "duplicate field names" in str(error):
            raise SchemaError(
                f"{path} has several columns of one name. Rename them so that each name is one column."
            ) from error
        raise unreadable(path, error) from error


def _stored_type(stored: pa.Schema, name: str, kind: pa.DataType) -> pa.DataType:
    """The type of a key: as the files store it, where they do; the folder's value holds all the same."""
    return stored.field(name).type if name in stored.names else kind


def _parquet(**options: Any) -> Any:
    """The Parquet reader, which compares pages with the checksums that a file holds."""
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.ParquetFileFormat(default_fragment_scan_options=checked, **options)
