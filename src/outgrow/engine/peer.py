"""One connection to another rank: whole messages, heartbeats, and what it means when they stop.

A thread reads all the time, so a rank that is busy with its rows still hears at once that another has failed,
and never holds up one that sends. Each side sends a heartbeat when it has nothing else to say: silence for
the length of the deadline means that the other process stands still or its host is gone, however long a pass
may take.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from outgrow.engine.frames import SILENT, Head, Message, read_into, send
from outgrow.errors import EngineError, RankLostError

_MESSAGE, _BEAT, _ABORT, _GOODBYE, _PART = range(5)
_NOWHERE = np.empty(0, np.uint8)


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
                f"Rank {self.rank} on {self.host} {self.reason}. Look at the log of that process.",
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


class Inbox(Protocol):
    """Where messages go as they come; None once there will be no other."""

    def put(self, message: Message | None) -> None: ...


class PeerConnection:
    """A connection to the rank `rank` on `host`.

    `failed` is called once, from the reading thread, with the cause why nothing more will come. Messages wait
    for `receive`, unless an inbox of the caller's own takes them.
    """

    def __init__(
        self,
        peer: socket.socket,
        rank: int,
        host: str,
        deadline: float,
        failed: Callable[[Cause], None],
        inbox: Inbox | None = None,
    ) -> None:
        self.rank = rank
        self.host = host
        self._deadline = deadline
        self._peer = peer
        self._failed = failed
        self._waiting: SimpleQueue[Message | None] = SimpleQueue()
        self._inbox: Inbox = self._waiting if inbox is None else inbox
        self._landing = _NOWHERE
        self._sending = threading.Lock()
        self._left = False
        peer.settimeout(deadline)
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name=f"outgrow rank {self.rank}", daemon=True).start()

    def send(self, message: Message) -> bool:
        """Send a whole message; False when the other side is not there to take it."""
        return self._send(_MESSAGE, message)

    def send_part(self, part: np.ndarray) -> bool:
        """Send a part of a large array, whose type and size the other side knows."""
        return self._send(_PART, Message(b"", (part,)))

    def receive(self) -> Message | None:
        """The next message or part, waited for; None when there will be no other."""
        return self._waiting.get()

    def has_received(self) -> bool:
        """Whether `receive` would not wait."""
        return not self._waiting.empty()

    def land(self, array: np.ndarray) -> None:
        """Write the parts that come next into an array, one behind the other, until it is full."""
        self._landing = array

    def beat(self) -> None:
        """Say that this process is alive, unless something is being said already."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            poll = select.poll()
            poll.register(self._peer, select.POLLOUT)
            if poll.poll(0):
                send(self._peer, _BEAT)
        except (OSError, ValueError):
            return  # closed; the reading thread finds out why
        finally:
            self._sending.release()

    def abort(self, cause: Cause) -> None:
        """Tell the other side why this rank gives up, if it still listens."""
        self._say(_ABORT, Message.of(vars(cause)))

    def wake(self) -> None:
        """Let a waiting `receive` return."""
        self._inbox.put(None)

    def close(self) -> None:
        """Say goodbye; the connection ends once the other side has done so too."""
        self._left = True
        self._say(_GOODBYE, SILENT)
        try:
            self._peer.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side has ended it already

    def _send(self, kind: int, message: Message) -> bool:
        try:
            with self._sending:
                send(self._peer, kind, message)
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _say(self, kind: int, message: Message) -> None:
        if not self._sending.acquire(timeout=1.0):
            return  # a message is stuck on its way: nobody reads there
        try:
            send(self._peer, kind, message)
        except OSError:
            return  # nobody is left to tell
        finally:
            self._sending.release()

    def _read(self) -> None:
        try:
            with self._peer, self._peer.makefile("rb") as stream:
                while (head := Head.read(stream)) is not None:
                    if head.kind == _PART:
                        self._inbox.put(Message(b"", (self._part(head.arrays, stream),)))
                        continue
                    message = Message.read(head, stream)
                    if head.kind == _MESSAGE:
                        self._inbox.put(message)
                    elif head.kind == _ABORT:
                        self._failed(Cause(**message.tree()))
                    elif head.kind == _GOODBYE:
                        self._inbox.put(None)
                        return
                raise ConnectionResetError("the connection was closed")
        except (OSError, ValueError, TypeError) as error:
            self._fail(error)

    def _part(self, size: int, stream: BufferedReader) -> np.ndarray:
        if len(self._landing):
            part, self._landing = np.split(self._landing, [size])
        else:
            part = np.empty(size, np.uint8)
        read_into(stream, part)
        return part

    def _fail(self, error: Exception) -> None:
        if self._left:
            return
        if isinstance(error, TimeoutError):
            reason = f"did not answer within {self._deadline:g} s"
        else:
            reason = f"is gone ({error or type(error).__name__})"
        self._failed(Cause(self.rank, self.host, reason, lost=True))
