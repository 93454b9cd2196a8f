"""The engine of one end of a federation: fits are of all sites, everything else is of this one alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from outgrow.artifact import pack, unpack
from outgrow.data.scan import Scan
from outgrow.engine.journal import Identity
from outgrow.engine.local import Local
from outgrow.engine.memory import available_bytes
from outgrow.engine.on_local import OnLocal
from outgrow.engine.protocol import Engine
from outgrow.engine.ranks.agreement import Agreement
from outgrow.engine.ranks.rank import FEW_BYTES, RankWork, facts, warn_again
from outgrow.engine.record import FitRecord, Fitted
from outgrow.engine.shard import Shard
from outgrow.federation.star import Coordinator, SiteLink

T = TypeVar("T")


class FederatedEngine(OnLocal):
    """Runs fits together with the other ends of a star.

    Parameters
    ----------
    comm : this end of it; the coordinator's has no rows.
    local : how this process works on its own rows.
    """

    name = "federated"

    def __init__(self, comm: Coordinator | SiteLink, local: Local | None = None) -> None:
        self.comm = comm
        self.local = local or Local()

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
            context.tells_paces = False  # how many rows a site has is its own affair
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
        return Fitted(_with_personal(unpack(packed), value), record)

    def __repr__(self) -> str:
        return f"FederatedEngine({self.comm.host!r}, ranks={self.comm.size})"


def _with_personal(learned: Any, here: Any) -> Any:
    """What the coordinator learned, with the layers that this end keeps for itself."""
    if isinstance(learned, list) and isinstance(here, list) and len(learned) == len(here):
        return [_with_personal(*pair) for pair in zip(learned, here, strict=True)]
    if not isinstance(learned, dict) or not isinstance(here, dict):
        return learned
    merged = {name: _with_personal(value, here.get(name)) for name, value in learned.items()}
    for name in merged.get("personal_", ()):
        merged["weights_"][name] = here["weights_"][name]
    return merged


if TYPE_CHECKING:
    _: Engine = FederatedEngine(Coordinator([]))
