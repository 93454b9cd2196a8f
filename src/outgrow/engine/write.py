"""Rows to Parquet files: written by whoever has them, seen by nobody before all are there.

Each piece of the rows becomes files of its own, named after the piece, and a line in a ledger. A folder that
was left half done can so be taken up again: what the ledger names is there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from outgrow.artifact import disk_errors, new_directory
from outgrow.data.batch import Batch
from outgrow.data.scan import check_columns
from outgrow.engine.dataset import Dataset
from outgrow.errors import DataError

LEDGER = "_ledger"
MAIN = "main"
"""The table that a folder holds, beside which others may be written."""

_PARQUET = ds.ParquetFileFormat()
_ANY_NUMBER = 2**31 - 1
"""Of folders that the rows of a piece may go to: as many as their keys have values."""
_OPEN_FILES = 256
"""At once: those written longest ago are closed first, well below what systems allow a process."""

Part = Any
"""What has `batches()`: a piece of a scan, or the rows that Spark hands to a task."""
Tables = Mapping[str, Batch]


def write_parquet(
    rows: Dataset,
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
    partition_by : columns that become folders `name=value`.

    Returns
    -------
    How many rows were written.
    """
    keys = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    schema = rows.scan.example().to_arrow().schema
    check_columns(schema, keys)
    with new_directory(path, overwrite=overwrite) as draft:
        writer = PieceWriter(str(draft.absolute()), {MAIN: schema}, keys)
        counts = write_pieces(rows, writer, stage="write")
        close_folder(draft, schema)
    return sum(count[MAIN] for count in counts)


def write_pieces(rows: Dataset, writer: PieceWriter, *, stage: str) -> list[dict[str, int]]:
    """Write the pieces that the ledger does not name; how many rows of each table all pieces have."""
    done = read_ledger(Path(writer.folder))
    for name in writer.schemas:
        os.makedirs(os.path.join(writer.folder, name), exist_ok=True)
    os.makedirs(os.path.join(writer.folder, LEDGER), exist_ok=True)
    return [*done.values(), *rows.engine.each_piece(rows.scan, writer, stage=stage, skip=set(done))]


def read_ledger(folder: Path) -> dict[int, dict[str, int]]:
    """The pieces that a folder under way has, by their numbers: rows of each table."""
    lines = sorted((folder / LEDGER).glob("[0-9]*.json"))
    return {int(line.stem): json.loads(line.read_text()) for line in lines}


def close_folder(folder: Path, schema: pa.Schema) -> None:
    """Make a folder whose pieces are all there a plain folder of the main table's files."""
    move_table(folder / MAIN, folder, schema)
    shutil.rmtree(folder / LEDGER)


def move_table(source: Path, target: Path, schema: pa.Schema) -> None:
    """Move the files of a table into another folder; without rows, one file says its columns."""
    if not any(source.iterdir()):
        pq.write_table(schema.empty_table(), source / "part-0.parquet", write_page_checksum=True)
    for entry in source.iterdir():
        shutil.move(entry, target / entry.name)
    source.rmdir()


@dataclass(frozen=True)
class PieceWriter:
    """Writes one piece: files under the folder, then a line in the ledger.

    Attributes
    ----------
    folder : where; each table has a folder of its own in it.
    schemas : the tables and their columns.
    keys : columns of the main table that become folders.
    change : makes of the rows of a batch, whose place in the data is `where(row)`, a batch for each table.
    """

    folder: str
    schemas: Mapping[str, pa.Schema]
    keys: tuple[str, ...] = ()
    change: Callable[[Batch, Callable[[int], str]], Tables] | None = None

    def __call__(self, number: int, part: Part) -> dict[str, int]:
        counts = dict.fromkeys(self.schemas, 0)
        with disk_errors(Path(self.folder)):
            self._write(MAIN, number, self._main(number, part, counts))
            line = Path(self.folder, LEDGER, f"{number:06d}.json")
            draft = line.with_suffix(".draft")
            draft.write_text(json.dumps(counts))
            draft.replace(line)
        return counts

    def _main(self, number: int, part: Part, counts: dict[str, int]) -> Iterator[pa.RecordBatch]:
        """The rows of the main table; those of the others are few, and are written when the piece is read."""
        others: dict[str, list[pa.RecordBatch]] = {}
        row = 0
        for batch in part.batches():
            tables = {MAIN: batch} if self.change is None else self.change(batch, _places(part, number, row))
            row += batch.num_rows
            for name, found in tables.items():
                counts[name] += found.num_rows
                if name != MAIN and found.num_rows:
                    others.setdefault(name, []).append(_plain(found, self.schemas[name]))
            if tables[MAIN].num_rows:
                yield _plain(tables[MAIN], self.schemas[MAIN])
        for name, batches in others.items():
            self._write(name, number, iter(batches))

    def _write(self, table: str, number: int, batches: Iterator[pa.RecordBatch]) -> None:
        schema = self.schemas[table]
        keys = self.keys if table == MAIN else ()
        hive = ds.partitioning(pa.schema([schema.field(key) for key in keys]), flavor="hive")
        first = next(batches, None)
        if first is None:
            return

        def all_batches() -> Iterator[pa.RecordBatch]:
            yield first
            yield from batches

        try:
            ds.write_dataset(
                all_batches(), os.path.join(self.folder, table), schema=schema, format=_PARQUET,
                file_options=_PARQUET.make_write_options(write_page_checksum=True),
                partitioning=hive if keys else None, use_threads=False,
                max_partitions=_ANY_NUMBER, max_open_files=_OPEN_FILES,
                basename_template=f"part-{number:06d}-{{i}}.parquet",
                existing_data_behavior="overwrite_or_ignore",
            )  # fmt: skip
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise DataError(
                f"The columns {schema.names} cannot be written as Parquet"
                f"{f' in folders by {list(keys)}' if keys else ''}: {str(error).splitlines()[0]}. "
                "Cast those columns, or leave them out."
            ) from error


def _places(part: Part, number: int, start: int) -> Callable[[int], str]:
    def where(row: int) -> str:
        place = getattr(part, "place", None)
        return f"row {start + row} of partition {number}" if place is None else place(start + row)

    return where


def _plain(batch: Batch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of a schema, in its types."""
    found = batch.to_arrow().select(schema.names)
    return found if found.schema.equals(schema) else found.cast(schema)
