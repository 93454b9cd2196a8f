"""Rows to Parquet files: written by whoever has them, seen by nobody before all are there.

Each piece of the rows becomes files of its own, named after the piece, and a line in a ledger. A folder that
was left half done can so be taken up again: what the ledger names is there. The files of a piece are written
apart, and renamed to their places when all of them are whole: a task that was killed, or that Spark runs
twice, leaves nothing half written, and what is done again takes the place of what was done before.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from outgrow.data.batch import Batch
from outgrow.data.dictionaries import repeating
from outgrow.data.hive import names_folders
from outgrow.data.lake import local_path
from outgrow.data.paths import is_hidden
from outgrow.data.scan import check_columns
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.errors import DataError, OutputExistsError, SchemaError
from outgrow.storage import TABLE, disk_errors, new_directory

LEDGER, ATTEMPTS = "_ledger", "_attempts"
MAIN = "main"
"""The table that a folder holds, beside which others may be written."""

_PARQUET = ds.ParquetFileFormat()
_ANY_NUMBER = 2**31 - 1
"""Of folders that the rows of a piece may go to: as many as their keys have values."""
_OPEN_FILES = 256
"""At once: those written longest ago are closed first, well below what systems allow a process."""
_ALL_BELOW = "**"

Part = Any
"""What has `batches()`: a piece of a scan, or the rows that Spark hands to a task."""
Tables = Mapping[str, Batch]


def write_parquet(
    rows: Any,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    partition_by: str | Sequence[str] = (),
) -> int:
    """Write a dataset as a folder of Parquet files that appears whole or not at all.

    On Spark every task writes its own files: the folder must be one that all executors reach. Within a file
    and over the files' names, rows keep their order.

    Parameters
    ----------
    rows : dataset, Spark DataFrame or table.
    path : the folder to write.
    overwrite : replace a folder that outgrow wrote.
    partition_by : columns that become folders `name=value`.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    OutputExistsError
        When `path` exists and `overwrite` is false, others wrote it, or it holds or lies in what is read.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, outgrow as og
    >>> path = tempfile.mkdtemp() + "/rows"
    >>> og.write_parquet(og.dataset(pa.table({"a": [1, 2, 3]})), path)
    3
    >>> og.read(path).to_arrow()["a"].to_pylist()
    [1, 2, 3]
    """
    data = dataset(rows)
    keys = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    schema = data.scan.example().to_arrow().schema
    check_columns(schema, keys)
    check_apart(data, path)
    with new_directory(path, TABLE, overwrite=overwrite) as folder:
        table = OutputTable(str(folder), schema, keys)
        counts = write_pieces(data, PieceWriter(str(folder), {MAIN: table}), stage="write")
        close_folder(table, sum(count[MAIN] for count in counts))
    return sum(count[MAIN] for count in counts)


def check_apart(rows: Dataset, *outputs: str | os.PathLike[str]) -> None:
    """Refuse outputs that would take the place of files that are read, or be read with them the next time.

    Parameters
    ----------
    rows : what is read.
    outputs : folders to write.

    Raises
    ------
    OutputExistsError
        As of `check_paths_apart`.
    """
    there = any(map(os.path.lexists, outputs))
    files = _files_of(rows.scan.describe()["source"]) if there else ()
    origin = rows.scan.origin
    check_paths_apart(None if origin is None else origin.uri, list(files), outputs)


def check_paths_apart(
    read: str | None, files: Sequence[str], outputs: Sequence[str | os.PathLike[str]]
) -> None:
    """What `check_apart` refuses, of paths.

    Parameters
    ----------
    read : the file, folder, pattern or URI that is read; None where only the files are known.
    files : those that it names.
    outputs : folders to write.

    Raises
    ------
    OutputExistsError
        When one of them is or holds a file that is read; or lies where whoever reads the same folder or
        pattern again would find its files, too.
    """
    there = [path for path in map(_place, files) if path is not None]
    named = None if read is None else _place(read)
    for output in outputs:
        target = _place(output)
        if target is None:
            continue
        held = next((file for file in there if file.is_relative_to(target)), None)
        if held is not None:
            raise OutputExistsError(f"{output} holds {held}, which is read. Choose another path.")
        if named is not None and _finds(named, target):
            raise OutputExistsError(
                f"{output} lies in {read}, which is read: whoever reads that again would read what is "
                "written, too. Choose a folder beside it."
            )


def _files_of(source: Mapping[str, Any]) -> Iterator[str]:
    """The paths of the files that a described source is made of, those of a query's tables included."""
    for file in source.get("files", ()):
        yield file["path"] if isinstance(file, Mapping) else file
    for table in source.get("tables", {}).values():
        yield from _files_of(table)


def _place(path: str | os.PathLike[str]) -> Path | None:
    """Where a path leads; None for what is elsewhere, or is no path, as whoever writes there says."""
    try:
        here = local_path(os.fspath(path))
        return None if here is None else Path(here).resolve()
    except (ValueError, RuntimeError, OSError):
        return None


def _finds(read: Path, output: Path) -> bool:
    """Whether files of an output would be among those that a file, a folder or a pattern names."""
    wanted = (*read.parts, _ALL_BELOW) if read.is_dir() else read.parent.parts
    for depth, (own, part) in enumerate(zip(output.parts, wanted, strict=False)):
        if part == _ALL_BELOW:
            return not is_hidden("/".join(output.parts[depth:]), "")
        if own != part and not fnmatchcase(own, part):
            return False
    keys = wanted[len(output.parts) :]  # the output may have folders of its own, `name=value`
    return len(output.parts) <= len(wanted) and all("*" in part or "=" in part for part in keys)


def write_pieces(rows: Dataset, writer: PieceWriter, *, stage: str) -> list[dict[str, int]]:
    """Write the pieces that the ledger does not name; how many rows of each table all pieces have.

    Parameters
    ----------
    rows : the dataset, of the same pieces as when the folder was begun.
    writer : writes one piece, where the engine has it.
    stage : what is under way, as events and messages call it.

    Returns
    -------
    For each piece, those included that were there, the rows by the names of the tables.
    """
    done = read_ledger(Path(writer.folder))
    for folder in writer.work_folders:
        folder.mkdir(exist_ok=True)
    return [*done.values(), *rows.engine.each_piece(rows.scan, writer, stage=stage, skip=set(done))]


def read_ledger(folder: Path) -> dict[int, dict[str, int]]:
    """The pieces that a folder under way has, by their numbers: rows of each table."""
    lines = sorted((folder / LEDGER).glob("[0-9]*.json"))
    return {int(line.stem): json.loads(line.read_text()) for line in lines}


def close_folder(table: OutputTable, rows: int) -> None:
    """Make the folder of a table whose pieces are all there a plain one of its files.

    Parameters
    ----------
    table : whose folder it is.
    rows : how many it has; without any, one file holds the schema alone.
    """
    folder = Path(table.folder)
    if not rows:
        pq.write_table(table.schema.empty_table(), folder / "part-0.parquet", write_page_checksum=True)
    for name in (ATTEMPTS, LEDGER):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


@dataclass(frozen=True)
class OutputTable:
    """A table to write.

    Attributes
    ----------
    folder, schema : where, and its columns.
    keys : columns that become folders.
    """

    folder: str
    schema: pa.Schema
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unsaid = [name for name in self.keys if not names_folders(name)]
        if unsaid:
            raise SchemaError(
                f"partition_by={unsaid}: folders called so would not be read as columns of that name. "
                "Rename those columns."
            )

    def put(self, attempt: str) -> None:
        """Rename the files of an attempt to their places."""
        apart = Path(self.folder, ATTEMPTS, attempt)
        for file in sorted(apart.rglob("*.parquet")):
            target = Path(self.folder, file.relative_to(apart))
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        shutil.rmtree(apart, ignore_errors=True)


@dataclass(frozen=True)
class PieceWriter:
    """Writes one piece: files of each table, then a line in the ledger.

    Attributes
    ----------
    folder : that has the ledger.
    tables : by their names.
    change : makes of the rows of a batch, whose place in the data is `where(row)`, a batch for each table.
    """

    folder: str
    tables: Mapping[str, OutputTable]
    change: Callable[[Batch, Callable[[int], str]], Tables] | None = None

    @property
    def work_folders(self) -> list[Path]:
        """What must be there before a piece is written."""
        return [Path(self.folder, LEDGER), *(Path(each.folder, ATTEMPTS) for each in self.tables.values())]

    def __call__(self, number: int, part: Part) -> dict[str, int]:
        counts, attempt = dict.fromkeys(self.tables, 0), f"{number}-{secrets.token_hex(4)}"
        with disk_errors(Path(self.folder)):
            self._write(MAIN, number, attempt, self._main(number, attempt, part, counts))
            for table in self.tables.values():
                table.put(attempt)
            draft = Path(self.folder, LEDGER, f"{attempt}.draft")
            draft.write_text(json.dumps(counts))
            draft.replace(draft.with_name(f"{number:06d}.json"))
        return counts

    def _main(
        self, number: int, attempt: str, part: Part, counts: dict[str, int]
    ) -> Iterator[pa.RecordBatch]:
        """The rows of the main table; those of the others are few, and are written when the piece is read."""
        others: dict[str, list[pa.RecordBatch]] = {}
        row = 0
        for batch in part.batches():
            tables = {MAIN: batch} if self.change is None else self.change(batch, _places(part, number, row))
            row += batch.num_rows
            for name, found in tables.items():
                counts[name] += found.num_rows
                if name != MAIN and found.num_rows:
                    others.setdefault(name, []).append(_plain(found, self.tables[name].schema))
            if tables[MAIN].num_rows:
                yield _plain(tables[MAIN], self.tables[MAIN].schema)
        for name, batches in others.items():
            self._write(name, number, attempt, iter(batches))

    def _write(self, name: str, number: int, attempt: str, batches: Iterator[pa.RecordBatch]) -> None:
        table = self.tables[name]
        hive = ds.partitioning(pa.schema([table.schema.field(key) for key in table.keys]), flavor="hive")
        first = next(batches, None)
        if first is None:
            return

        def all_batches() -> Iterator[pa.RecordBatch]:
            yield first
            yield from batches

        try:
            ds.write_dataset(
                all_batches(),
                os.path.join(table.folder, ATTEMPTS, attempt),
                schema=table.schema,
                format=_PARQUET,
                file_options=_PARQUET.make_write_options(
                    write_page_checksum=True, use_dictionary=repeating(first)
                ),
                partitioning=hive if table.keys else None,
                use_threads=False,
                max_partitions=_ANY_NUMBER,
                max_open_files=_OPEN_FILES,
                basename_template=f"part-{number:06d}-{{i}}.parquet",
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            apart = f" in folders by {list(table.keys)}" if table.keys else ""
            raise DataError(
                f"The columns {table.schema.names} cannot be written as Parquet{apart}: "
                f"{str(error).splitlines()[0]}. Cast those columns, or leave them out."
            ) from error


def _places(part: Part, number: int, start: int) -> Callable[[int], str]:
    def where(row: int) -> str:
        location = getattr(part, "location", None)
        return f"row {start + row} of partition {number}" if location is None else location(start + row)

    return where


def _plain(batch: Batch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of a schema, in its types."""
    found = batch.to_arrow().select(schema.names)
    return found if found.schema.equals(schema) else found.cast(schema)
