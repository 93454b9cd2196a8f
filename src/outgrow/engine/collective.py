"""How ranks of one fit talk: merge what each has folded, gather messages, broadcast one.

`Tcp` joins ranks in a binary tree: states merge on the way up in a fixed order, the answer comes back down
the same edges, so every rank continues with the same bits. Large arrays that add go in parts, of which the
first come down while the last go up. Messages are JSON and arrays: no pickle is read from a socket.
Silence has a deadline, and a rank that fails tells its neighbours before it leaves, who tell theirs, so that
all learn the first cause instead of a closed connection. Rows that change places go from each rank to each
(`mesh.py`), while the tree watches.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from outgrow.engine.frames import Message
from outgrow.engine.mesh import Mesh, Post
from outgrow.engine.peer import Cause, PeerConnection
from outgrow.errors import EngineError
from outgrow.stats.state import State, from_tree, merge, to_tree

LARGE = 1 << 17
"""Numbers from which an array crosses in parts. Not bytes: ranks whose types differ must agree on it."""

_PART = 1 << 17
"""Numbers of a part: few enough to stay in a core's cache between being received, added and sent on."""


class Communicator(Protocol):
    """The other ranks of a fit, as one rank sees them; `host` is the address at which they reach this one.

    Every rank must call the same methods in the same order. What is not promised: that a method returns on
    all ranks at the same time.
    """

    rank: int
    size: int
    host: str
    connects: bool
    """Whether each rank may have a connection to each other one."""

    def allreduce(self, state: Any) -> Any:
        """The merged states of all ranks, the same bits on each; None is the identity."""

    def gather(self, message: bytes) -> list[bytes]:
        """The messages of all ranks in their order, on every rank."""

    def broadcast(self, message: bytes | None) -> bytes:
        """The message of rank 0."""

    def exchange(self, fill: Callable[[Post], None], take: Callable[[Any], None]) -> None:
        """Messages from each rank to any other, as `Mesh.exchange` says: more than memory holds may cross.

        Parameters
        ----------
        fill : called with what posts a message to another rank.
        take : called with each message that comes.
        """

    def check(self) -> None:
        """Raise if another rank is known to have failed: called often while a rank works by itself."""


class Alone:
    """A fit of one rank."""

    rank = 0
    size = 1
    host = "127.0.0.1"
    connects = True

    def allreduce(self, state: Any) -> Any:
        return state

    def gather(self, message: bytes) -> list[bytes]:
        return [message]

    def broadcast(self, message: bytes | None) -> bytes:
        assert message is not None
        return message

    def exchange(self, fill: Callable[[Post], None], take: Callable[[Any], None]) -> None:
        """See `Communicator.exchange`.

        Parameters
        ----------
        fill, take : as there.
        """
        fill(lambda _, message: take(message))

    def check(self) -> None:
        return


@dataclass(frozen=True)
class LargeArray(State):
    """Stands for an array that adds, while ranks agree on its type: some may have none."""

    shape: tuple[int, ...]
    dtype: str

    def merge(self, other: LargeArray) -> LargeArray:
        assert self.shape == other.shape, f"arrays of shapes {self.shape} and {other.shape} do not add"
        return LargeArray(self.shape, np.promote_types(self.dtype, other.dtype).str)

    def array(self, own: np.ndarray | None) -> np.ndarray:
        """The array of this rank, in memory of its own where it may be written; zeros where it has none."""
        if own is None:
            return np.zeros(self.shape, self.dtype)
        return np.require(own, self.dtype, ["C_CONTIGUOUS", "WRITEABLE"])


def lifted(state: Any) -> Any:
    """A state with large arrays that add put aside."""
    if isinstance(state, tuple):
        return tuple(map(lifted, state))
    large = isinstance(state, np.ndarray) and state.size >= LARGE
    return LargeArray(state.shape, state.dtype.str) if large else state


class Tcp:
    """Ranks joined by sockets: `peers` holds those of the parent (rank - 1) // 2 and of the children.

    Attributes
    ----------
    failed : set once another rank is known to have failed; `cause` then says which and why.
    """

    connects = True

    def __init__(
        self,
        rank: int,
        size: int,
        peers: Mapping[int, socket.socket],
        deadline: float,
        hosts: Sequence[str] = (),
        secret: bytes = b"",
        ports: tuple[int, int] = (0, 0),
    ) -> None:
        hosts = hosts or ["127.0.0.1"] * size
        self.hosts = hosts
        self.secret = secret
        self.ports = ports
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
        return self._added(self._merged(lifted(state)), state)

    def gather(self, message: bytes) -> list[bytes]:
        held = {str(self.rank): message}
        for child in self._children:
            held |= self._receive(child).tree()
        if self._parent is not None:
            self._send(self._parent, Message.of(held))
        everything = self._down(Message.of(held) if self._parent is None else None).tree()
        return [everything[str(rank)] for rank in range(self.size)]

    def broadcast(self, message: bytes | None) -> bytes:
        found: bytes = self._down(Message.of(message) if self.rank == 0 else None).tree()
        return found

    def exchange(self, fill: Callable[[Post], None], take: Callable[[Any], None]) -> None:
        """See `Communicator.exchange`.

        Parameters
        ----------
        fill, take : as there.
        """
        Mesh(self).exchange(fill, take)

    def check(self) -> None:
        if self.cause is not None:
            raise self.cause.error()

    def abort(self, reason: str) -> None:
        """Tell the neighbours that this rank gives up, and why; they tell theirs."""
        self._fail(Cause(self.rank, self.host, reason))

    def lost(self, rank: int, reason: str) -> EngineError:
        """Why no more comes from a rank: the first cause that is known, else that it is lost.

        Parameters
        ----------
        rank : the other rank.
        reason : what was seen of it.
        """
        self._fail(Cause(rank, self.hosts[rank], reason, lost=True))
        return self._error(rank)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
        for line in self._lines.values():
            line.close()

    def _merged(self, state: Any) -> Any:
        for child in self._children:
            state = merge(state, from_tree(self._receive(child).tree()))
        if self._parent is not None:
            self._send(self._parent, Message.of(to_tree(state)))
        return from_tree(self._down(Message.of(to_tree(state)) if self._parent is None else None).tree())

    def _added(self, merged: Any, own: Any) -> Any:
        """What was merged, with the sums of the large arrays where it says which there are."""
        if isinstance(merged, tuple):
            parts = own or (None,) * len(merged)
            return tuple(self._added(each, part) for each, part in zip(merged, parts, strict=True))
        return self._sum(merged.array(own)) if isinstance(merged, LargeArray) else merged

    def _sum(self, whole: np.ndarray) -> np.ndarray:
        """The sum of an array over all ranks, in its place."""
        flat, landed = whole.reshape(-1), 0
        parts = [flat[start : start + _PART] for start in range(0, len(flat), _PART)]
        if self._parent is not None:
            self._lines[self._parent].land(flat.view(np.uint8))
        for part in parts:
            for child in self._children:
                part += self._receive(child).arrays[0].view(part.dtype)
            if self._parent is None:
                self._pass_down(part)
                continue
            self._told(self._parent, self._lines[self._parent].send_part(part))
            while landed < len(parts) and self._lines[self._parent].has_received():
                landed += self._land(parts[landed])
        while self._parent is not None and landed < len(parts):
            landed += self._land(parts[landed])
        return whole

    def _land(self, part: np.ndarray) -> int:
        assert self._parent is not None
        self._receive(self._parent)
        self._pass_down(part)
        return 1

    def _pass_down(self, part: np.ndarray) -> None:
        for child in self._children:
            self._told(child, self._lines[child].send_part(part))

    def _down(self, message: Message | None) -> Message:
        if message is None:
            assert self._parent is not None
            message = self._receive(self._parent)
        for child in self._children:
            self._send(child, message)
        return message

    def _send(self, rank: int, message: Message) -> None:
        self._told(rank, self._lines[rank].send(message))

    def _told(self, rank: int, heard: bool) -> None:
        if not heard:
            raise self._error(rank)

    def _receive(self, rank: int) -> Message:
        message = self._lines[rank].receive()
        if message is None:
            raise self._error(rank)
        return message

    def _error(self, rank: int) -> EngineError:
        return (self.cause or Cause(rank, self.hosts[rank], "has left before the end", lost=True)).error()

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
