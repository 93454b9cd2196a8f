"""What engines have in common whose fits are of several processes, and all else of this one alone."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, TypeVar

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.scan import Scan
from outgrow.engine.groups import Groups, Packing
from outgrow.engine.local import Local
from outgrow.engine.protocol import Table
from outgrow.engine.shard import Shard
from outgrow.errors import EngineError

T = TypeVar("T")


class OnLocal:
    """Hands every question but fits to `Local`.

    Attributes
    ----------
    local : how this process works on rows by itself.
    """

    holds = False
    needs_pieces = True
    local: Local

    @property
    def slots(self) -> int:
        """On how many threads this process works."""
        return self.local.slots

    @property
    def host(self) -> str:
        """The address of this process for itself."""
        return self.local.host

    @property
    def shared_folder(self) -> str:
        """Where this machine has temporary files."""
        return self.local.shared_folder

    def hold(self, scan: Scan, *, stage: str) -> Shard:
        """Not here: `holds` says so beforehand.

        Parameters
        ----------
        scan : not looked at.
        stage : what the message calls the work.

        Raises
        ------
        EngineError
            Always.
        """
        raise EngineError(f"{stage}: a fit is of several processes, and none holds rows for the next one.")

    def map(self, scan: Scan) -> Iterator[Batch]:
        """All batches of a scan, here."""
        return self.local.map(scan)

    def table(self, scan: Scan) -> pa.Table:
        """All rows of a scan as an Arrow table, here."""
        return self.local.table(scan)

    def digest(self, scan: Scan) -> str:
        """A hash of what is read, and how."""
        return self.local.digest(scan)

    def lasting_digest(self, scan: Scan) -> str:
        """A hash of what is read, and how; files count with their sizes and dates."""
        return self.local.lasting_digest(scan)

    def each_piece(
        self, scan: Scan, function: Callable[[int, Any], T], *, stage: str, skip: Container[int] = ()
    ) -> Iterator[T]:
        """As `Local.each_piece`, here, over all pieces.

        Parameters
        ----------
        scan, function, stage, skip : as there.
        """
        return self.local.each_piece(scan, function, stage=stage, skip=skip)

    def tasks(self, function: Callable[[int], T], count: int, *, stage: str) -> Iterator[T]:
        """As `Local.tasks`, here.

        Parameters
        ----------
        function, count, stage : as there.
        """
        return self.local.tasks(function, count, stage=stage)

    def map_groups(
        self,
        scan: Scan,
        packing: Packing,
        function: Callable[[Groups], Iterator[T]],
        *,
        stage: str,
        processes: bool = False,
    ) -> Iterator[T]:
        """As `Local.map_groups`, here, over all groups.

        Parameters
        ----------
        scan, packing, function, stage, processes : as there.
        """
        return self.local.map_groups(scan, packing, function, stage=stage, processes=processes)

    def query(self, query: str, tables: Mapping[str, Table]) -> Scan:
        """As `Local.query`, here.

        Parameters
        ----------
        query, tables : as there.
        """
        return self.local.query(query, tables)
