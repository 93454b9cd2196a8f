"""A log in an SQLite database."""

from __future__ import annotations

import sqlite3
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from outgrow.errors import LogError
from outgrow.log.chain import chained
from outgrow.log.record import FIRST, Fact, Record
from outgrow.log.rows import record_of, row_of, schema, select, values_of
from outgrow.log.store import Query

_WAIT_SECONDS = 30.0
"""How long a write waits for another process that writes."""
_SCHEMA = schema("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER", "REAL")
_INSERT = """
INSERT OR IGNORE INTO records (origin, number, time, kind, subject, body, author, cause, previous, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class SQLiteStore:
    """Records as rows of a table; readers go on while one process writes (write-ahead log).

    Parameters
    ----------
    path : of the file; made with the folders above it.

    Raises
    ------
    LogError
        When it is no database, or the disk refuses.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._let_go = weakref.finalize(self, self._database.close)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self.origin = self._begin()

    def _begin(self) -> str:
        """The log's name; the tables are made by whoever comes first."""
        with self._writing() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            row = database.execute("SELECT name FROM origin").fetchone()
            if row is None:
                row = (uuid.uuid4().hex,)
                database.execute("INSERT INTO origin VALUES (?)", row)
            return str(row[0])

    def append(self, facts: Sequence[Fact]) -> list[Record]:
        """Write facts behind all others, all or none.

        Raises
        ------
        LogError
            When the disk refuses, or another process does not let go of the log.
        """
        with self._explained(), self._writing() as database:
            last = database.execute(
                "SELECT number, digest FROM records WHERE origin = ? ORDER BY number DESC LIMIT 1",
                (self.origin,),
            ).fetchone()
            written = []
            for fact, number, previous, digest in chained(facts, self.origin, *(last or (0, FIRST))):
                row = (self.origin, number, *values_of(fact), previous, digest)
                position = database.execute(_INSERT, row).lastrowid
                written.append(record_of((position, *row)))
            return written

    def add(self, records: Iterable[Record]) -> int:
        """Take over records of other logs; how many were new."""
        with self._explained(), self._writing() as database:
            before = database.total_changes
            database.executemany(_INSERT, map(row_of, records))
            return database.total_changes - before

    def read(self, query: Query) -> Iterator[Record]:
        """Records in the order of their positions.

        Raises
        ------
        LogError
            When the file is damaged or gone.
        """
        text, values = select(query, "?")
        with self._explained(), self._lock, closing(self._database.execute(text, values)) as cursor:
            rows = cursor.fetchall()
        return map(record_of, reversed(rows) if query.latest else rows)

    def last(self) -> int:
        """The position of the last record; 0 where there is none."""
        with self._explained(), self._lock:
            (position,) = self._database.execute("SELECT max(position) FROM records").fetchone()
        return position or 0

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._let_go()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which no other process's crosses."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LogError(
                f"The log {self.path} cannot be used: {error}. Give the path of a log, and free the disk."
            ) from error
        except OSError as error:
            raise LogError(f"The log {self.path} cannot be used: {error.strerror}.") from error
