"""Writing to a log from the midst of other work: at once, in order, and without ever failing it."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from outgrow.errors import LogError, LogWarning, OutgrowError
from outgrow.log.record import Fact
from outgrow.log.store import Store

PAUSE_SECONDS = 0.25
"""How long what was written waits at most; a process that is killed loses no more."""
_LONGEST_PAUSE_SECONDS = 30.0
_MOST = 200_000
"""Facts that wait for a log that is away; past it the oldest go."""
_BATCH = 5_000


class LogWriter:
    """Keeps facts until a thread appends them, in their order.

    While the log is away they wait, and it is tried again after pauses that double; a warning says so once.
    `close` tries a last time, and warns of what is lost.

    Parameters
    ----------
    store : of the log.
    name : of the log, for warnings.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._waiting: deque[Fact] = deque()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._lost = 0
        self._problem: str | None = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="outgrow-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def is_forked(self) -> bool:
        """Whether this is a fork of the process that writes, with neither its thread nor a connection."""
        return os.getpid() != self._process

    def append(
        self,
        kind: str,
        subject: str,
        body: Mapping[str, Any] | None = None,
        *,
        by: str,
        cause: str | None = None,
    ) -> None:
        """Write a fact, soon; its time is now.

        Parameters
        ----------
        kind, subject, body, by, cause : as of `EventLog.append`.
        """
        if self.is_forked:
            self._complain(
                f"This process was forked from one that records in {self._name}, and records nothing there. "
                "Call og.track.stop() and og.track.start() in it."
            )
            return
        try:
            fact = Fact.of(time.time(), kind, subject, body or {}, by, cause)
        except OutgrowError as error:
            self._complain(f"A record was not written: {error}")
            return
        if len(self._waiting) >= _MOST:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(fact)

    def flush(self) -> bool:
        """Append what waits now; whether nothing waits any more. A fork leaves it to its parent."""
        if self.is_forked:
            return True
        with self._flushing:
            while self._waiting:
                batch = [self._waiting[i] for i in range(min(len(self._waiting), _BATCH))]
                try:
                    self._store.append(batch)
                except LogError as error:
                    self._complain(f"{error} What is to be recorded waits.")
                    return False
                for _ in batch:
                    self._waiting.popleft()
            self._problem = None
            return True

    def close(self) -> None:
        """Append what waits, and end; a fork leaves that to its parent."""
        if self._closed or self.is_forked:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_LONGEST_PAUSE_SECONDS)
        self.flush()
        lost = self._lost + len(self._waiting)
        if lost:
            self._complain(f"{lost:,} records for {self._name} are lost: it could not be written.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._wake.wait(pause):
            pause = PAUSE_SECONDS if self.flush() else min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _complain(self, problem: str) -> None:
        """Say it once, as long as it stays the same."""
        if problem != self._problem:
            self._problem = problem
            warnings.warn(problem, LogWarning, stacklevel=3)
