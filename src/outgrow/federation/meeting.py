"""How sites and coordinator meet: sites call, both prove that they know the secret, sites say their names."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from outgrow import __version__
from outgrow.engine.frames import Head, Message, send
from outgrow.engine.handshake import HandshakeListener, call
from outgrow.engine.peer import Cause
from outgrow.errors import ArtifactError, EngineError, OutgrowError, RankLostError
from outgrow.federation.reasons import raised_there, reason_of
from outgrow.federation.tls import Tls

_ANSWER_SECONDS = 10.0
_PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds of silence after which the system asks whether the other host is there, between two times, and how
often it asks before it takes the connection for lost."""
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
    if tls is not None:
        tls.check()
    until = time.monotonic() + joining
    met: dict[str, tuple[socket.socket, bytes]] = {}
    trouble: list[str] = []
    try:
        with HandshakeListener(listener, secret) as callers:
            while missing := _missing(names, met, trouble):
                look()
                if time.monotonic() > until:
                    raise RankLostError(_late(missing, joining, trouble))
                try:
                    _, line = callers.next(min(until, time.monotonic() + 0.2))
                except TimeoutError:
                    continue
                _admit(line, names, met, trouble, tls, secure=secure)
        ordered = [(name, met[name][0]) for name in names]
        for rank, (_, line) in enumerate(ordered, start=1):
            _tell(line, {"rank": rank, "size": len(names) + 1})
    except BaseException as error:
        for line, _ in met.values():
            _tell(line, {"ended": reason_of(error)})
            line.close()
        raise
    return ordered, met[names[0]][1]


def _admit(
    line: socket.socket,
    names: Sequence[str],
    met: dict[str, tuple[socket.socket, bytes]],
    trouble: list[str],
    tls: Tls | None,
    *,
    secure: bool,
) -> None:
    """Take a caller that knows the secret for a site, or turn it away."""
    _probe(line)
    try:
        line, certified = (line, None) if tls is None else tls.server(line)
    except EngineError as error:
        trouble.append(f"a caller that knows the secret was turned away: {error}")
        return
    introduced = _introduced(line)
    if introduced is None:
        trouble.append("a caller that knows the secret did not say which site it is")
        return
    _forget_who_left(met, trouble)  # a site that was just started anew is no other process
    refused = _refusal(introduced, names, {name: schema for name, (_, schema) in met.items()}, certified)
    if not refused and introduced.get("secure") != secure:
        refused = f"secure={introduced.get('secure')} there, and {secure} at the coordinator."
    if not refused:
        met[introduced["name"]] = line, introduced["schema"]
        return
    _tell(line, {"refused": refused})
    line.close()
    if introduced.get("name") in names and introduced["name"] not in met:
        raise EngineError(f"Site {introduced['name']!r}: {refused}")
    trouble.append(f"a caller was turned away: {refused.rstrip('.')}")


def _missing(
    names: Sequence[str], met: dict[str, tuple[socket.socket, bytes]], trouble: list[str]
) -> list[str]:
    """The sites that are not there, or no longer."""
    _forget_who_left(met, trouble)
    return [name for name in names if name not in met]


def _forget_who_left(met: dict[str, tuple[socket.socket, bytes]], trouble: list[str]) -> None:
    for name in [name for name, (line, _) in met.items() if _has_left(line)]:
        met.pop(name)[0].close()
        trouble.append(f"{name!r} came and left again")


def _has_left(line: socket.socket) -> bool:
    """Whether a site that waits for the others has ended its connection, as one that is started anew has."""
    line.settimeout(0.0)
    try:
        return not line.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        line.settimeout(_ANSWER_SECONDS)


def _probe(line: socket.socket) -> None:
    """Let the system notice a host that is gone without a word: nothing is said while others are awaited."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, number in _PROBES.items():
        if hasattr(socket, option):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), number)


def _late(missing: Sequence[str], joining: float, trouble: Sequence[str]) -> str:
    seen = f" Seen meanwhile: {'; '.join(dict.fromkeys(trouble[-5:]))}." if trouble else ""
    return (
        f"Site(s) {list(missing)} did not come within {joining:g} s.{seen} Are they started, do they know "
        "the secret, and do they reach this host and port?"
    )


def reach(
    address: tuple[str, int],
    secret: bytes,
    name: str,
    schema: bytes,
    joining: float,
    tls: Tls | None = None,
    *,
    secure: bool = False,
    note: Callable[[Message], None] | None = None,
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
    note : called with the introduction, which names the columns, before it leaves.

    Raises
    ------
    RankLostError
        When nobody who knows the secret answers there in time.
    EngineError
        When the coordinator does not take this site; it says why.
    """
    if tls is not None:
        tls.check()
    until = time.monotonic() + joining
    while True:
        line = call(address, 0, secret, timeout=2.0)
        if line is not None:
            break
        if time.monotonic() > until:
            raise RankLostError(
                f"Site {name!r} did not reach the coordinator at {address[0]}:{address[1]} within "
                f"{joining:g} s: {_who_is_there(address)}"
            )
        time.sleep(0.1)
    _probe(line)
    if tls is not None:
        line = tls.client(line, address[0])
    introduction = Message.of({"name": name, "version": __version__, "schema": schema, "secure": secure})
    try:
        if note is not None:
            note(introduction)
        send(line, 0, introduction)
        line.settimeout(max(1.0, until - time.monotonic()))
        answer = _heard(line)
    except OSError as error:
        line.close()
        if isinstance(error, TimeoutError) and error.errno is None:  # else the system took it for lost
            raise RankLostError(
                f"Site {name!r} reached the coordinator, and the others did not come within {joining:g} s. "
                "The coordinator says which."
            ) from None
        way = "without a certificate (--tls)" if tls is None else "with this certificate"
        raise RankLostError(
            f"The coordinator ended the connection while site {name!r} waited for the others ({error}): it "
            f"was stopped, or does not take a site {way}."
        ) from None
    if "ended" in answer:
        line.close()
        raise raised_there(Cause(0, "coordinator", answer["ended"]))
    if "refused" in answer:
        line.close()
        raise EngineError(f"The coordinator does not take this site: {answer['refused']}")
    return line, Welcome(answer["rank"], answer["size"])


def _who_is_there(address: tuple[str, int]) -> str:
    """Why nobody at an address could prove to know the secret."""
    try:
        socket.create_connection(address, timeout=2.0).close()
    except socket.gaierror:
        return "the host has no address here. Is its name right?"
    except OSError as error:
        return f"{error}. Has it begun, and is the port open?"
    return (
        "somebody listens there, who does not know the secret of this site, or has begun without it. Do both "
        "know the same secret?"
    )


def _introduced(line: socket.socket) -> dict[str, Any] | None:
    line.settimeout(_ANSWER_SECONDS)
    try:
        tree = _heard(line)
    except (OSError, OutgrowError):
        line.close()
        return None
    return tree


def _refusal(
    site: dict[str, Any], expected: Sequence[str], met: Mapping[str, bytes], certified: str | None
) -> str:
    name = site.get("name")
    if name not in expected:
        return f"no site called {name!r} is expected; there are {list(expected)}."
    if certified not in (None, name):
        return f"its certificate is that of {certified!r}."
    if name in met:
        return (
            f"another process is site {name!r} already. Where that was on a host that is gone, start this "
            "one again in half a minute."
        )
    if site["version"] != __version__:
        return f"it has outgrow {site['version']}, the coordinator {__version__}; give both the same."
    for first, schema in list(met.items())[:1]:
        if site["schema"] != schema:
            return f"{_differences(site['schema'], schema, first)} Give all sites the same columns and types."
    return ""


def _differences(here: bytes, there: bytes, first: str) -> str:
    """In what the columns of a site differ from those of the one that came first."""
    mine, others = (pa.ipc.read_schema(pa.py_buffer(schema)) for schema in (here, there))
    lacks = [name for name in others.names if name not in mine.names]
    besides = [name for name in mine.names if name not in others.names]
    unlike = [
        f"{name!r} is {mine.field(name).type} and not {others.field(name).type}"
        for name in mine.names
        if name in others.names and mine.field(name).type != others.field(name).type
    ]
    apart = [f"it has no {lacks[:5]}"] if lacks else []
    apart += [f"it has {besides[:5]} besides"] if besides else []
    apart += unlike[:5] or ([] if apart else [f"they come as {mine.names[:8]} and not as {others.names[:8]}"])
    return f"its columns are not those of site {first!r}: {'; '.join(apart)}."


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
