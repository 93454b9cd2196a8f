"""A log in a file of JSON lines, for where there is no database."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from outgrow.errors import LogError
from outgrow.log.chain import chained
from outgrow.log.record import FIRST, Fact, Record, decode, encode
from outgrow.log.store import Query

_NAMES = [field.name for field in fields(Record) if field.name != "position"]
_HEAD = "outgrow.log"
"""The first line of a file: {"outgrow.log": name of the log}."""
_MARK = 1_000
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class JSONLinesStore:
    """Records as lines of a file, which is locked while one appends. A line without end does not count.

    Parameters
    ----------
    path : of the file; made with the folders above it.

    Raises
    ------
    LogError
        When it is no log, or the disk refuses.
    """

    origin = ""
    _read_only = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._marks = [0]
        """The bytes at which every thousandth known record begins, for who reads from the midst."""
        self._end = self._last = 0
        """Bytes and records of the file that are known; behind them is what others have written since."""
        self._ends: dict[str, tuple[int, str]] = {}
        """By origin, the number and digest of its last known record."""
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._opened()
            self._let_go = weakref.finalize(self, os.close, self._file)
        if self._read_only:
            self.last()
            return
        with self._writing():
            if not self._end:
                self._put(json.dumps({_HEAD: uuid.uuid4().hex}) + "\n")
                self._catch_up()

    def append(self, facts: Sequence[Fact]) -> list[Record]:
        """Write facts behind all others, all or none.

        Raises
        ------
        LogError
            When the disk refuses; nothing is left half-written.
        """
        with self._writing():
            last = self._ends.get(self.origin, (0, FIRST))
            return self._write(
                _record(fact, self.origin, number, previous, digest)
                for fact, number, previous, digest in chained(facts, self.origin, *last)
            )

    def add(self, records: Iterable[Record]) -> int:
        """Take over records of other logs; how many were new."""
        with self._writing():
            known = {origin: number for origin, (number, _) in self._ends.items()}
            return len(
                self._write(record for record in records if record.number > known.get(record.origin, 0))
            )

    def read(self, query: Query) -> Iterator[Record]:
        """Records in the order of their positions.

        Raises
        ------
        LogError
            When the file is damaged or gone.
        """
        with self._lock:
            start = self._start(min(query.after, self._last))
        chosen = (record for record, _ in self._lines(*start) if _fits(record, query))
        if query.limit is not None and query.latest:
            return iter(deque(chosen, maxlen=query.limit))
        return islice(chosen, query.limit)

    def last(self) -> int:
        """The position of the last record; 0 where there is none."""
        with self._lock:
            self._catch_up()
            return self._last

    def close(self) -> None:
        """Let go of the file."""
        self._let_go()

    def _opened(self) -> int:
        """The file, made if need be; for reading alone where this user or disk allows no more."""
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            if error.errno not in _READ_ONLY or not self.path.exists():
                raise
        self._read_only = True
        return os.open(self.path, os.O_RDONLY)

    def _lines(self, end: int, last: int) -> Iterator[tuple[Record, int]]:
        """The records behind a byte and a position, each with the byte at which it ends."""
        with self._explained(), self.path.open("rb") as file:
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                entry = self._parsed(line, last + 1)
                if _HEAD in entry:
                    self.origin = entry[_HEAD]
                    continue
                last += 1
                yield Record(last, **{name: entry[name] for name in _NAMES}), end

    def _parsed(self, line: bytes, position: int) -> dict[str, Any]:
        try:
            entry = decode(line.decode())
            if _HEAD in entry or set(entry) == set(_NAMES):
                return dict(entry)
        except (ValueError, TypeError):
            pass
        raise LogError(
            f"{self.path}, record {position}: {line[:60]!r} is no record of a log. "
            "Restore the log from a copy."
        )

    def _start(self, after: int) -> tuple[int, int]:
        """A byte at which a record begins that is not behind those wanted, and the position before it."""
        if 0 < after == self._last:
            return self._end, self._last
        mark = after // _MARK
        return self._marks[mark], mark * _MARK

    def _catch_up(self) -> None:
        """Take note of what others have written."""
        for record, end in self._lines(self._end, self._last):
            self._end, self._last = end, record.position
            if record.position % _MARK == 0:
                self._marks.append(end)
            self._ends[record.origin] = record.number, record.digest
        if not self._end and self.origin:
            self._end = self.path.read_bytes().index(b"\n") + 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone, and with what a writer that was killed left behind cut off."""
        if self._read_only:
            raise LogError(f"The log {self.path} may be read but not written here. Write as its owner.")
        with self._explained(), self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._catch_up()
                os.ftruncate(self._file, self._end)
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, records: Iterable[Record]) -> list[Record]:
        placed = [replace(record, position=self._last + i) for i, record in enumerate(records, start=1)]
        self._put("".join(map(_line, placed)))
        self._catch_up()
        return placed

    def _put(self, text: str) -> None:
        data = memoryview(text.encode())
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            os.ftruncate(self._file, self._end)
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except LogError:
            raise
        except OSError as error:
            raise LogError(
                f"The log {self.path} cannot be used: {error.strerror}. Check the path, and free the disk."
            ) from error


def _record(fact: Fact, origin: str, number: int, previous: str, digest: str) -> Record:
    body = decode(fact.text)
    named = (fact.time, fact.kind, fact.subject, body, fact.by, fact.cause)
    return Record(0, origin, number, *named, previous, digest)


def _line(record: Record) -> str:
    return encode({name: getattr(record, name) for name in _NAMES}) + "\n"


def _fits(record: Record, query: Query) -> bool:
    return (
        record.position > query.after
        and (not query.kinds or record.kind in query.kinds)
        and query.subject in (None, record.subject)
    )
