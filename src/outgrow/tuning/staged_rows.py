"""The rows of a search, once on each machine: an Arrow file that all its workers map into memory."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow._scratch import PREFIX, READING, USING, sweep
from outgrow.data.batch import Batch

_FILE = "rows.arrow"


@dataclass(frozen=True)
class StagedRows:
    """Rows that are still to be read.

    Attributes
    ----------
    pieces : what reads them, anywhere.
    schema : of the rows.
    change : what is made of all of them before they are stored; None where they stay as they are.
    """

    pieces: Sequence[Any]
    schema: pa.Schema
    change: Any = None

    def write(self, path: Path) -> None:
        """Write the rows as an Arrow file."""
        batches = (batch.to_arrow() for piece in self.pieces for batch in piece.batches())
        if self.change is not None:
            table = self.change(pa.Table.from_batches(batches, self.schema).combine_chunks())
            batches, schema = iter(table.to_batches()), table.schema
        else:
            schema = self.schema
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


@contextmanager
def on_this_machine(name: str, rows: StagedRows | None) -> Iterator[tuple[Path, bool]]:
    """A folder that the workers of a search share on this machine, with the rows in it.

    Parameters
    ----------
    name : of the search: workers that give the same name share the folder.
    rows : what is written there if no other worker has done so; None for none.

    Yields
    ------
    The folder, and whether it was this call that read the rows. The last to leave removes the folder.
    """
    sweep()
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{name}"
    with _locked(folder, READING, fcntl.LOCK_EX):
        folder.mkdir(mode=0o700, exist_ok=True)  # the last one may just have removed it
        users = os.open(folder / USING, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(users, fcntl.LOCK_SH)
        reads = rows is not None and not (folder / _FILE).exists()
        if reads:
            assert rows is not None
            rows.write(folder / f".{_FILE}")
            (folder / f".{_FILE}").rename(folder / _FILE)
    try:
        yield folder, reads
    finally:
        with _locked(folder, READING, fcntl.LOCK_EX):
            if _alone(users):
                shutil.rmtree(folder, ignore_errors=True)
        os.close(users)


@contextmanager
def _locked(folder: Path, name: str, kind: int) -> Iterator[None]:
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, kind)
        yield
    finally:
        os.close(lock)


def _alone(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def mapped(folder: Path) -> pa.Table | None:
    """The rows in such a folder, mapped into memory."""
    path = folder / _FILE
    if not path.exists():
        return None
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def as_batch(table: pa.Table) -> Batch:
    """All rows of a table as one batch."""
    batches = table.combine_chunks().to_batches()
    return Batch.from_arrow(batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema))
