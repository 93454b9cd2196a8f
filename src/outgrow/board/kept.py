"""What records of a log make up, kept up to date with it and lent to one reader at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from outgrow.log.event_log import EventLog
from outgrow.log.record import Record

T = TypeVar("T")


class Kept(Generic[T]):
    """A value that takes records in.

    Parameters
    ----------
    log : the log.
    kinds : which records count.
    value : what there is without any record.
    take : changes the value by a record.
    """

    def __init__(
        self, log: EventLog, kinds: tuple[str, ...], value: T, take: Callable[[T, Record], object]
    ) -> None:
        self._log, self._kinds, self._value, self._take = log, kinds, value, take
        self._lock = threading.Lock()
        self._position = 0

    @contextmanager
    def now(self) -> Iterator[T]:
        """The value with what was written until now; nobody else changes it inside the block."""
        with self._lock:
            for record in self._log.since(self._position, kinds=self._kinds):
                self._position = record.position
                self._take(self._value, record)
            yield self._value
