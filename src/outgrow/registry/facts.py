"""What the log of a store says: its versions, and where each alias pointed when. A fold of the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from outgrow.errors import ParameterError
from outgrow.log.record import Record
from outgrow.pointers import Pointer

ADDED, TAGGED, MOVED = "model.added", "model.tagged", "alias.moved"
KINDS = (ADDED, TAGGED, MOVED)
"""The records that count."""


@dataclass(frozen=True)
class Move:
    """An alias was set, moved or deleted.

    Attributes
    ----------
    position : of the record in the log. Moves happened in this order, whatever the clocks said.
    time : when, by the clock of who did it (UTC).
    alias : which one.
    before, version : where it pointed, and where it points since; None for nowhere.
    percent : the share of the requests that it answers since; None where nothing was said.
    by : who did it.
    why, run, data : what was said of it: a reason, the run that made the model, the rows it learned from.
    evidence : what led to it, such as the digest of a gate's record.
    rollback : whether it went back to an earlier version, away from those after it.
    """

    position: int
    time: datetime
    alias: str
    before: int | None
    version: int | None
    percent: float | None
    by: str
    why: str | None
    run: str | None
    data: Any
    evidence: str | None
    rollback: bool = False


@dataclass(frozen=True)
class VersionInfo:
    """What is known of a version.

    Attributes
    ----------
    number : of the version.
    time, by : when and by whom it was added; None where nobody wrote it down.
    why, run, data, evidence : as of `Move`.
    metrics : by name, as they were given, or as its run says.
    tags, description : as they are now.
    digest : SHA-256 of its structure, which has the checksums of all else.
    aliases : those that point to it.
    there : whether its folder is there.
    """

    number: int
    time: datetime | None = None
    by: str | None = None
    why: str | None = None
    run: str | None = None
    data: Any = None
    evidence: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    digest: str | None = None
    aliases: tuple[str, ...] = ()
    there: bool = True


@dataclass
class Facts:
    """All that the records say.

    Attributes
    ----------
    versions : by number.
    moves : in their order.
    position : of the last record.
    """

    versions: dict[int, VersionInfo] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    position: int = 0

    def take(self, record: Record) -> Facts:
        """Take a record in."""
        body, self.position = record.body, record.position
        if record.kind == MOVED:
            self.moves.append(_move(record))
        elif record.kind == ADDED:
            number = int(body["version"])
            self.versions[number] = _added(record, number)
        else:
            number = int(body["version"])
            info = self.versions.get(number, VersionInfo(number))
            tags = {**info.tags, **body.get("tags", {})}
            self.versions[number] = replace(
                info,
                tags={key: value for key, value in tags.items() if value is not None},
                description=body.get("description", info.description),
            )
        return self

    @property
    def aliases(self) -> dict[str, Pointer]:
        """Where each alias points now."""
        return aliases_after(self.moves)

    def at(self, when: datetime) -> dict[str, Pointer]:
        """Where each alias pointed at a time.

        The order is the log's: what stands before a record that was there, was there. So a clock that was
        ahead for a while hides nothing.

        Raises
        ------
        ParameterError
            When the log begins later.
        """
        count = max((i for i, move in enumerate(self.moves, start=1) if move.time <= when), default=0)
        if not count:
            began = f"The first move is of {moment(self.moves[0].time)}" if self.moves else "There is no move"
            raise ParameterError(f"Nothing is known of {moment(when)}. {began}.")
        return aliases_after(self.moves[:count])


def aliases_after(moves: Iterable[Move]) -> dict[str, Pointer]:
    """Where each alias points after some moves."""
    aliases: dict[str, Pointer] = {}
    for move in moves:
        if move.version is None:
            aliases.pop(move.alias, None)
        else:
            aliases[move.alias] = Pointer(str(move.version), move.percent)
    return aliases


def kept_versions(moves: Iterable[Move]) -> list[int]:
    """The versions that an alias could go back to, in order, and last the one it came to stay at.

    A move back leaves the versions after the one it goes to: they are none to go back to.

    Parameters
    ----------
    moves : those of one alias.
    """
    kept: list[int] = []
    for move in moves:
        if move.version is None:
            continue
        if move.rollback and move.version in kept:
            while kept[-1] != move.version:
                kept.pop()
        elif kept[-1:] != [move.version]:
            kept.append(move.version)
    return kept


def moment(when: datetime) -> str:
    """A time as people read it."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _time(record: Record) -> datetime:
    return datetime.fromtimestamp(record.time, UTC)


def _move(record: Record) -> Move:
    body = record.body
    where = (body["alias"], body.get("from"), body.get("to"), body.get("percent"))
    rollback = bool(body.get("rollback", False))  # records of before it was written down have none
    return Move(record.position, _time(record), *where, record.by, *_notes(record), rollback)


def _added(record: Record, number: int) -> VersionInfo:
    body = record.body
    metrics, tags = body.get("metrics") or {}, body.get("tags") or {}
    more = (metrics, tags, body.get("description"), body.get("digest"))
    return VersionInfo(number, _time(record), record.by, *_notes(record), *more)


def _notes(record: Record) -> tuple[str | None, str | None, Any, str | None]:
    body = record.body
    return body.get("why"), body.get("run"), body.get("data"), record.cause
