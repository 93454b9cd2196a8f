"""Where the driver hears of a barrier job while it runs: progress, merged states, and why it failed."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import Any

from outgrow.engine.events import Event, emit
from outgrow.engine.frames import Head, Message, send
from outgrow.engine.handshake import HandshakeListener, call
from outgrow.errors import ArtifactError

_BEAT, _MESSAGE = range(2)
_FLUSH = 5.0
_TRIES = 3


class DriverServer:
    """Listens on `host` for the ranks of one job; a context manager.

    Attributes
    ----------
    address : where ranks call; None when the driver has no address that they could reach.
    secret : what ranks must know to be heard.
    failure : what the rank that failed first said of it, or None.
    started : rank 0 has called.
    """

    def __init__(self, host: str | None, secret: bytes, known: list[bytes]) -> None:
        self.address: tuple[str, int] | None = None
        self.failure: dict[str, Any] | None = None
        self.started = False
        self._states = dict(enumerate(known))
        self.secret = secret
        self._heard: float | None = None
        self._failed: float | None = None
        self._done = threading.Event()
        self._lines: list[threading.Thread] = []
        self._server: socket.socket | None = None
        try:
            self._server = None if host is None else socket.create_server((host, 0))
        except OSError:
            return  # the address is not of this machine: progress comes with the result alone
        if self._server is not None:
            self.address = self._server.getsockname()[:2]

    def __enter__(self) -> DriverServer:
        if self._server is not None:
            self._thread = threading.Thread(target=self._serve, args=(self._server,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._server is not None:
            with suppress(OSError):  # ends the wait for a call at once, where the system does so
                self._server.shutdown(socket.SHUT_RDWR)
            self._thread.join(timeout=_FLUSH)
            self._server.close()

    def states(self) -> list[bytes]:
        """The states that were merged so far, in their order."""
        found: list[bytes] = []
        while len(found) in self._states:
            found.append(self._states[len(found)])
        return found

    def silence(self) -> float:
        """Seconds since rank 0, which calls all the time, was last heard; 0 while it is not on the line."""
        return 0.0 if self._heard is None else time.monotonic() - self._heard

    def failed_for(self) -> float:
        """Seconds since a rank told that it failed or that another is lost; 0 while all go on."""
        return 0.0 if self._failed is None else time.monotonic() - self._failed

    def settle(self) -> None:
        """Wait for what ranks that have failed are still saying."""
        until = time.monotonic() + 1.0
        for line in self._lines:
            line.join(max(0.0, until - time.monotonic()))

    def _serve(self, server: socket.socket) -> None:
        with HandshakeListener(server, self.secret) as callers:
            while not self._done.is_set():
                try:
                    found = callers.next(time.monotonic() + 0.2)
                except TimeoutError:
                    continue
                except OSError:
                    return
                line = threading.Thread(target=self._hear, args=found, daemon=True)
                line.start()
                self._lines.append(line)  # after the start: `settle` joins what is here

    def _hear(self, rank: int, line: socket.socket) -> None:
        line.settimeout(None)
        self.started = True
        with suppress(OSError, ArtifactError), line, line.makefile("rb") as stream:  # a line that breaks off
            while (head := Head.read(stream)) is not None:
                if rank == 0:
                    self._heard = time.monotonic()
                if head.kind == _MESSAGE:
                    self._take(Message.read(head, stream).tree())
        if rank == 0:
            self._heard = None

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.pop("kind")
        if kind == "event":
            emit(Event(**message))
        elif kind == "state":
            self._states[message["place"]] = message["entry"]
        elif kind == "failure" and self.failure is None:
            self.failure = message
            self._failed = time.monotonic()


class DriverClient:
    """A rank's line to the hub, on a thread of its own: telling never makes a fit wait.

    Without a hub, or when it cannot be reached, what is told is dropped.
    """

    def __init__(self, hub: tuple[str, int] | None, rank: int, secret: bytes, *, beat: float) -> None:
        self._messages: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._beat = beat
        self._thread: threading.Thread | None = None
        if hub is not None:
            self._thread = threading.Thread(target=self._run, args=(hub, rank, secret), daemon=True)
            self._thread.start()

    def event(self, event: Event) -> None:
        self._messages.put({"kind": "event", **asdict(event)})

    def state(self, place: int, entry: bytes) -> None:
        """Tell a merged state, so that a fit that loses ranks need not compute it again.

        Parameters
        ----------
        place : its number in the journal, from 0.
        entry : as the journal packed it.
        """
        self._messages.put({"kind": "state", "place": place, "entry": entry})

    def failure(self, cause: dict[str, Any]) -> None:
        self._messages.put({"kind": "failure", **cause})

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        if self._thread is not None:
            self._messages.put(None)
            self._thread.join(_FLUSH)

    def _run(self, hub: tuple[str, int], rank: int, secret: bytes) -> None:
        tries = (call(hub, rank, secret, timeout=2.0) for _ in range(_TRIES))
        line = next((line for line in tries if line is not None), None)
        if line is None:
            return
        with line:
            line.settimeout(_FLUSH)
            try:
                self._tell(line)
            except OSError:
                return  # the driver hears no more

    def _tell(self, line: socket.socket) -> None:
        while True:
            try:
                message = self._messages.get(timeout=self._beat)
            except Empty:
                send(line, _BEAT)
                continue
            if message is None:
                return
            send(line, _MESSAGE, Message.of(message))
