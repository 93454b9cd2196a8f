"""Two processes prove to each other that they know a secret, before anything else is said.

Whoever listens hears many callers at once: one that says nothing, or too slowly, keeps nobody else waiting.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import selectors
import socket
import struct
import time
from dataclasses import dataclass

_NONCE = 16
_ANSWER = 4 + _NONCE + 32
_SECONDS = 2.0
"""How long a caller may take to prove itself."""
_AT_ONCE = 128
"""Callers heard at once; of more, the first are sent away: who knows the secret answers at once."""
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass
class _Handshake:
    challenge: bytes
    until: float
    said: bytes = b""


class HandshakeListener:
    """The callers at a listening socket that know the secret, one after the other; a context manager."""

    def __init__(self, listener: socket.socket, secret: bytes) -> None:
        self._listener = listener
        self._secret = secret
        self._callers: dict[socket.socket, _Handshake] = {}
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def __enter__(self) -> HandshakeListener:
        return self

    def __exit__(self, *_: object) -> None:
        for caller in list(self._callers):
            self._send_away(caller)
        self._selector.close()

    def next(self, until: float) -> tuple[int, socket.socket]:
        """The next caller that knows the secret, with the number it gives itself.

        Raises
        ------
        TimeoutError
            When there is none until then, by `time.monotonic`.
        OSError
            When the listener has been closed.
        """
        while True:
            for key, _ in self._selector.select(max(0.0, min(until, self._soonest()) - time.monotonic())):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    number = self._hear(key.fileobj)
                    if number is not None:
                        return number, key.fileobj
            now = time.monotonic()
            for caller in [caller for caller, state in self._callers.items() if state.until <= now]:
                self._send_away(caller)
            if now >= until:
                raise TimeoutError

    def _soonest(self) -> float:
        return next((caller.until for caller in self._callers.values()), float("inf"))

    def _accept(self) -> None:
        try:
            caller, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # gone again
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._make_room(0)
            time.sleep(0.05)  # others of this process may close files
            return
        self._make_room(_AT_ONCE - 1)
        caller.setblocking(False)
        challenge = os.urandom(_NONCE)
        self._callers[caller] = _Handshake(challenge, time.monotonic() + _SECONDS)
        self._selector.register(caller, selectors.EVENT_READ)
        try:
            caller.sendall(challenge)
        except OSError:
            self._send_away(caller)

    def _make_room(self, most: int) -> None:
        for caller in list(self._callers)[: max(0, len(self._callers) - most)]:
            self._send_away(caller)

    def _hear(self, caller: socket.socket) -> int | None:
        """The number of a caller that has just proved itself."""
        state = self._callers.get(caller)
        if state is None:
            return None  # sent away since it spoke
        try:
            part = caller.recv(_ANSWER - len(state.said))
            state.said += part
            if part and len(state.said) < _ANSWER:
                return None
            number = self._proved(caller, state)
        except BlockingIOError:
            return None
        except OSError:
            number = None
        if number is None:
            self._send_away(caller)
            return None
        self._forget(caller)
        caller.setblocking(True)
        return number

    def _proved(self, caller: socket.socket, state: _Handshake) -> int | None:
        claim, nonce, proof = state.said[:4], state.said[4 : 4 + _NONCE], state.said[4 + _NONCE :]
        if not hmac.compare_digest(proof, _proof(self._secret, b"caller", state.challenge, nonce, claim)):
            return None
        caller.sendall(_proof(self._secret, b"listener", nonce, state.challenge, claim))
        return int(struct.unpack("<i", claim)[0])

    def _send_away(self, caller: socket.socket) -> None:
        self._forget(caller)
        caller.close()

    def _forget(self, caller: socket.socket) -> None:
        self._selector.unregister(caller)
        del self._callers[caller]


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at an address, of IPv6 where that is one of it.

    Parameters
    ----------
    host : a name or an address of this machine.
    port : 0 for one that is free.

    Raises
    ------
    OSError
        When the port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def call(address: tuple[str, int], number: int, secret: bytes, timeout: float) -> socket.socket | None:
    """A connection to whoever listens there and knows the secret; None when nobody does, or a stranger.

    Parameters
    ----------
    address : host and port.
    number : what the caller says it is, like its rank; of 32 bits.
    secret : what both sides must know. It is not sent.
    timeout : seconds for the connection and the proof together, and from then on those of the socket.
    """
    until = time.monotonic() + timeout
    try:
        line = socket.create_connection(address, timeout=timeout)
    except OSError:
        return None
    try:
        challenge = _exactly(line, _NONCE, until)
        nonce, claim = os.urandom(_NONCE), struct.pack("<i", number)
        line.sendall(claim + nonce + _proof(secret, b"caller", challenge, nonce, claim))
        if hmac.compare_digest(
            _exactly(line, 32, until), _proof(secret, b"listener", nonce, challenge, claim)
        ):
            line.settimeout(timeout)
            return line
    except OSError:
        line.close()
        return None
    line.close()
    return None


def _proof(secret: bytes, role: bytes, first: bytes, second: bytes, claim: bytes) -> bytes:
    return hmac.new(secret, role + first + second + claim, hashlib.sha256).digest()


def _exactly(line: socket.socket, length: int, until: float) -> bytes:
    parts = b""
    while len(parts) < length:
        line.settimeout(max(0.001, until - time.monotonic()))
        part = line.recv(length - len(parts))
        if not part:
            raise ConnectionResetError("closed during the handshake")
        parts += part
    return parts
