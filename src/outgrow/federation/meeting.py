"""How sites and coordinator meet: sites call, both prove that they know the secret, sites say their names."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from outgrow import __version__
from outgrow.engine.frames import Head, Message, send
from outgrow.engine.handshake import HandshakeListener, call
from outgrow.errors import ArtifactError, EngineError, OutgrowError, RankLostError
from outgrow.federation.tls import Tls

_ANSWER_SECONDS = 10.0
Look = Callable[[], None]
"""Called while sites are waited for: raises where one can never come."""


@dataclass(frozen=True)
class Welcome:
    """What the coordinator tells a site that it takes.

    Attributes
    ----------
    rank, size : the number of the site, from 1, and how many ranks there are with the coordinator.
    """

    rank: int
    size: int


def await_sites(
    listener: socket.socket,
    secret: bytes,
    names: Sequence[str],
    joining: float,
    look: Look = lambda: None,
    tls: Tls | None = None,
    *,
    secure: bool = False,
) -> tuple[list[tuple[str, socket.socket]], bytes]:
    """The sites in the order of their names, and the schema that all of them have, as Arrow writes it.

    Whoever does not know the secret is turned away, and so is a name that is not expected.

    Parameters
    ----------
    listener : where they call.
    secret : what all know.
    names : of the sites that shall come.
    joining : seconds within which all must.
    look : called several times a second.
    tls : the certificates with which connections are encrypted; None for none.
    secure : whether statistics will be sent behind masks, which sites must want alike.

    Raises
    ------
    RankLostError
        When they are not all there in time; it names those.
    EngineError
        When one has other columns or another version of outgrow.
    """
    until, schema = time.monotonic() + joining, b""
    met: dict[str, socket.socket] = {}
    try:
        with HandshakeListener(listener, secret) as callers:
            while len(met) < len(names):
                look()
                missing = [name for name in names if name not in met]
                if time.monotonic() > until:
                    raise RankLostError(
                        f"Site(s) {missing} did not come within {joining:g} s. Are they started, do they "
                        "know the secret, and do they reach this host and port?"
                    )
                try:
                    _, line = callers.next(min(until, time.monotonic() + 0.2))
                except TimeoutError:
                    continue
                secured = _secured(line, tls)
                introduced = None if secured is None else _introduced(secured[0])
                if secured is None or introduced is None:
                    continue
                line, certified = secured
                refused = _refusal(introduced, names, list(met), schema, certified)
                if not refused and introduced.get("secure") != secure:
                    refused = f"secure={introduced.get('secure')} there, and {secure} at the coordinator."
                if refused:
                    _tell(line, {"refused": refused})
                    line.close()
                    if introduced.get("name") in missing:
                        raise EngineError(f"Site {introduced['name']!r}: {refused}")
                    continue
                met[introduced["name"]] = line
                schema = schema or introduced["schema"]
        ordered = [(name, met[name]) for name in names]
        for rank, (_, line) in enumerate(ordered, start=1):
            _tell(line, {"rank": rank, "size": len(names) + 1})
    except BaseException:
        for line in met.values():
            line.close()
        raise
    return ordered, schema


def reach(
    address: tuple[str, int],
    secret: bytes,
    name: str,
    schema: bytes,
    joining: float,
    tls: Tls | None = None,
    *,
    secure: bool = False,
) -> tuple[socket.socket, Welcome]:
    """Call the coordinator until it answers; the only connection a site makes, and it accepts none.

    Parameters
    ----------
    address : host and port of the coordinator.
    secret : what both must know; it is not sent.
    name : of this site.
    schema : names and types of its columns, as Arrow writes them.
    joining : seconds within which the coordinator must take it, and all other sites must come.
    tls : the certificates with which the connection is encrypted; None for none.
    secure : whether this site sends statistics behind masks only.

    Raises
    ------
    RankLostError
        When nobody who knows the secret answers there in time.
    EngineError
        When the coordinator does not take this site; it says why.
    """
    until = time.monotonic() + joining
    while True:
        line = call(address, 0, secret, timeout=2.0)
        if line is not None:
            break
        if time.monotonic() > until:
            raise RankLostError(
                f"Site {name!r} did not reach the coordinator at {address[0]}:{address[1]} within "
                f"{joining:g} s. Has it begun, and do both know the same secret?"
            )
        time.sleep(0.1)
    if tls is not None:
        line = tls.client(line, address[0])
    introduction = {"name": name, "version": __version__, "schema": schema, "secure": secure}
    try:
        send(line, 0, Message.of(introduction))
        line.settimeout(max(1.0, until - time.monotonic()))
        answer = _heard(line)
    except OSError as error:
        line.close()
        raise RankLostError(
            f"The coordinator left while site {name!r} waited for the others: {error}."
        ) from None
    if "refused" in answer:
        line.close()
        raise EngineError(f"The coordinator does not take this site: {answer['refused']}")
    return line, Welcome(answer["rank"], answer["size"])


def _secured(line: socket.socket, tls: Tls | None) -> tuple[socket.socket, str | None] | None:
    """The connection as it is used, and the name in its certificate; None for who has no good one."""
    if tls is None:
        return line, None
    try:
        return tls.server(line)
    except EngineError:
        return None


def _introduced(line: socket.socket) -> dict[str, Any] | None:
    line.settimeout(_ANSWER_SECONDS)
    try:
        tree = _heard(line)
    except (OSError, OutgrowError):
        line.close()
        return None
    return tree


def _refusal(
    site: dict[str, Any], expected: Sequence[str], met: Sequence[str], schema: bytes, certified: str | None
) -> str:
    name = site.get("name")
    if name not in expected:
        return f"no site called {name!r} is expected; there are {list(expected)}."
    if certified not in (None, name):
        return f"its certificate is that of {certified!r}."
    if name in met:
        return f"another process is site {name!r} already."
    if site["version"] != __version__:
        return f"it has outgrow {site['version']}, the coordinator {__version__}; give both the same."
    if schema and site["schema"] != schema:
        return f"its columns or their types are not those of site {met[0]!r}. Read them with the same types."
    return ""


def _tell(line: socket.socket, answer: dict[str, Any]) -> None:
    try:
        send(line, 0, Message.of(answer))
    except OSError:
        return  # it is gone: what it would have sent next will be missed


def _heard(line: socket.socket) -> dict[str, Any]:
    """The next message, read to its last byte and not one further."""
    with line.makefile("rb", buffering=0) as raw:
        stream: Any = _Exact(raw)
        head = Head.read(stream)
        if head is None:
            raise ConnectionResetError("the connection was closed")
        tree = Message.read(head, stream).tree()
    if not isinstance(tree, dict):
        raise ArtifactError("A message is no tree.")
    return tree


class _Exact:
    """Reads whole, as a buffered stream does, but takes no byte that belongs to the next message."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def read(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count and (part := self._raw.read(count - len(parts))):
            parts += part
        return parts

    def readinto(self, target: memoryview) -> int:
        count: int = self._raw.readinto(target)
        return count
