"""Rows of a Spark DataFrame in Arrow files, written by ordinary tasks, which the ranks of a fit map."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow._scratch import temporary_folder
from outgrow.data.batch import Batch
from outgrow.data.ipc import READ_ERRORS
from outgrow.data.paths import unreadable
from outgrow.data.scan import Scan, Where
from outgrow.data.source import Piece
from outgrow.engine.cache import chained, write_files
from outgrow.engine.events import Event, emit
from outgrow.engine.spark.frames import FrameSource, StreamPiece
from outgrow.engine.spark.vectors import VectorColumn, open_batch
from outgrow.errors import RankLostError

_FILE_BYTES = 16 << 20
"""About how large a file becomes: ranks share files out, and memory is planned for one of them at work."""

Written = Iterator[list[tuple[str, int]]]


@dataclass(frozen=True)
class StagedPiece:
    """A file with batches as Spark handed them over."""

    path: str
    nbytes: int
    vectors: Mapping[str, VectorColumn]

    @property
    def known_rows(self) -> None:
        return None

    def location(self, row: int) -> str:
        return f"row {row} of a part of the Spark DataFrame"

    def __str__(self) -> str:
        return "a part of the Spark DataFrame"

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`, without a copy.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.

        Raises
        ------
        DataError
            When the file is gone or damaged.
        """
        for batch in self._stored():
            if where is None and columns is not None:
                batch = batch.select(list(columns))
            found = open_batch(batch, self.vectors)
            if where is not None:
                found = Where(where)(found)
            yield found if columns is None else found.select(columns)

    def _stored(self) -> Iterator[pa.RecordBatch]:
        try:
            with pa.memory_map(self.path) as file:
                reader = pa.ipc.open_file(file)
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)
        except READ_ERRORS as error:
            raise unreadable(self.path, error) from error


class StagedSource:
    """The rows of a DataFrame as the pieces that its files are."""

    has_pieces = True

    def __init__(self, frame: FrameSource, files: Sequence[tuple[str, int]]) -> None:
        self.schema = frame.schema
        self._frame = frame
        self._pieces = [StagedPiece(path, size, frame.vectors) for path, size in files]

    def example(self) -> Batch:
        return self._frame.example()

    def pieces(self) -> Sequence[Piece]:
        return self._pieces

    def describe(self) -> dict[str, Any]:
        return self._frame.describe()


@dataclass(frozen=True)
class StageWriter:
    """Writes a partition as Spark hands it over; one that is tried again writes files of its own."""

    folder: str

    def __call__(self, number: int, part: StreamPiece) -> list[tuple[str, int]]:
        """The files with their sizes, in the order of the rows."""
        rows = (batch for batch in part.rows if batch.num_rows)
        first = next(rows, None)
        if first is None:
            return []
        names = write_files(self.folder, number, first.schema, chained(first, rows), _FILE_BYTES)
        paths = [os.path.join(self.folder, name) for name in names]
        return [(path, os.path.getsize(path)) for path in paths]


@contextmanager
def staged(
    scan: Scan, stage: str, folder: str | None, write: Callable[[Scan, StageWriter], Written]
) -> Iterator[Scan]:
    """The scan with the rows of a DataFrame in files, while the context lasts.

    Where they cannot be written the scan stays what it is, and its rows reach the ranks by a shuffle.

    Parameters
    ----------
    scan : of a DataFrame; others are handed back as they are.
    stage : what is under way, as events call it.
    folder : where a folder of the files is made, which all tasks reach; None where none is known.
    write : has a writer called for each partition of a scan, in tasks.
    """
    source = scan.source
    if folder is None or not isinstance(source, FrameSource):
        yield scan
        return
    frame = source.select(scan.columns_read() or source.schema.names)
    with ExitStack() as stack:
        try:
            place = stack.enter_context(temporary_folder("rows", folder))
            written = list(write(Scan(frame), StageWriter(str(place))))
            scan = replace(scan, source=StagedSource(frame, [file for files in written for file in files]))
        except (OSError, RankLostError) as error:
            stack.close()
            emit(Event(stage, "retry", 1, note=f"{error} The rows reach the ranks by a shuffle instead."))
        yield scan
