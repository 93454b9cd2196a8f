"""Messages from every rank to every other, over connections that last as long as one exchange.

The tree of a fit joins neighbours alone, and what it carries waits in memory until it is asked for: all rows
of a dataset would crowd its root. Here each pair of ranks is joined, by the same handshake, and who sends
waits for who reads. The tree still watches: once it knows of a rank that died or gave up, the exchange ends.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from outgrow.engine.frames import SILENT, Head, Message, send
from outgrow.engine.handshake import HandshakeListener, call, listening
from outgrow.errors import EngineError, OutgrowError

_ROWS, _END = range(2)
_TRIES = 64
"""Ports that are tried before none is taken to be free."""
_GLANCE = 0.1
"""Seconds between two looks at what the tree knows."""

Post = Callable[[int, Any], None]
"""Sends a rank a tree of values that `Message` can say; any thread may call it."""


class Joined(Protocol):
    """A rank in the tree that joins all of them."""

    rank: int
    size: int
    hosts: Sequence[str]
    secret: bytes
    ports: tuple[int, int]
    deadline: float
    failed: threading.Event

    def gather(self, message: bytes) -> list[bytes]: ...

    def check(self) -> None: ...

    def lost(self, rank: int, reason: str) -> EngineError:
        """Why no more comes from a rank.

        Parameters
        ----------
        rank : the other rank.
        reason : what was seen of it, where nothing else is known.
        """


class Mesh:
    """The connections of this rank to all others, for one exchange.

    Parameters
    ----------
    tree : what joins the ranks already; all of them make a mesh at the same point of a fit.

    Raises
    ------
    EngineError
        When another rank fails, or cannot be reached in time.
    """

    def __init__(self, tree: Joined) -> None:
        self._tree = tree
        self._lines = connected(tree)
        self._sending = {rank: threading.Lock() for rank in self._lines}
        self._torn: list[int] = []
        self._refused: list[BaseException] = []

    def exchange(self, fill: Callable[[Post], None], take: Callable[[Any], None]) -> None:
        """Send what `fill` posts, take what the others send, and return when all have said everything.

        Parameters
        ----------
        fill : called once with what posts a message. An `OutgrowError` of its own is raised here once the
            others have said all they had to, so that ranks stay in step.
        take : called with each message that comes, on several threads; it must not wait for another rank.

        Raises
        ------
        EngineError
            When another rank fails or falls silent: within the deadline of the tree.
        """
        done = threading.Event()
        readers = [threading.Thread(target=self._read, args=(rank, take)) for rank in self._lines]
        watch = threading.Thread(target=self._watch, args=(done,), daemon=True)
        for thread in (*readers, watch):
            thread.start()
        try:
            try:
                fill(self._post)
            except OutgrowError as error:
                self._tree.check()
                self._refused.append(error)
            for rank in self._lines:
                self._send(rank, _END, SILENT)
            for reader in readers:
                reader.join()
        finally:
            done.set()
            self._cut()
            for reader in readers:
                reader.join()
            for line in self._lines.values():
                line.close()
        if self._torn:
            raise self._lost(self._torn[0])
        if self._refused:
            raise self._refused[0]

    def _post(self, rank: int, tree: Any) -> None:
        self._send(rank, _ROWS, Message.of(tree))

    def _send(self, rank: int, kind: int, message: Message) -> None:
        try:
            with self._sending[rank]:
                send(self._lines[rank], kind, message)
        except OSError as error:
            raise self._lost(rank) from error

    def _read(self, rank: int, take: Callable[[Any], None]) -> None:
        """Take what a rank sends; after an error, let the rest pass by, so that it need not wait."""
        try:
            with self._lines[rank].makefile("rb") as stream:
                while (head := Head.read(stream)) is not None:
                    message = Message.read(head, stream)
                    if head.kind == _END:
                        return
                    self._taken(message, take)
        except (OSError, ValueError):
            pass  # the tree says why
        self._torn.append(rank)

    def _taken(self, message: Message, take: Callable[[Any], None]) -> None:
        if self._refused:
            return
        try:
            take(message.tree())
        except Exception as error:
            self._refused.append(error)

    def _lost(self, rank: int) -> EngineError:
        """Why the connection to a rank broke: what the tree learns within its deadline, else just that."""
        self._tree.failed.wait(self._tree.deadline)
        return self._tree.lost(rank, "broke off an exchange of rows")

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(_GLANCE):
            if self._tree.failed.is_set():
                self._cut()
                return

    def _cut(self) -> None:
        """Let nobody wait at these connections any more."""
        for line in self._lines.values():
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was first


def connected(tree: Joined) -> dict[int, socket.socket]:
    """A connection to each other rank: this one calls those before it, and is called by those behind.

    Parameters
    ----------
    tree : what joins the ranks already; all of them call this at the same point of a fit.

    Raises
    ------
    EngineError
        When another rank fails, or cannot be reached in time.
    """
    secret = hashlib.sha256(tree.secret + b"exchange").digest()
    listener = _listening(tree.hosts[tree.rank], tree.ports)
    lines: dict[int, socket.socket] = {}
    try:
        said = tree.gather(struct.pack("<H", listener.getsockname()[1]))
        ports = [struct.unpack("<H", port)[0] for port in said]
        until = time.monotonic() + tree.deadline
        for rank in range(tree.rank):
            lines[rank] = _reached(tree, rank, ports[rank], secret, until)
        with HandshakeListener(listener, secret) as callers:
            while len(lines) < tree.size - 1:
                _answer(tree, callers, lines, until)
    except BaseException:
        for line in lines.values():
            line.close()
        raise
    finally:
        listener.close()
    for line in lines.values():
        line.settimeout(None)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return lines


def _listening(host: str, ports: tuple[int, int]) -> socket.socket:
    low, high = ports
    for _ in range(_TRIES):
        try:
            return listening(host, low + secrets.randbelow(high - low))
        except OSError:
            continue
    raise EngineError(
        f"No free port was found on {host} from {low} to {high}. Choose others with ports=(low, high)."
    )


def _reached(tree: Joined, rank: int, port: int, secret: bytes, until: float) -> socket.socket:
    host = tree.hosts[rank]
    while time.monotonic() < until:
        tree.check()
        line = call((host, port), tree.rank, secret, timeout=max(0.1, min(10.0, until - time.monotonic())))
        if line is not None:
            return line
        time.sleep(0.01)
    raise EngineError(
        f"Rank {tree.rank} did not reach rank {rank} on {host} at port {port} to exchange rows. Are the "
        "ports between executors open? Choose others with og.Spark(session, ports=(low, high))."
    )


def _answer(tree: Joined, callers: HandshakeListener, lines: dict[int, socket.socket], until: float) -> None:
    """Take the next caller; one that calls again has not heard the first answer."""
    tree.check()
    try:
        rank, line = callers.next(min(until, time.monotonic() + 1.0))
    except TimeoutError:
        if time.monotonic() < until:
            return
        missing = [f"{rank} on {tree.hosts[rank]}" for rank in range(tree.size) if rank not in lines]
        raise EngineError(
            f"Rank(s) {', '.join(missing)} did not reach this one to exchange rows. Are the ports between "
            "executors open?"
        ) from None
    if rank in lines:
        lines[rank].close()
    lines[rank] = line
