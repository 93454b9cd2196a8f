"""The engine of one end of a federation: fits are of all sites, everything else is of this one alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from outgrow.artifact import pack, unpack
from outgrow.data.batch import Batch
from outgrow.data.scan import Scan
from outgrow.engine.groups import Groups, Packing
from outgrow.engine.journal import Identity
from outgrow.engine.local import Local
from outgrow.engine.memory import available_bytes
from outgrow.engine.protocol import Engine, Table
from outgrow.engine.ranks.agreement import Agreement
from outgrow.engine.ranks.rank import FEW_BYTES, RankWork, facts, warn_again
from outgrow.engine.record import FitRecord, Fitted
from outgrow.engine.shard import Shard
from outgrow.errors import EngineError
from outgrow.federation.star import Coordinator, SiteLink

T = TypeVar("T")


class FederatedEngine:
    """Runs fits together with the other ends of a star.

    Parameters
    ----------
    comm : this end of it; the coordinator's has no rows.
    local : how this process works on its own rows.
    """

    name = "federated"
    holds = False
    needs_pieces = True

    def __init__(self, comm: Coordinator | SiteLink, local: Local | None = None) -> None:
        self.comm = comm
        self.local = local or Local()

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

    def fit(
        self,
        fit: Callable[[Shard], T],
        scan: Scan,
        *,
        stage: str = "fit",
        keep: bool = True,
        identity: Identity | None = None,
    ) -> Fitted[T]:
        """Run `fit` at every site over its rows; every end gets the result of the coordinator.

        Parameters
        ----------
        fit : called once at each end.
        scan : the rows of this one.
        stage : what is under way, as events, messages and the audit log call it.
        keep : hold the rows after the first pass, within the memory budget; else each pass reads them anew.
        identity : tells what is fitted, and how; all ends must agree.

        Raises
        ------
        PrivacyError
            When a site would have to send what may not leave it.
        RankLostError
            When a site, or the coordinator, is gone or stands still.
        """
        began, comm = time.perf_counter(), self.comm
        comm.stage = stage
        pieces = scan.pieces()
        try:
            agreement = Agreement.of(stage, scan, pieces, identity, same_rows=False)
            comm.agree(
                {
                    "task": agreement.fit,
                    "columns": agreement.columns,
                    "settings of the estimator": agreement.settings,
                }
            )
            budget = available_bytes() * 3 // 4
            few = sum(piece.nbytes for piece in pieces) <= FEW_BYTES
            folder = self.local.spill_dir or tempfile.gettempdir()
            work = RankWork(fit, stage, pieces, scan.example(), keep, [], self.slots, budget, folder, few)
            context = work.begin(comm, None)
            value, warned = work.run(context)
            packed = comm.finish(pack(value)) if isinstance(comm, Coordinator) else comm.finish()
        except BaseException as error:
            comm.abort(error)
            raise
        if comm.rank == 0:
            warn_again(warned, stacklevel=4)
        taken = facts(context)
        seconds = time.perf_counter() - began
        record = FitRecord(
            self.name, comm.size, 1, taken["passes"], seconds, None, taken["peak"], taken["spilled"]
        )
        return Fitted(unpack(packed), record)

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
        raise EngineError(f"{stage}: a fit is of all sites, and none holds rows for the next one.")

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
        """As `Local.each_piece`, here.

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
        """As `Local.map_groups`, here.

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

    def __repr__(self) -> str:
        return f"FederatedEngine({self.comm.host!r}, ranks={self.comm.size})"


if TYPE_CHECKING:
    _: Engine = FederatedEngine(Coordinator([]))
