"""Small Parquet files as fewer large ones: rows in their order, folders as they are, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from outgrow.compaction.survey import TARGET_BYTES, Footer, read_footers
from outgrow.data.dictionaries import repeating
from outgrow.data.lake import compact_delta, is_delta
from outgrow.data.paths import file_record, unreadable
from outgrow.data.schema import difference
from outgrow.data.widest import widest
from outgrow.engine.write import check_paths_apart
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.storage import TABLE, disk_errors, new_directory

GROUP_ROWS, GROUP_BYTES = 1_000_000, 32 << 20
"""At so many rows or bytes a row group is written."""
_HUGE_BYTES = 512 << 20
_BATCH_ROWS = 65_536
_THREADS = 2
_CODECS = {"UNCOMPRESSED": "none"}


@dataclass(frozen=True)
class Compacted:
    """What `compact` did.

    Attributes
    ----------
    rows : all that there are, before and behind.
    files_before, files : how many there were, and are.
    copied : how many files were large enough and were copied as they are.
    version : of a Delta table, the new one; else None.
    """

    rows: int
    files_before: int
    files: int
    copied: int = 0
    version: int | None = None


def compact(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    target: int = TARGET_BYTES,
    overwrite: bool = False,
) -> Compacted:
    """Write the Parquet files of a folder anew, as fewer and larger ones.

    Rows keep their order within a folder, and folders (`key=value`) stay what they are. Files that are large
    enough already are copied. Where files hold a column in several types, such as whole numbers of 32 and of
    64 bits, they become the widest, as where they are read. The output appears whole at the end, with as many
    rows as there were, or not at all. Memory: two row groups of at most 32 MiB at work, and what encoding
    them takes, a few hundred MiB in all.

    Parameters
    ----------
    path : a folder of Parquet files, a pattern, or the folder of a Delta table, which gets a new version.
    output : the folder to write; None for a Delta table.
    target : about how many bytes a file has.
    overwrite : replace an output that outgrow wrote.

    Raises
    ------
    SchemaError
        When files of one folder have different columns, or types that do not go together.
    DataError
        When files are damaged, or change meanwhile.
    OutputExistsError
        When the output exists and `overwrite` is false, or holds or lies in what is read.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq, outgrow as og
    >>> folder = tempfile.mkdtemp()
    >>> for number in range(5):
    ...     pq.write_table(pa.table({"a": [number]}), f"{folder}/{number}.parquet")
    >>> og.compact(folder, folder + "-compact")
    Compacted(rows=5, files_before=5, files=1, copied=0, version=None)
    """
    if target < 1 << 10:
        raise ParameterError(f"target={target}: a file of less than a kibibyte holds nothing. Give bytes.")
    if is_delta(path):
        return _delta(os.fspath(path), output, target)
    if output is None:
        raise ParameterError(f"{path} is no Delta table: say which folder to write (-o).")
    _, filesystem, footers = read_footers(path)
    files = [footer.path for footer in footers]
    check_paths_apart(os.fspath(path), files, [output])
    before = file_record(filesystem, files)
    with new_directory(output, TABLE, overwrite=overwrite) as folder, disk_errors(Path(output)):
        parts = list(_parts(footers, _root(files), target))
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda part: part.write(filesystem, folder), parts))
        rows = sum(footer.rows for footer in footers)
        _check_written(os.fspath(path), folder, rows)
        if file_record(filesystem, files) != before:
            raise DataError(
                f"{os.fspath(path)} has changed while it was read: nothing was written. "
                "Compact it when nobody writes."
            )
    copied = sum(part.is_copy for part in parts)
    return Compacted(rows, len(files), len(parts), copied)


def _check_written(shown: str, folder: Path, rows: int) -> None:
    """Refuse to publish files that whoever reads the folder would not find all rows in."""
    written = sum(footer.rows for footer in read_footers(folder)[2])
    if written != rows:
        raise DataError(
            f"{shown} has {rows:,} rows by its footers, and of what was written {written:,} would be read: "
            "nothing is kept. It has changed while it was read, or its footers are wrong: "
            f"compare og.read({shown!r}).count(), and compact it when nobody writes."
        )


@dataclass(frozen=True)
class _Part:
    """Files of one folder that follow one another and become one."""

    folder: str
    number: int
    footers: tuple[Footer, ...]
    schema: pa.Schema

    @property
    def is_copy(self) -> bool:
        groups = [size for footer in self.footers for _, size in footer.groups]
        return len(self.footers) == 1 and max(groups, default=0) <= _HUGE_BYTES

    def write(self, filesystem: Any, root: Path) -> None:
        """Write the file."""
        target = root / self.folder / f"part-{self.number:06d}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=False)  # a part of the same name would be written over
        if self.is_copy:
            self._copy(filesystem, target)
            return
        first = self.footers[0]
        tables = _groups(filesystem, self.footers, self.schema)
        table = next(tables, self.schema.empty_table())
        sample = table.slice(0, _BATCH_ROWS).combine_chunks().to_batches()
        with pq.ParquetWriter(
            target,
            self.schema,
            compression=_CODECS.get(first.compression, first.compression.lower()),
            use_dictionary=repeating(sample[0]) if sample else True,
            write_page_checksum=True,
        ) as writer:
            for group in chain([table], tables):
                writer.write_table(group, row_group_size=GROUP_ROWS)

    def _copy(self, filesystem: Any, target: Path) -> None:
        source = self.footers[0].path
        if isinstance(filesystem, pafs.LocalFileSystem):
            shutil.copyfile(source, target)
        else:
            pafs.copy_files(source, str(target), source_filesystem=filesystem, use_threads=False)


def _parts(footers: Sequence[Footer], root: str, target: int) -> Iterator[_Part]:
    """The files to write, those of each folder in the order of their rows."""
    folders: dict[str, list[Footer]] = {}
    for footer in footers:  # the files of a folder may stand before and behind those of one inside it
        folders.setdefault(str(PurePosixPath(footer.path).parent), []).append(footer)
    for folder, inside in folders.items():
        relative, number = os.path.relpath(folder, root), 0
        waiting: list[Footer] = []
        schema = pa.schema([])
        for footer in inside:
            wider = _together(schema, footer, waiting[0]) if waiting else footer.schema
            if waiting and sum(part.stored for part in waiting) + footer.stored > target:
                yield _Part(relative, number, tuple(waiting), schema)
                waiting, number, wider = [], number + 1, footer.schema
            waiting.append(footer)
            schema = wider
        yield _Part(relative, number, tuple(waiting), schema)


def _together(schema: pa.Schema, other: Footer, first: Footer) -> pa.Schema:
    """What holds the rows of files that begin with the first, and those of another one."""
    if schema.equals(other.schema):
        return schema
    try:
        wide = widest(schema, other.schema, ())
    except DataError as error:
        raise SchemaError(
            f"{other.path} has other columns than {first.path}: {error}.\n"
            f"{difference(first.schema, other.schema)}\nMake the files alike, or compact them separately."
        ) from None
    fields = [
        field.with_nullable(schema.field(field.name).nullable or other.schema.field(field.name).nullable)
        for field in wide
    ]
    return pa.schema(fields)


def _groups(filesystem: Any, footers: Sequence[Footer], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of files in a schema, in tables that each make a row group."""
    batches: list[pa.RecordBatch] = []
    size = rows = 0
    for footer in footers:
        try:
            with (
                filesystem.open_input_file(footer.path) as file,
                pq.ParquetFile(file, page_checksum_verification=True) as whole,
            ):
                for batch in whole.iter_batches(_BATCH_ROWS, use_threads=False):
                    batches += _in_schema(batch, schema, footer.path)
                    size, rows = size + batch.nbytes, rows + batch.num_rows
                    if size >= GROUP_BYTES or rows >= GROUP_ROWS:
                        yield pa.Table.from_batches(batches, schema)
                        batches, size, rows = [], 0, 0
        except (OSError, pa.ArrowException) as error:
            raise unreadable(footer.path, error) from error
    if batches:
        yield pa.Table.from_batches(batches, schema)


def _in_schema(batch: pa.RecordBatch, schema: pa.Schema, path: str) -> list[pa.RecordBatch]:
    if batch.schema.equals(schema):
        return [batch]
    stored = batch.select(schema.names).columns
    columns = [_cast(column, field, path) for column, field in zip(stored, schema, strict=True)]
    return [pa.record_batch(columns, schema)]


def _cast(column: pa.Array, field: pa.Field, path: str) -> pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise SchemaError(
            f"{path} holds column {field.name!r} as {column.type}; beside the other files it becomes "
            f"{field.type}, which does not hold all its values: {str(error).splitlines()[0]}. "
            "Write that column in one type in all files, or compact them separately."
        ) from None


def _root(files: Sequence[str]) -> str:
    return os.path.commonpath([str(PurePosixPath(name).parent) for name in files])


def _delta(path: str, output: Any, target: int) -> Compacted:
    if output is not None:
        raise ParameterError(
            f"{path} is a Delta table, which is compacted in place, as a new version; older versions stay. "
            "Leave out the output."
        )
    done = compact_delta(path, target)
    return Compacted(done.rows or 0, done.files_before, done.files, 0, done.version)


def describe_compacted(done: Compacted, output: str | None) -> str:
    """What was done, in a line.

    Parameters
    ----------
    done : what `compact` returned.
    output : the folder that was written; None for a Delta table.
    """
    version = "" if done.version is None else f", version {done.version}"
    where = "" if output is None else f"Written: {output} "
    return f"{where}({done.rows:,} rows; {done.files_before:,} files became {done.files:,}{version})"
