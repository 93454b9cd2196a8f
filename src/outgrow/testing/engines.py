"""The same rows on different engines and partitionings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local


@dataclass(frozen=True)
class EngineCase:
    """A way to hold rows.

    Attributes
    ----------
    name : for the test's id.
    open : makes a dataset of an Arrow table.
    """

    name: str
    open: Callable[[pa.Table], Dataset]

    def __repr__(self) -> str:
        return self.name


def local_case() -> EngineCase:
    """This machine, all rows in one piece, one thread."""
    return EngineCase("local", lambda table: Dataset(Scan(TableSource(table)), Local(threads=1)))


def pieces_case(pieces: int, threads: int = 2) -> EngineCase:
    """This machine, the rows in several pieces.

    Parameters
    ----------
    pieces : how many; fewer where there are fewer rows.
    threads : that read them.
    """

    def open_pieces(table: pa.Table) -> Dataset:
        rows = max(1, -(-table.num_rows // pieces))
        return Dataset(Scan(TableSource(table, rows)), Local(threads=threads))

    return EngineCase(f"local-{pieces}-pieces", open_pieces)
