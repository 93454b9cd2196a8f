"""What a log says now: a fold of its records, kept up to date."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from outgrow.log.record import Record

T = TypeVar("T")


class Readable(Protocol):
    """What a view asks of a log."""

    def since(self, after: int = 0, *, kinds: tuple[str, ...] = ()) -> Iterator[Record]:
        """The records behind a position.

        Parameters
        ----------
        after : the position; 0 for all.
        kinds : only these.
        """


class View(Generic[T]):
    """A fold of the records of some kinds; each look goes on behind the last record that is known.

    It is never the truth: a new view of the same log is the same.

    Parameters
    ----------
    log : the log.
    kinds : which records count.
    start : makes what there is without any record.
    step : takes a record in: what there is then.
    """

    def __init__(
        self, log: Readable, kinds: tuple[str, ...], start: Callable[[], T], step: Callable[[T, Record], T]
    ) -> None:
        self._log, self._kinds, self._step = log, kinds, step
        self._value = start()
        self._position = 0
        self._lock = threading.Lock()

    def now(self) -> T:
        """What all records until now say."""
        with self._lock:
            for record in self._log.since(self._position, kinds=self._kinds):
                self._value = self._step(self._value, record)
                self._position = record.position
            return self._value
