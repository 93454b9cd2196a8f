"""Two processes prove to each other that they know a secret, before anything else is said."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct
import time

_NONCE = 16


def accept(listener: socket.socket, secret: bytes, until: float) -> tuple[int, socket.socket] | None:
    """The next caller that knows the secret, with the number it gives itself; None for one that does not."""
    listener.settimeout(max(0.01, until - time.monotonic()))
    caller, _ = listener.accept()
    caller.settimeout(2.0)
    try:
        challenge = os.urandom(_NONCE)
        caller.sendall(challenge)
        answer = _exactly(caller, 4 + _NONCE + 32)
        claim, nonce, proof = answer[:4], answer[4 : 4 + _NONCE], answer[4 + _NONCE :]
        if hmac.compare_digest(proof, _proof(secret, b"caller", challenge, nonce, claim)):
            caller.sendall(_proof(secret, b"listener", nonce, challenge, claim))
            return struct.unpack("<i", claim)[0], caller
    except OSError:
        caller.close()
        return None
    caller.close()
    return None


def call(address: tuple[str, int], number: int, secret: bytes, timeout: float) -> socket.socket | None:
    """A connection to whoever listens there and knows the secret; None when nobody does, or a stranger."""
    try:
        line = socket.create_connection(address, timeout=timeout)
    except OSError:
        return None
    try:
        challenge = _exactly(line, _NONCE)
        nonce, claim = os.urandom(_NONCE), struct.pack("<i", number)
        line.sendall(claim + nonce + _proof(secret, b"caller", challenge, nonce, claim))
        if hmac.compare_digest(_exactly(line, 32), _proof(secret, b"listener", nonce, challenge, claim)):
            return line
    except OSError:
        line.close()
        return None
    line.close()
    return None


def _proof(secret: bytes, role: bytes, first: bytes, second: bytes, claim: bytes) -> bytes:
    return hmac.new(secret, role + first + second + claim, hashlib.sha256).digest()


def _exactly(line: socket.socket, length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        part = line.recv(length - len(parts))
        if not part:
            raise ConnectionResetError("closed during the handshake")
        parts += part
    return parts
