"""A log in a PostgreSQL database."""

from __future__ import annotations

import re
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from outgrow._optional import optional
from outgrow.errors import LogError
from outgrow.log.chain import chained
from outgrow.log.record import FIRST, Fact, Record
from outgrow.log.rows import record_of, row_of, schema, select, values_of
from outgrow.log.store import Query

_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 30
_LOCK = 0x6F757467726F77
"""The advisory lock of whoever writes: "outgrow" in bytes."""
_SCHEMA = schema("BIGSERIAL PRIMARY KEY", "BIGINT", "DOUBLE PRECISION")
_INSERT = (
    "INSERT INTO records (origin, number, time, kind, subject, body, author, cause, previous, digest) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


class PostgreSQLStore:
    """Records as rows of a table; a connection that broke is made anew at the next call.

    Parameters
    ----------
    uri : as libpq takes it: postgresql://user@host/database.

    Raises
    ------
    LogError
        When the server does not answer, or refuses.
    """

    def __init__(self, uri: str) -> None:
        self._psycopg = optional("psycopg", "postgresql")
        self._uri = uri
        self._lock = threading.Lock()
        self._connection: Any = None
        with self._writing() as cursor:
            cursor.execute(_SCHEMA)
            row = cursor.execute("SELECT name FROM origin").fetchone()
            if row is None:
                row = (uuid.uuid4().hex,)
                cursor.execute("INSERT INTO origin VALUES (%s)", row)
            self.origin = str(row[0])

    def append(self, facts: Sequence[Fact]) -> list[Record]:
        """Write facts behind all others, all or none.

        Raises
        ------
        LogError
            When the server does not answer, or refuses.
        """
        with self._writing() as cursor:
            last = cursor.execute(
                "SELECT number, digest FROM records WHERE origin = %s ORDER BY number DESC LIMIT 1",
                (self.origin,),
            ).fetchone()
            rows = [
                (self.origin, number, *values_of(fact), previous, digest)
                for fact, number, previous, digest in chained(facts, self.origin, *(last or (0, FIRST)))
            ]
            if not rows:
                return []
            cursor.executemany(_INSERT, rows)
            first = rows[0][1]
            positions = cursor.execute(
                "SELECT position FROM records WHERE origin = %s AND number >= %s ORDER BY number",
                (self.origin, first),
            ).fetchall()
        return [record_of((position, *row)) for (position,), row in zip(positions, rows, strict=True)]

    def add(self, records: Iterable[Record]) -> int:
        """Take over records of other logs; how many were new."""
        rows = [row_of(record) for record in records]
        if not rows:
            return 0
        with self._writing() as cursor:
            cursor.executemany(f"{_INSERT} ON CONFLICT (origin, number) DO NOTHING", rows)
            return int(cursor.rowcount)

    def read(self, query: Query) -> Iterator[Record]:
        """Records in the order of their positions.

        Raises
        ------
        LogError
            When the server does not answer.
        """
        text, values = select(query, "%s")
        with self._cursor() as cursor:
            rows = cursor.execute(text, values).fetchall()
        return map(record_of, reversed(rows) if query.latest else rows)

    def last(self) -> int:
        """The position of the last record; 0 where there is none."""
        with self._cursor() as cursor:
            (position,) = cursor.execute("SELECT max(position) FROM records").fetchone()
        return position or 0

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """One transaction, which no other process's crosses: positions appear in their order."""
        with self._cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield cursor

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with self._lock:
            try:
                connection = self._connected()
                with connection.transaction(), connection.cursor() as cursor:
                    yield cursor
            except self._psycopg.Error as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise LogError(
                    f"The log at {without_password(self._uri)} cannot be used: {reason}. "
                    "Check that the server runs and lets this user in."
                ) from error

    def _connected(self) -> Any:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = self._psycopg.connect(
                self._uri,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                options=f"-c statement_timeout={_STATEMENT_SECONDS * 1000}",
            )
            weakref.finalize(self, self._connection.close)
        return self._connection


def without_password(uri: str) -> str:
    """A URI as it may be printed."""
    scheme, bar, rest = uri.partition("://")
    user, at, host = rest.rpartition("@")
    host = re.sub(r"password=[^&]*&?", "", host).rstrip("&?")
    return f"{scheme}{bar}{user.partition(':')[0]}{at}{host}"
