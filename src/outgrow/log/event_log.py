"""The log as users have it: opened by URI, appended to, read, verified, merged."""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from outgrow.errors import ParameterError
from outgrow.log import chain
from outgrow.log.json_lines import JSONLinesStore
from outgrow.log.postgresql import PostgreSQLStore, without_password
from outgrow.log.record import Fact, Record
from outgrow.log.sqlite import SQLiteStore
from outgrow.log.store import Query, Store
from outgrow.log.writer import LogWriter

JSON_LINES_FILE = "records.jsonl"
_DATABASE = (".db", ".sqlite", ".sqlite3")


class EventLog:
    """A log of records that are appended and never changed, each chained to the one before by its digest.

    Parameters
    ----------
    uri : where it lies. ``sqlite:///ops.db`` or a path that ends in .db, .sqlite or .sqlite3 is an SQLite
        database, ``postgresql://user@host/name`` a PostgreSQL one (extra `track`), a path that ends in .jsonl
        a file of JSON lines, any other path a folder with one. What is not there is made.

    Raises
    ------
    LogError
        When it cannot be opened or made.

    Examples
    --------
    >>> import tempfile, outgrow as og
    >>> log = og.EventLog(tempfile.mkdtemp() + "/ops.db")
    >>> record = log.append("alias.moved", "late", {"alias": "champion", "to": 3}, by="ada")
    >>> [(r.position, r.kind, r.body["to"]) for r in log.since(0)]
    [(1, 'alias.moved', 3)]
    >>> log.verify()
    1
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = os.fspath(uri)
        self.store: Store = open_store(self.uri)

    @property
    def origin(self) -> str:
        """The name of this log, made when it was."""
        return self.store.origin

    def append(
        self,
        kind: str,
        subject: str,
        body: Mapping[str, Any] | None = None,
        *,
        by: str | None = None,
        cause: str | None = None,
    ) -> Record:
        """Write a fact; it is there for all readers when this returns.

        Parameters
        ----------
        kind : one of `outgrow.log.record.KINDS`.
        subject : what it is about: a run's id, a model's name.
        body : what it says; JSON, and NumPy's numbers.
        by : who says so; the user and host if not given.
        cause : what led to it, such as the digest of another record.

        Returns
        -------
        The record, with its place and digest.

        Raises
        ------
        LogError
            When it cannot be written; nothing was.
        ParameterError
            When there is no such kind, or the body is not JSON.

        Examples
        --------
        >>> import tempfile, outgrow as og
        >>> og.EventLog(tempfile.mkdtemp()).append("finding", "late", {"psi": 0.3}).number
        1
        """
        fact = Fact.of(time.time(), kind, subject, body or {}, by or author(), cause)
        (record,) = self.store.append([fact])
        return record

    def since(
        self,
        after: int = 0,
        *,
        kinds: Iterable[str] = (),
        subject: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """The records behind a position, in their order.

        Parameters
        ----------
        after : the position of the last record that is known; 0 for all.
        kinds : only these; all if empty.
        subject : only about this.
        limit : at most so many.

        Examples
        --------
        >>> import tempfile, outgrow as og
        >>> list(og.EventLog(tempfile.mkdtemp()).since(0))
        []
        """
        return self.store.read(Query(after, tuple(kinds), subject, limit))

    def latest(self, count: int, *, kinds: Iterable[str] = (), subject: str | None = None) -> list[Record]:
        """The last records, in their order.

        Parameters
        ----------
        count : how many at most.
        kinds, subject : as of `since`.

        Examples
        --------
        >>> import tempfile, outgrow as og
        >>> log = og.EventLog(tempfile.mkdtemp())
        >>> for number in range(3):
        ...     _ = log.append("finding", "late", {"number": number})
        >>> [record.body["number"] for record in log.latest(2)]
        [1, 2]
        """
        return list(self.store.read(Query(0, tuple(kinds), subject, count, latest=True)))

    def last(self) -> int:
        """The position of the last record; 0 where there is none."""
        return self.store.last()

    def verify(self) -> int:
        """Check that no record was changed, removed or put in; how many there are.

        Raises
        ------
        LogError
            Naming the first record that is not what was written.
        """
        return chain.verify(self.since(0))

    def merge(self, other: EventLog) -> int:
        """Take over the records of another log, such as one that was written offline; how many were new.

        Records keep their origin and digest, so merging again changes nothing.

        Examples
        --------
        >>> import tempfile, outgrow as og
        >>> offline, shared = og.EventLog(tempfile.mkdtemp()), og.EventLog(tempfile.mkdtemp() + "/ops.db")
        >>> _ = offline.append("finding", "late")
        >>> shared.merge(offline), shared.merge(offline), shared.verify()
        (1, 0, 1)
        """
        return self.store.add(other.since(0))

    def writer(self) -> LogWriter:
        """A writer that returns at once and never raises: a thread appends four times a second."""
        return LogWriter(self.store, repr(self))

    def close(self) -> None:
        """Let go of files and connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EventLog({without_password(self.uri)!r})"


def open_store(uri: str) -> Store:
    """The store at a URI; see `EventLog`."""
    if uri.startswith(("postgresql://", "postgres://")):
        return PostgreSQLStore(uri)
    if uri.startswith("sqlite:///"):
        return SQLiteStore(uri.removeprefix("sqlite:///"))
    if not uri or re.match(r"[a-z][a-z0-9+.-]*:/", uri):
        raise ParameterError(
            f"No log can be opened at {without_password(uri)!r}. Give sqlite:///ops.db, "
            "postgresql://user@host/name, or the path of a file or folder."
        )
    path = Path(uri).expanduser()
    if path.suffix in _DATABASE:
        return SQLiteStore(path)
    return JSONLinesStore(path if path.suffix == ".jsonl" else path / JSON_LINES_FILE)


@cache
def author() -> str:
    """Who writes: the user and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
