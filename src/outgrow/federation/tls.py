"""Mutual TLS around the connections of a federation: each side shows a certificate, too."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from outgrow.errors import EngineError, ParameterError

_CHUNK = 1 << 16
_SECONDS = 10.0
"""How long the handshake may take."""
_WAIT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


@dataclass(frozen=True)
class Tls:
    """The files of one end, in PEM.

    Attributes
    ----------
    cert, key : the certificate of this end and its private key. That of a site has its name as common name.
    ca : the certificates by which the other end's must be signed.
    """

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str]
    ca: str | os.PathLike[str]

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Tls:
        """The files `cert.pem`, `key.pem` and `ca.pem` of a folder."""
        return cls(*(os.path.join(folder, name) for name in ("cert.pem", "key.pem", "ca.pem")))

    def check(self) -> None:
        """Read the files, before anybody is waited for.

        Raises
        ------
        ParameterError
            When one is not there, is no PEM, or the key is not that of the certificate.
        """
        self._context(ssl.PROTOCOL_TLS_SERVER)

    def server(self, line: socket.socket) -> tuple[socket.socket, str]:
        """The encrypted connection to a caller, and the name in its certificate.

        Raises
        ------
        EngineError
            When the caller's certificate is not signed by `ca`, or it has none.
        """
        return self._wrapped(line, self._context(ssl.PROTOCOL_TLS_SERVER), None)

    def client(self, line: socket.socket, host: str) -> socket.socket:
        """The encrypted connection to the coordinator.

        Parameters
        ----------
        line : the connection.
        host : which its certificate must name.

        Raises
        ------
        EngineError
            When the coordinator's certificate is not signed by `ca`, or names another host.
        """
        return self._wrapped(line, self._context(ssl.PROTOCOL_TLS_CLIENT), host)[0]

    def _context(self, protocol: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.cert, self.key)
            context.load_verify_locations(self.ca)
        except (OSError, ssl.SSLError) as error:
            raise ParameterError(
                f"{self.cert}, {self.key}, {self.ca}: {error}. Give a certificate, its key and the "
                "certificates by which others are signed, as files in PEM."
            ) from error
        return context

    @staticmethod
    def _wrapped(line: socket.socket, context: ssl.SSLContext, host: str | None) -> tuple[socket.socket, str]:
        line.settimeout(_SECONDS)
        try:
            secure = context.wrap_socket(line, server_side=host is None, server_hostname=host)
        except (OSError, ssl.SSLError) as error:
            line.close()
            raise EngineError(
                f"The other end speaks no TLS, has no certificate that this end's ca.pem has signed, or does "
                f"not accept that of this end: {error}"
            ) from error
        shown: dict[str, Any] = secure.getpeercert() or {}
        subject = dict(pair for part in shown.get("subject", ()) for pair in part)
        near, inner = socket.socketpair()
        threading.Thread(target=_pump, args=(secure, inner), name="outgrow TLS", daemon=True).start()
        return near, str(subject.get("commonName", ""))


def _pump(secure: ssl.SSLSocket, plain: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended; one thread, as a TLS connection wants it."""
    secure.setblocking(False)
    plain.setblocking(False)
    out, into = b"", b""
    with suppress(OSError), secure, plain:
        while True:
            readable: list[socket.socket] = ([] if into else [secure]) + ([] if out else [plain])
            writable: list[socket.socket] = ([secure] if out else []) + ([plain] if into else [])
            if into or not secure.pending():
                select.select(readable, writable, [], 1.0)
            with suppress(*_WAIT):
                if not into and not (into := secure.recv(_CHUNK)):
                    return
                into = into[plain.send(into) :]
            with suppress(*_WAIT):
                if not out and not (out := plain.recv(_CHUNK)):
                    socket.socket.shutdown(secure, socket.SHUT_WR)
                    _drain(secure, plain, into)
                    return
                out = out[secure.send(out) :]


def _drain(secure: ssl.SSLSocket, plain: socket.socket, into: bytes) -> None:
    """Nothing more goes out: what still comes in is handed on."""
    secure.settimeout(_SECONDS)
    plain.settimeout(_SECONDS)
    while into or (into := secure.recv(_CHUNK)):
        plain.sendall(into)
        into = b""
