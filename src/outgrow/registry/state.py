"""What a store says now: by its log where that lies in its folder, and else by the file made of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from outgrow import pointers
from outgrow.errors import ArtifactError, LogError
from outgrow.log.event_log import JSON_LINES_FILE, EventLog
from outgrow.log.postgresql import without_password
from outgrow.log.record import Record
from outgrow.log.view import View
from outgrow.pointers import Pointers
from outgrow.registry.facts import KINDS, Facts


class StoreState:
    """The log of a store is the truth, and the file with the pointers a view of it, for those who follow.

    Where a log in the store's own folder has more than the file knows, as when a process was killed between
    the two, it is asked.

    Parameters
    ----------
    path : the store's folder.
    log : where its records are; None for the log that the file names, or the one in the folder.
    name : of the model in the log; None for what the file says, or the folder's name.
    """

    def __init__(self, path: Path, log: EventLog | None = None, name: str | None = None) -> None:
        self.path = path
        self._log = log
        self._name = name
        self._view: View[Facts] | None = None
        self._read_at: tuple[Pointers | None, int] = (None, -1)
        """What the file said, and how long the log in the folder was, when the log was read last."""
        self._read: Pointers | None = None

    @property
    def log(self) -> EventLog:
        """The log, which is made if there is none.

        Raises
        ------
        LogError
            When it cannot be opened or made.
        """
        if self._log is None:
            written = self.written()
            uri = None if written is None else written.log
            self._log = EventLog(self.path if uri is None else uri)
        return self._log

    @property
    def name(self) -> str:
        """The name of the model in the log."""
        written = self.written()
        return (None if written is None else written.name) or self._name or self.path.resolve().name

    @property
    def is_own(self) -> bool:
        """Whether the log lies in the folder."""
        if self._log is not None:
            return os.path.realpath(self._log.uri) == os.path.realpath(self.path)
        written = self.written()
        return written is None or written.log is None

    def written(self) -> Pointers | None:
        """What the file says; None where there is none, or it is damaged and the log is beside it.

        Raises
        ------
        ArtifactError
            When it is damaged, and there is nothing else.
        """
        try:
            return pointers.read(self.path)
        except ArtifactError:
            if self.size():
                return None
            raise

    def facts(self) -> Facts:
        """All that the log says; nothing where there is none."""
        if self.is_own and not self.size():
            return Facts()
        if self._view is None:
            name = None if self.is_own else self.name

            def step(facts: Facts, record: Record) -> Facts:
                return facts.take(record) if name in (None, record.subject) else facts

            self._view = View(self.log, KINDS, Facts, step)
        return self._view.now()

    def size(self) -> int:
        """Bytes of the log in the folder; 0 where there is none."""
        try:
            return (self.path / JSON_LINES_FILE).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def sync(self) -> None:
        """Wait until the disk has the log, where it lies in the folder."""
        if self.is_own and self.size():
            with (self.path / JSON_LINES_FILE).open("rb") as file, suppress(OSError):
                os.fsync(file.fileno())

    def pointers(self) -> Pointers | None:
        """What the aliases point to; None where this is no store.

        Raises
        ------
        ArtifactError
            When the file is damaged.
        """
        written = self.written()
        if not self.is_own or (size := self.size()) == (0 if written is None else written.size):
            return written
        if self._read_at != (written, size):
            self._read, self._read_at = self._from_log(written), (written, size)
        return self._read

    def _from_log(self, written: Pointers | None) -> Pointers | None:
        with suppress(LogError):  # it may be damaged, or not for this user to read: the file is what there is
            facts = self.facts()
            if written is None or facts.position > written.position:
                return self.of(facts)
        return written

    def of(self, facts: Facts, size: int = 0) -> Pointers:
        """What the file should say.

        Parameters
        ----------
        facts : all that the log says.
        size : of the log in the folder, before they were read.
        """
        uri = None if self.is_own else _lasting(self.log.uri)
        return Pointers(facts.aliases, self.name, uri, facts.position, size)


def _lasting(uri: str) -> str:
    """The URI of a log as it is written down: without a password, and for any working directory."""
    if "://" in uri and not uri.startswith("sqlite:///"):
        return without_password(uri)
    scheme, slashes, path = uri.rpartition("sqlite:///")
    return scheme + slashes + os.path.abspath(path)
