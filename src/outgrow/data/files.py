"""Files as a source: Parquet, CSV, JSON lines, Arrow IPC; one file, a folder, a pattern; local or remote."""

from __future__ import annotations

import fnmatch
import glob
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.data.ipc import READ_ERRORS, validated
from outgrow.data.names import check_names
from outgrow.data.schema import difference
from outgrow.data.source import BATCH_ROWS, Piece, batch_rows, empty_batch
from outgrow.errors import DataError, InputNotFoundError, SchemaError

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".tsv": "tsv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".arrow": "ipc", ".ipc": "ipc", ".feather": "ipc",
}  # fmt: skip
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_COMPRESSED = {".gz", ".bz2", ".zst", ".lz4"}


_FEW_BYTES = 4.0
"""Text of fewer bytes a value is stored as places in a dictionary; no text of its own could be so short."""


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

    def place(self, row: int) -> str:
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
        options: dict[str, Any] = {"use_threads": False, "batch_size": self.batch_rows, "batch_readahead": 1}
        unchecked = isinstance(self.fragment.format, ds.IpcFileFormat)
        if where is not None and not unchecked:
            options["filter"] = where
        if columns is not None:
            options["columns"] = list(columns)
        fragment, schema = self.encoded if encoded and self.encoded else (self.fragment, self.schema)
        try:
            part = fragment if self.group is None else fragment.subset(row_group_ids=[self.group])
            for batch in part.to_batches(schema=schema, **options):
                if unchecked:
                    batch = _checked(batch, where)
                if batch.num_rows:
                    yield Batch.from_arrow(batch)
        except (*READ_ERRORS, DataError) as error:
            raise _unreadable(self.fragment.path, error) from error


def _checked(batch: pa.RecordBatch, where: pc.Expression | None) -> pa.RecordBatch:
    """The rows of a batch that are wanted; nothing looks at its values before they are validated."""
    validated(batch)
    return batch if where is None else batch.filter(where)


class FilesSource:
    """The rows of some files of one format and one schema, in the order of their paths."""

    def __init__(self, path: str | os.PathLike[str] | Sequence[Any], format: str | None = None) -> None:
        self.filesystem, files = _find(path)
        self.format = format or _format_of(files[0])
        self.arrow_dataset = self._open(files)

    def _open(self, files: list[str]) -> Any:
        partitioning = ds.partitioning(flavor="hive")
        try:
            found = ds.dataset(
                files, filesystem=self.filesystem, format=_reader(self.format), partitioning=partitioning
            )
            check_names(found.schema.names, files[0])
            return found
        except READ_ERRORS as error:
            if "duplicate field names" in str(error):
                raise SchemaError(
                    f"{files[0]} has several columns of one name. "
                    "Rename them so that each name is one column."
                ) from error
            raise _unreadable(files[0], error) from error

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
        """One fragment a file, each with the schema of the first."""
        fragments = list(self.arrow_dataset.get_fragments())
        with ThreadPoolExecutor(8) as pool:
            for fragment, found in zip(fragments, pool.map(_physical_schema, fragments), strict=True):
                stored = pa.schema(
                    [
                        field
                        for field in self.arrow_dataset.schema
                        if found.get_field_index(field.name) >= 0 or not _is_partition(fragment, field.name)
                    ]
                )
                if not _same(stored, found):
                    raise SchemaError(
                        f"{fragment.path} has other columns than {self.arrow_dataset.files[0]}:\n"
                        f"{difference(stored, found)}\nMake the files alike, or read them separately."
                    )
        return fragments

    def pieces(self) -> Sequence[Piece]:
        schema = self.schema
        if self.format != "parquet":
            return [FilePiece(fragment, schema, self._size(fragment.path)) for fragment in self._fragments]
        return [piece for fragment in self._fragments for piece in _row_group_pieces(fragment, schema)]

    def describe(self) -> dict[str, Any]:
        infos = self.filesystem.get_file_info(self.arrow_dataset.files)
        files = [{"path": info.path, "bytes": info.size, "modified": str(info.mtime)} for info in infos]
        return {"kind": self.format, "files": files}

    def _size(self, path: str) -> int:
        return int(self.filesystem.get_file_info(path).size or 0)


def _row_group_pieces(fragment: Any, schema: pa.Schema) -> Iterator[FilePiece]:
    """The row groups of a Parquet file; also with text left as the dictionaries that the file holds."""
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
    chunks = [info.column(place) for place in range(info.num_columns)]
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
        raise _unreadable(fragment.path, error) from error


def _is_partition(fragment: Any, name: str) -> bool:
    return name in ds.get_partition_keys(fragment.partition_expression)


def _same(left: pa.Schema, right: pa.Schema) -> bool:
    return {field.name: field.type for field in left} == {field.name: field.type for field in right}


def _parquet(**options: Any) -> Any:
    """The Parquet reader, which compares pages with the checksums that a file holds."""
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.ParquetFileFormat(default_fragment_scan_options=checked, **options)


def _reader(format: str) -> Any:
    if format == "parquet":
        return _parquet()
    if format == "tsv":
        return ds.CsvFileFormat(parse_options=pa.csv.ParseOptions(delimiter="\t"))
    if format not in {"parquet", "csv", "json", "ipc"}:
        raise DataError(f"Format {format!r} is not one of parquet, csv, tsv, json, ipc.")
    return format


def _find(path: str | os.PathLike[str] | Sequence[Any]) -> tuple[Any, list[str]]:
    """The file system and the sorted files that a path, a folder, a pattern or a list of paths names."""
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(path, str):
        if not isinstance(path, Sequence):
            raise InputNotFoundError(
                f"A {type(path).__name__} is no path. Rows in memory become a dataset by og.dataset(...)."
            )
        if not path:
            raise InputNotFoundError("An empty list of paths was given. Name at least one file.")
        found = [_find(each) for each in path]
        return found[0][0], [file for _, files in found for file in files]
    filesystem, root = _filesystem(path)
    info = filesystem.get_file_info(root)
    if info.type == pafs.FileType.Directory:
        files = _inside(filesystem, root)
    elif info.type != pafs.FileType.NotFound:
        files = [root]  # whatever its name, which may hold the marks of a pattern
    else:
        files = _match(filesystem, root) if any(mark in root for mark in "*?[") else []
    if not files:
        raise InputNotFoundError(
            f"No data file at {path!r}. Check the path; known endings: {', '.join(FORMATS)}."
        )
    return filesystem, sorted(files)


def _filesystem(path: str) -> tuple[Any, str]:
    if "://" not in path:
        return pafs.LocalFileSystem(), os.path.abspath(path)  # tasks of a cluster stand in other folders
    try:
        return pafs.FileSystem.from_uri(path)
    except pa.ArrowInvalid:
        scheme = path.partition("://")[0]
        try:
            remote, root = optional("fsspec", "remote").core.url_to_fs(path)
        except ValueError as error:
            raise InputNotFoundError(
                f"No file system is known for {scheme!r} in {path!r}: {error}"
            ) from error
        return pafs.PyFileSystem(pafs.FSSpecHandler(remote)), root


def _match(filesystem: Any, pattern: str) -> list[str]:
    pattern = _with_literal_start(filesystem, pattern)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return [name for name in glob.glob(pattern, recursive=True) if _known(name)]
    fixed = pattern[: min(pattern.find(mark) for mark in "*?[" if mark in pattern)].rpartition("/")[0]
    return [name for name in _inside(filesystem, fixed) if fnmatch.fnmatchcase(name, pattern)]


def _with_literal_start(filesystem: Any, pattern: str) -> str:
    """A pattern in which the marks are taken literally as far as there are folders of such names."""
    parts = pattern.split("/")
    for count in range(len(parts) - 1, 0, -1):
        start = "/".join(parts[:count])
        if any(mark in start for mark in "*?[") and _is_folder(filesystem, start):
            return "/".join([glob.escape(start), *parts[count:]])
    return pattern


def _is_folder(filesystem: Any, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type == pafs.FileType.Directory)


def _inside(filesystem: Any, folder: str) -> list[str]:
    infos = filesystem.get_file_info(pafs.FileSelector(folder, recursive=True))
    names = [info.path for info in infos if info.type == pafs.FileType.File and _known(info.path)]
    return [name for name in names if not any(part[:1] in "._" for part in _below(name, folder))]


def _below(name: str, folder: str) -> tuple[str, ...]:
    return PurePosixPath(name[len(folder) :].lstrip("/")).parts


def _known(name: str) -> bool:
    return _ending(name) in FORMATS


def _ending(name: str) -> str:
    path = PurePosixPath(name)
    return PurePosixPath(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix


def _format_of(name: str) -> str:
    try:
        return FORMATS[_ending(name)]
    except KeyError:
        raise DataError(
            f"The format of {name!r} is not known from its ending ({', '.join(FORMATS)}). Pass format=."
        ) from None


def _unreadable(path: str, error: Exception) -> DataError | InputNotFoundError:
    if isinstance(error, FileNotFoundError):
        return InputNotFoundError(f"{path} is not there any more: {error}")
    said = json.dumps(str(error).splitlines()[0])[1:-1]
    return DataError(
        f"{path} cannot be read: {said}. It may be truncated or of another format; write it again."
    )
