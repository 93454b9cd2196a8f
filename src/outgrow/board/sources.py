"""What a board looks at, opened once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from outgrow.board.curves import Curves
from outgrow.log.event_log import EventLog


@dataclass(frozen=True)
class Sources:
    """The log, and what else there is to see.

    Attributes
    ----------
    log : of all that was done.
    stores : folders of versions of models.
    servers : URLs of servers, whose /metrics are read.
    curves : of the runs that were looked at last.
    """

    log: EventLog
    stores: Sequence[str] = ()
    servers: Sequence[str] = ()
    curves: Curves = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", Curves(self.log))
