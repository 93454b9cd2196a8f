"""How ranks of one fit talk: merge what each has folded, gather messages, broadcast one.

`Tcp` joins ranks in a binary tree: states merge on the way up in a fixed order, the answer comes back down
the same edges, so every rank continues with the same bits. Messages are the artifact's JSON and arrays: no
pickle is read from a socket. Silence has a deadline, and a rank that fails tells its neighbours before it
leaves, who tell theirs, so that all learn the first cause instead of a closed connection.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from outgrow.artifact import pack, unpack
from outgrow.engine.peer import Cause, PeerConnection
from outgrow.errors import EngineError
from outgrow.stats.state import from_tree, merge, to_tree


class Communicator(Protocol):
    """The other ranks of a fit, as one rank sees them; `host` is the address at which they reach this one.

    Every rank must call the same methods in the same order. What is not promised: that a method returns on
    all ranks at the same time.
    """

    rank: int
    size: int
    host: str

    def allreduce(self, state: Any) -> Any:
        """The merged states of all ranks, the same bits on each; None is the identity."""

    def gather(self, message: bytes) -> list[bytes]:
        """The messages of all ranks in their order, on every rank."""

    def broadcast(self, message: bytes | None) -> bytes:
        """The message of rank 0."""

    def check(self) -> None:
        """Raise if another rank is known to have failed: called often while a rank works by itself."""


class Alone:
    """A fit of one rank."""

    rank = 0
    size = 1
    host = "127.0.0.1"

    def allreduce(self, state: Any) -> Any:
        return state

    def gather(self, message: bytes) -> list[bytes]:
        return [message]

    def broadcast(self, message: bytes | None) -> bytes:
        assert message is not None
        return message

    def check(self) -> None:
        return


class Tcp:
    """Ranks joined by sockets: `peers` holds those of the parent (rank - 1) // 2 and of the children.

    Attributes
    ----------
    failed : set once another rank is known to have failed; `cause` then says which and why.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        peers: Mapping[int, socket.socket],
        deadline: float,
        hosts: Sequence[str] = (),
    ) -> None:
        hosts = hosts or ["127.0.0.1"] * size
        self.rank = rank
        self.host = hosts[rank]
        self.size = size
        self.deadline = deadline
        self.failed = threading.Event()
        self.cause: Cause | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._lines = {
            peer: PeerConnection(sock, peer, hosts[peer], deadline, self._fail)
            for peer, sock in peers.items()
        }
        self._parent = (rank - 1) // 2 if rank else None
        self._children = [child for child in (2 * rank + 1, 2 * rank + 2) if child < size]
        for line in self._lines.values():
            line.start()
        if self._lines:
            threading.Thread(target=self._beat, name="outgrow heartbeat", daemon=True).start()

    def allreduce(self, state: Any) -> Any:
        for child in self._children:
            state = merge(state, from_tree(unpack(self._receive(child))))
        if self._parent is not None:
            self._send(self._parent, pack(to_tree(state)))
        return from_tree(unpack(self._down(pack(to_tree(state)) if self._parent is None else None)))

    def gather(self, message: bytes) -> list[bytes]:
        held = {str(self.rank): message}
        for child in self._children:
            held |= unpack(self._receive(child))
        if self._parent is not None:
            self._send(self._parent, pack(held))
        everything = unpack(self._down(pack(held) if self._parent is None else None))
        return [everything[str(rank)] for rank in range(self.size)]

    def broadcast(self, message: bytes | None) -> bytes:
        return self._down(message if self.rank == 0 else None)

    def check(self) -> None:
        if self.cause is not None:
            raise self.cause.error()

    def abort(self, reason: str) -> None:
        """Tell the neighbours that this rank gives up, and why; they tell theirs."""
        self._fail(Cause(self.rank, self.host, reason))

    def close(self) -> None:
        with self._lock:
            self._closed.set()
        for line in self._lines.values():
            line.close()

    def _down(self, message: bytes | None) -> bytes:
        if message is None:
            assert self._parent is not None
            message = self._receive(self._parent)
        for child in self._children:
            self._send(child, message)
        return message

    def _send(self, rank: int, message: bytes) -> None:
        if not self._lines[rank].send(message):
            raise self._error(rank)

    def _receive(self, rank: int) -> bytes:
        message = self._lines[rank].receive()
        if message is None:
            raise self._error(rank)
        return message

    def _error(self, rank: int) -> EngineError:
        host = self._lines[rank].host
        return (self.cause or Cause(rank, host, "has left before the end", lost=True)).error()

    def _fail(self, cause: Cause) -> None:
        """Keep the first cause, pass it on before this rank can leave, and wake whoever waits."""
        with self._lock:
            if self.cause is not None or self._closed.is_set():
                return
            self.cause = cause
            for line in self._lines.values():
                line.abort(cause)
        self.failed.set()
        for line in self._lines.values():
            line.wake()

    def _beat(self) -> None:
        while not self._closed.wait(min(10.0, self.deadline / 4)):
            for line in self._lines.values():
                line.beat()
