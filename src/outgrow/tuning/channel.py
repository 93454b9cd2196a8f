"""Messages between the driver of a search and its workers: JSON over an authenticated connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from outgrow.engine.frames import Message as Frame
from outgrow.engine.handshake import call
from outgrow.engine.peer import Cause, PeerConnection

Message = dict[str, Any]


class Channel:
    """One end of a connection.

    Parameters
    ----------
    peer : a socket whose other end has proved that it knows the secret.
    deadline : seconds of silence after which the other end is taken for lost.
    lost : called with the reason, once, when it is.
    """

    def __init__(
        self,
        peer: socket.socket,
        number: int,
        deadline: float,
        lost: Callable[[str], None] = lambda reason: None,
    ) -> None:
        host = peer.getpeername()[0]
        self.gone = threading.Event()
        self._lost = lost
        self._connection = PeerConnection(peer, number, host, deadline, self._fail)
        self._connection.start()
        self._closed = threading.Event()
        threading.Thread(target=self._beat, args=(deadline / 4,), daemon=True).start()

    def send(self, **message: Any) -> bool:
        """Send a message; False when nobody is there to take it."""
        return self._connection.send(Frame.of(message))

    def receive(self) -> Message | None:
        """The next message, waited for; None when there will be no other."""
        message = self._connection.receive()
        return None if message is None else message.tree()

    def abort(self, reason: str) -> None:
        """Tell the other end to go, and why."""
        self._connection.abort(Cause(0, "the driver", reason))

    def close(self) -> None:
        self._closed.set()
        self._connection.close()

    def _fail(self, cause: Cause) -> None:
        self.gone.set()
        self._lost(cause.reason)
        self._connection.wake()

    def _beat(self, every: float) -> None:
        while not self._closed.wait(min(10.0, every)) and not self.gone.is_set():
            self._connection.beat()


def reach(
    address: tuple[str, int],
    number: int,
    secret: bytes,
    deadline: float,
    lost: Callable[[str], None] = lambda reason: None,
) -> Channel | None:
    """A channel to the driver; None when it is not there.

    Parameters
    ----------
    address : host and port of the driver.
    number : of the worker, which it tells the driver.
    secret : proves to each end that the other belongs to the search.
    deadline : seconds of silence after which the driver is taken for lost.
    lost : called with the reason, once, when it is; from another thread.
    """
    peer = call(address, number, secret, timeout=5.0)
    return None if peer is None else Channel(peer, number, deadline, lost)
