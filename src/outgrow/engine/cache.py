"""Rows that are computed once, and then read from files."""

from __future__ import annotations

import atexit
import os
import secrets
import threading
from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow._scratch import temporary_folder
from outgrow.data.batch import Batch
from outgrow.data.files import FilesSource, open_files
from outgrow.data.scan import Apply, Scan
from outgrow.data.text import TextOptions
from outgrow.engine.kept import KeptRows, kept_name, kept_rows
from outgrow.engine.protocol import Engine
from outgrow.engine.stored_matrices import StoredMatrices
from outgrow.errors import ParameterError
from outgrow.storage import disk_errors, working_folder

FILE_BYTES = 64 << 20
"""About how large a file becomes: ranks share files out, and each is read whole."""


@dataclass(frozen=True, eq=False)
class CachedScan:
    """The files with the rows of a scan, and what removes them.

    `origin`, the scan whose rows they are, lives as long: what tells it from others is not used again.
    `kept` are files that stay when the process ends.
    """

    origin: Scan
    scan: Scan
    folder: ExitStack
    kept: KeptRows | None = None

    def remove(self) -> None:
        """Remove the files."""
        if self.kept is not None:
            self.kept.remove()
        self.folder.close()

    def close(self) -> None:
        """Remove the files, unless they are kept."""
        if self.kept is not None:
            self.kept.close()
        self.folder.close()


_cached: dict[Hashable, CachedScan] = {}
_lock = threading.Lock()


def cached(
    engine: Engine,
    scan: Scan,
    folder: str | os.PathLike[str] | None,
    *,
    keep: bool = False,
    max_bytes: int | None = None,
) -> Scan:
    """The rows of a scan as files, which the first call for these rows in this process writes.

    Parameters
    ----------
    engine : who writes them, and reads them later.
    scan : the rows; a scan of files without steps is handed back as it is.
    folder : where the folder of the files is made, and it itself; None for the engine's `shared_folder`. Rows
        that are cached already stay where they are.
    keep : the files stay for later sessions, in `folder`, and are found there by what the rows are.
    max_bytes : of all that is kept there; see `kept_rows`.

    Raises
    ------
    ParameterError
        When no folder is known that all who work reach, it is none of a file system, or rows cannot be kept.
    StorageError
        When the disk refuses; nothing is left behind.
    """
    if isinstance(scan.source, FilesSource) and not scan.steps:
        return scan
    place = engine.shared_folder if folder is None else os.fspath(folder)
    if place is None:
        raise ParameterError(
            "No folder is known that this process and all executors reach. Give one: cache(folder)."
        )
    place = str(working_folder(place))
    key = _key(engine, scan)
    with _lock:
        if key not in _cached:
            _cached[key] = _kept(engine, scan, place, max_bytes) if keep else _written(engine, scan, place)
        return _cached[key].scan


def found(engine: Engine, scan: Scan) -> Scan:
    """The scan over the files with the rows of its source, where `cached` wrote those; else as it is.

    Parameters
    ----------
    engine : who reads.
    scan : of any source; only one without pieces is looked for.
    """
    if not _cached or scan.source.has_pieces:
        return scan
    key = _key(engine, Scan(scan.source))
    with _lock:
        files = _cached.get(key)
    if files is None:
        return scan
    return replace(scan, source=files.scan.source, steps=(*files.scan.steps, *scan.steps))


def forget(engine: Engine, scan: Scan) -> None:
    """Remove the files that `cached` gave for these rows; nothing happens where there are none.

    Parameters
    ----------
    engine : as for `cached`.
    scan : what `cached` was given, or of what it gave.
    """
    if not _cached:
        return
    own = [key for key, rows in _cached.items() if rows.scan.source is scan.source]
    with _lock:
        for key in own or [_key(engine, scan)]:
            if key in _cached:
                _cached.pop(key).remove()


@atexit.register
def _forget_all() -> None:
    with _lock:
        while _cached:
            _cached.popitem()[1].close()


def _unlock() -> None:
    """In a fork nobody holds the lock that a thread of its parent may have held."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock)


def _key(engine: Engine, scan: Scan) -> Hashable:
    """What tells rows from others: plan, schema and inputs; functions are those very ones."""
    functions = tuple(id(step.function) for step in scan.steps if isinstance(step, Apply))
    return engine.digest(scan), scan.describe()["sha256"], functions


def _written(engine: Engine, scan: Scan, place: str) -> CachedScan:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("cache", place))
        files = _write(engine, scan, folder)
        return CachedScan(scan, _read(scan, folder, files), stack.pop_all())


def _kept(engine: Engine, scan: Scan, place: str, max_bytes: int | None) -> CachedScan:
    rows = kept_rows(Path(place), kept_name(engine, scan), partial(_write, engine, scan), max_bytes)
    return CachedScan(scan, _read(scan, rows.path, rows.files), ExitStack(), rows)


def _write(engine: Engine, scan: Scan, folder: Path) -> list[str]:
    """Put the rows of a scan into files of a folder; their names, in the order of the rows."""
    example = scan.example()
    matrices = StoredMatrices.of(example)
    writer = CacheWriter(str(folder), matrices.to_arrow(example).schema, matrices)
    parts = sorted(engine.each_piece(scan, writer, stage="cache"))
    return [name for _, names in parts for name in names] or writer.write(0, iter([]))


def _read(scan: Scan, folder: Path, files: list[str]) -> Scan:
    """The rows of a scan from the files that hold them."""
    source = open_files([str(folder / name) for name in files], "ipc", TextOptions())
    matrices = StoredMatrices.of(scan.example())
    return Scan(source) if matrices.as_read else Scan(source, (Apply(matrices, scan.schema),))


@dataclass(frozen=True)
class CacheWriter:
    """Writes the rows of a piece as Arrow IPC files; a piece that is tried again writes files of its own."""

    folder: str
    schema: pa.Schema
    matrices: StoredMatrices
    file_bytes: int = FILE_BYTES

    def __call__(self, number: int, part: Any) -> tuple[int, list[str]]:
        """The number of the piece, and the names of its files."""
        batches: Iterator[Batch] = part.batches()
        rows = (
            self.matrices.to_arrow(batch).select(self.schema.names).cast(self.schema) for batch in batches
        )
        first = next(rows, None)
        return number, [] if first is None else self.write(number, chained(first, rows))

    def write(self, number: int, batches: Iterator[pa.RecordBatch]) -> list[str]:
        """The names of the files with the batches of a piece; see `write_files`.

        Parameters
        ----------
        number : of the piece; the names of its files begin with it.
        batches : its rows, in the schema.
        """
        return write_files(self.folder, number, self.schema, batches, self.file_bytes)


def write_files(
    folder: str,
    number: int,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    file_bytes: int = FILE_BYTES,
) -> list[str]:
    """Write at least one Arrow IPC file, and another whenever one is full.

    Parameters
    ----------
    folder : where the files go.
    number : what their names begin with.
    schema : of all batches.
    batches : the rows; where there are none, the one file has no rows.
    file_bytes : at how many bytes a file is full.

    Returns
    -------
    The names of the files, in the order of the rows.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    names: list[str] = []
    batch = next(batches, None)
    with disk_errors(Path(folder)):
        while batch is not None or not names:
            names.append(f"{number:06d}-{len(names):04d}-{secrets.token_hex(4)}.arrow")
            size = 0
            with pa.ipc.new_file(os.path.join(folder, names[-1]), schema) as file:
                while batch is not None and size < file_bytes:
                    file.write_batch(batch)
                    size += batch.nbytes
                    batch = next(batches, None)
    return names


def chained(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A batch, and then others.

    Parameters
    ----------
    first, others : in this order.
    """
    yield first
    yield from others
