"""What a log asks of the place where its records lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from outgrow.log.record import Fact, Record


@dataclass(frozen=True)
class Query:
    """Which records are wanted.

    Attributes
    ----------
    after : only those behind this position.
    kinds : only these; empty for all.
    subject : only about this; None for all.
    limit : at most so many; None for all.
    latest : the last ones rather than the first where there is a limit; still in order.
    """

    after: int = 0
    kinds: tuple[str, ...] = ()
    subject: str | None = None
    limit: int | None = None
    latest: bool = False


class Store(Protocol):
    """Records in order. Several processes may append at once; what `append` returned outlives its process.

    Not promised: that positions have no holes, or that the clocks of several origins agree.
    """

    origin: str
    """The name of this log, made when it was: records that are first written here bear it."""

    def append(self, facts: Sequence[Fact]) -> list[Record]:
        """Write facts behind all others, all or none, each chained to the one before."""

    def add(self, records: Iterable[Record]) -> int:
        """Take over records of other logs; those that are here already are passed over. How many were new."""

    def read(self, query: Query) -> Iterator[Record]:
        """Records in the order of their positions."""

    def last(self) -> int:
        """The position of the last record; 0 where there is none."""

    def close(self) -> None:
        """Let go of files and connections."""
