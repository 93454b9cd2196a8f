"""Rows for servers in a file of SQLite."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from outgrow.errors import DataError

_WAIT_SECONDS = 30.0
_KEYS_AT_ONCE = 500
_MAPPED_BYTES = 1 << 30
_META = "CREATE TABLE IF NOT EXISTS as_of (view TEXT PRIMARY KEY, moment INTEGER NOT NULL) WITHOUT ROWID"


class SQLiteOnlineStore:
    """A table for each view, ordered by key; readers go on while one process writes.

    Parameters
    ----------
    path : of the file, which is made.

    Raises
    ------
    DataError
        When it cannot be opened, or is no database.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._threads = threading.local()
        self._open: list[sqlite3.Connection] = []
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection.execute(_META)

    def put(self, view: str, rows: Iterable[tuple[bytes, bytes]]) -> int:
        """Write rows, each a key and its row, all or none; how many were given.

        Parameters
        ----------
        view : the name.
        rows : one that is older than what is there changes nothing.
        """
        newer = "row = excluded.row WHERE substr(excluded.row, 1, 16) >= substr({table}.row, 1, 16)"
        return self._write(view, rows, newer)

    def merge(
        self, view: str, rows: Iterable[tuple[bytes, bytes]], merged: Callable[[bytes | None, bytes], bytes]
    ) -> int:
        """Write what becomes of the rows that are there and others, all or none; how many were given.

        Parameters
        ----------
        view : the name.
        rows : each a key and its row; no key twice.
        merged : the new row, of the one that is there and the one given.
        """
        self._connection.create_function("merged", 2, merged)
        return self._write(view, rows, "row = merged({table}.row, excluded.row)")

    def _write(self, view: str, rows: Iterable[tuple[bytes, bytes]], change: str) -> int:
        table = _quoted(view)
        with self._explained(), self._connection as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
            )
            counted = itertools.count()
            connection.executemany(
                f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET "
                + change.format(table=table),
                (pair for pair, _ in zip(rows, counted, strict=False)),
            )
            return next(counted)

    def get(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows of keys, in their order; None for those that have none.

        Parameters
        ----------
        view : the name.
        keys : may hold one twice.
        """
        rows: dict[bytes, bytes] = {}
        with self._explained():
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, row FROM {_quoted(view)} WHERE key IN ({marks})"
                try:
                    rows.update(self._connection.execute(query, some))
                except sqlite3.OperationalError as error:
                    if "no such table" not in str(error):
                        raise
        return [rows.get(key) for key in keys]

    def as_of(self, view: str) -> int | None:
        """Up to which moment rows were materialised, in microseconds since 1970; None: never."""
        with self._explained():
            row = self._connection.execute("SELECT moment FROM as_of WHERE view = ?", [view]).fetchone()
        return None if row is None else int(row[0])

    def set_as_of(self, view: str, moment: int) -> None:
        """Note up to which moment rows were materialised.

        Parameters
        ----------
        view : the name.
        moment : microseconds since 1970.
        """
        with self._explained(), self._connection as connection:
            connection.execute("INSERT OR REPLACE INTO as_of VALUES (?, ?)", [view, moment])

    def drop(self, view: str) -> None:
        """Remove the rows of a view."""
        with self._explained(), self._connection as connection:
            connection.execute(f"DROP TABLE IF EXISTS {_quoted(view)}")
            connection.execute("DELETE FROM as_of WHERE view = ?", [view])

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._threads = threading.local()

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's own."""
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, check_same_thread=False)
            self._open.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
            self._threads.connection = connection
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"The online store {self.path} cannot be used: {error}. "
                "Give the path of one, and free the disk."
            ) from error


def _quoted(view: str) -> str:
    doubled = view.replace('"', '""')
    return f'"rows of {doubled}"'
