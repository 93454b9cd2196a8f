"""How ranks of one fit talk: merge what each has folded, gather messages, broadcast one.

`Tcp` joins ranks in a binary tree: states merge on the way up in a fixed order, the answer comes back down
the same edges, so every rank continues with the same bits. Messages are the artifact's JSON and arrays: no
pickle is read from a socket. Every wait has a deadline, and a rank that fails tells its neighbours before it
leaves, so the others learn the first cause instead of a closed connection.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from outgrow.artifact import pack, unpack
from outgrow.errors import EngineError
from outgrow.stats.state import from_tree, merge, to_tree

_ABORT = (1 << 64) - 1


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


class Tcp:
    """Ranks joined by sockets: `peers` holds those of the parent (rank - 1) // 2 and of the children."""

    def __init__(
        self,
        rank: int,
        size: int,
        peers: Mapping[int, socket.socket],
        deadline: float,
        host: str = "127.0.0.1",
    ) -> None:
        self.rank = rank
        self.host = host
        self.size = size
        self.deadline = deadline
        self._peers = dict(peers)
        self._parent = (rank - 1) // 2 if rank else None
        self._children = [child for child in (2 * rank + 1, 2 * rank + 2) if child < size]
        self._aborted = False
        for peer in self._peers.values():
            peer.settimeout(deadline)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

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

    def abort(self, reason: str) -> None:
        """Tell the neighbours that this rank gives up, and why; they tell theirs."""
        if self._aborted:
            return
        self._aborted = True
        text = json.dumps({"rank": self.rank, "reason": reason}).encode()
        frame = _ABORT.to_bytes(8, "little") + len(text).to_bytes(8, "little") + text
        self._tell_all(frame)

    def close(self) -> None:
        for peer in self._peers.values():
            peer.close()

    def _down(self, message: bytes | None) -> bytes:
        if message is None:
            assert self._parent is not None
            message = self._receive(self._parent)
        for child in self._children:
            self._send(child, message)
        return message

    def _tell_all(self, frame: bytes) -> None:
        for peer in self._peers.values():
            try:
                peer.settimeout(1.0)
                peer.sendall(frame)
            except OSError:
                continue  # that neighbour has left already: there is nobody to tell

    def _send(self, rank: int, message: bytes) -> None:
        try:
            self._peers[rank].sendall(len(message).to_bytes(8, "little"))
            self._peers[rank].sendall(message)
        except OSError as error:
            self._check_for_abort(rank)
            raise self._lost(rank, error) from error

    def _receive(self, rank: int) -> bytes:
        try:
            length = int.from_bytes(self._exactly(rank, 8), "little")
            if length == _ABORT:
                self._forward_abort(rank)
            return self._exactly(rank, length)
        except OSError as error:
            raise self._lost(rank, error) from error

    def _exactly(self, rank: int, length: int) -> bytes:
        parts, missing = bytearray(length), length
        view = memoryview(parts)
        while missing:
            got = self._peers[rank].recv_into(view[length - missing :])
            if not got:
                raise ConnectionResetError("the connection was closed")
            missing -= got
        return bytes(parts)

    def _check_for_abort(self, rank: int) -> None:
        """A peer that cannot be written to may have said why."""
        try:
            if int.from_bytes(self._exactly(rank, 8), "little") == _ABORT:
                self._forward_abort(rank)
        except OSError:
            return  # it said nothing

    def _forward_abort(self, rank: int) -> None:
        length = int.from_bytes(self._exactly(rank, 8), "little")
        text = self._exactly(rank, length)
        self._aborted = True
        self._tell_all(_ABORT.to_bytes(8, "little") + length.to_bytes(8, "little") + text)
        cause = json.loads(text)
        raise PeerFailedError(cause["rank"], cause["reason"])

    def _lost(self, rank: int, error: OSError) -> EngineError:
        if isinstance(error, TimeoutError):
            fact = f"did not answer within {self.deadline:g} s"
        else:
            fact = f"is gone ({error})"
        return EngineError(f"Rank {rank} {fact}, as seen by rank {self.rank}. Look at that executor's log.")


class PeerFailedError(EngineError):
    """Another rank failed first; it reports the cause itself."""

    def __init__(self, rank: int, reason: str) -> None:
        super().__init__(f"Rank {rank} failed: {reason}")
        self.rank = rank
        self.reason = reason
