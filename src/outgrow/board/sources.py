"""What a board looks at, opened once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from outgrow.board.curves import Curves
from outgrow.board.kept import Kept
from outgrow.board.models import WatchedModel, watched_models
from outgrow.board.registered import Registered
from outgrow.board.servers import Servers
from outgrow.log.event_log import EventLog
from outgrow.monitor.monitor import folder_beside
from outgrow.monitor.windows import WindowFiles
from outgrow.provenance.graph import Lineage
from outgrow.provenance.records import KINDS, LogFold


@dataclass(frozen=True)
class Sources:
    """The log, and what else there is to see.

    Attributes
    ----------
    log : of all that was done.
    stores : folders of versions of models.
    servers : URLs of servers, whose /metrics are read.
    states : the folder of the counts of windows; beside the log by default.
    curves : of the runs that were looked at last.
    watched, registered, lineage : what the log says of models that are watched, of versions, and of what
        came of what.
    serving : what the servers say.
    """

    log: EventLog
    stores: Sequence[str] = ()
    servers: Sequence[str] = ()
    states: str | None = None
    curves: Curves = field(init=False)
    watched: Kept[dict[str, WatchedModel]] = field(init=False)
    registered: Registered = field(init=False)
    lineage: Kept[Lineage] = field(init=False)
    serving: Servers = field(init=False)

    def __post_init__(self) -> None:
        views = {
            "curves": Curves(self.log),
            "watched": watched_models(self.log),
            "registered": Registered(self.log, self.stores),
            "lineage": _lineage(self.log),
            "serving": Servers(self.servers),
        }
        for name, view in views.items():
            object.__setattr__(self, name, view)

    @cached_property
    def window_files(self) -> WindowFiles:
        """The counts of windows, and the references they are held against."""
        return WindowFiles(folder_beside(self.log) if self.states is None else Path(self.states))


def _lineage(log: EventLog) -> Kept[Lineage]:
    graph = Lineage()
    fold = LogFold(graph)
    return Kept(log, KINDS, graph, lambda _, record: fold.take(record))
