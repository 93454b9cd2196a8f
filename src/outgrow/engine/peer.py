"""One connection to another rank: whole messages, heartbeats, and what it means when they stop.

A thread reads all the time, so a rank that is busy with its rows still hears at once that another has failed,
and never holds up one that sends. Each side sends a heartbeat when it has nothing else to say: silence for
the length of the deadline means that the other process stands still or its host is gone, however long a pass
may take.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from outgrow.errors import EngineError, RankLostError

_HEAD = struct.Struct("<BQ")
_MESSAGE, _BEAT, _ABORT, _GOODBYE = range(4)
_CHUNK = 4 << 20


@dataclass(frozen=True)
class Cause:
    """Why a fit cannot go on: the first rank that failed, or that fell silent or left.

    Attributes
    ----------
    rank, host : of that rank.
    reason : what it raised, or what was seen of it.
    lost : it did not say so itself: its process or host is gone, or stands still.
    """

    rank: int
    host: str
    reason: str
    lost: bool = False

    def error(self) -> EngineError:
        if self.lost:
            return RankLostError(
                f"Rank {self.rank} on {self.host} {self.reason}. Look at that executor's log.",
                rank=self.rank,
                host=self.host,
            )
        return PeerFailedError(self)


class PeerFailedError(EngineError):
    """Another rank failed first; it reports the cause itself."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"Rank {cause.rank} on {cause.host} failed: {cause.reason}")
        self.rank = cause.rank
        self.reason = cause.reason


class PeerConnection:
    """A connection to the rank `rank` on `host`.

    `failed` is called once, from the reading thread, with the cause why nothing more will come.
    """

    def __init__(
        self, peer: socket.socket, rank: int, host: str, deadline: float, failed: Callable[[Cause], None]
    ) -> None:
        self.rank = rank
        self.host = host
        self._deadline = deadline
        self._peer = peer
        self._failed = failed
        self._inbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._sending = threading.Lock()
        self._left = False
        peer.settimeout(deadline)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name=f"outgrow rank {self.rank}", daemon=True).start()

    def send(self, message: bytes) -> bool:
        """Send a whole message; False when the other side is not there to take it."""
        try:
            with self._sending:
                self._peer.sendall(_HEAD.pack(_MESSAGE, len(message)) + message[:_CHUNK])
                for start in range(_CHUNK, len(message), _CHUNK):
                    self._peer.sendall(message[start : start + _CHUNK])
        except OSError as error:
            self._fail(error)
            return False
        return True

    def receive(self) -> bytes | None:
        """The next message, waited for; None when there will be no other."""
        return self._inbox.get()

    def beat(self) -> None:
        """Say that this process is alive, unless something is being said already."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            poll = select.poll()
            poll.register(self._peer, select.POLLOUT)
            if poll.poll(0):
                self._peer.sendall(_HEAD.pack(_BEAT, 0))
        except (OSError, ValueError):
            return  # closed; the reading thread finds out why
        finally:
            self._sending.release()

    def abort(self, cause: Cause) -> None:
        """Tell the other side why this rank gives up, if it still listens."""
        self._say(_ABORT, json.dumps(vars(cause)).encode())

    def wake(self) -> None:
        """Let a waiting `receive` return."""
        self._inbox.put(None)

    def close(self) -> None:
        """Say goodbye; the connection ends once the other side has done so too."""
        self._left = True
        self._say(_GOODBYE, b"")
        try:
            self._peer.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side has ended it already

    def _say(self, kind: int, body: bytes) -> None:
        if not self._sending.acquire(timeout=1.0):
            return  # a message is stuck on its way: nobody reads there
        try:
            self._peer.sendall(_HEAD.pack(kind, len(body)) + body)
        except OSError:
            return  # nobody is left to tell
        finally:
            self._sending.release()

    def _read(self) -> None:
        try:
            with self._peer, self._peer.makefile("rb") as stream:
                while True:
                    kind, length = _HEAD.unpack(_exactly(stream, _HEAD.size))
                    body = _exactly(stream, length)
                    if kind == _MESSAGE:
                        self._inbox.put(body)
                    elif kind == _ABORT:
                        self._failed(Cause(**json.loads(body)))
                    elif kind == _GOODBYE:
                        self._inbox.put(None)
                        return
        except (OSError, ValueError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._left:
            return
        if isinstance(error, TimeoutError):
            reason = f"did not answer within {self._deadline:g} s"
        else:
            reason = f"is gone ({error or type(error).__name__})"
        self._failed(Cause(self.rank, self.host, reason, lost=True))


def _exactly(stream: object, length: int) -> bytes:
    body = stream.read(length)  # type: ignore[attr-defined]
    if len(body) < length:
        raise ConnectionResetError("the connection was closed")
    return bytes(body)
