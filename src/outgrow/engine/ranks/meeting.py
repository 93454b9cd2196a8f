"""How ranks that a launcher started find each other, and see that they are the same program.

All call rank 0 at the host that the launcher names, at ports that follow from their secret. Each proves that
it knows the secret, and tells what it is; rank 0 answers with the addresses of all, or why they cannot be
ranks of one fit.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from outgrow._version import __version__
from outgrow.engine.frames import Head, Message, send
from outgrow.engine.handshake import HandshakeListener, call, listening
from outgrow.engine.ranks.launch import LOOPBACK, Launch
from outgrow.engine.ranks.rendezvous import port_sequence
from outgrow.engine.ranks.secret import Secret, wait_a_little
from outgrow.errors import ArtifactError, EngineError, ParameterError

_PACKAGES = ("numpy", "pyarrow", "scikit-learn", "xgboost", "torch")
_MEETING = b"meeting"


def meet(launch: Launch, secret: Secret, ports: tuple[int, int], joining: float) -> tuple[list[str], bytes]:
    """The addresses of all ranks, and their secret.

    Parameters
    ----------
    launch : what the launcher says.
    secret : what all know.
    ports : from the first, below the last; rank 0 listens on one of them.
    joining : seconds for all to be there.

    Raises
    ------
    EngineError
        When they are not all there in time, or are not the same program; it names those.
    """
    until = time.monotonic() + joining
    try:
        return (
            _host(launch, secret, ports, until) if launch.rank == 0 else _guest(launch, secret, ports, until)
        )
    finally:
        secret.clear()


def differences(facts: Mapping[int, Mapping[str, Any]]) -> str:
    """In what ranks differ that must be alike; '' where they do not.

    Parameters
    ----------
    facts : by rank, what `own_facts` gave on each.
    """
    first = facts[0]
    told = [
        f"rank {rank} has {name} {other.get(name)!r}, rank 0 has {first[name]!r}"
        for rank, other in sorted(facts.items())
        for name in first
        if other.get(name) != first[name]
    ]
    return "; ".join(told[:5])


@cache
def own_facts() -> dict[str, Any]:
    """What must be alike on all ranks: versions, and the code of this package and of the script."""
    found: dict[str, Any] = {"Python": platform.python_version().rpartition(".")[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None and Path(script).is_file():
        found["script"] = _digest([Path(script)])
    return {**found, "outgrow": __version__, "outgrow's code": _own_code()}


def _own_code() -> str:
    return _digest(sorted(Path(__file__).parents[2].rglob("*.py")))


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _introduction(launch: Launch) -> dict[str, Any]:
    return {"size": launch.size, "pid": os.getpid(), "facts": own_facts()}


def _host(launch: Launch, secret: Secret, ports: tuple[int, int], until: float) -> tuple[list[str], bytes]:
    """Rank 0 hears all others, and answers them."""
    known = secret.now()
    assert known is not None
    address = _first_host(launch)
    guests: dict[int, tuple[socket.socket, dict[str, Any]]] = {}
    refused, own = "", address
    listener = _listen(address, port_sequence(known + _MEETING, 0, ports))
    try:
        with HandshakeListener(listener, known) as callers:
            while len(guests) < launch.size - 1 and not refused:
                rank, line = _caller(callers, launch, set(guests), until)
                line.settimeout(max(1.0, until - time.monotonic()))
                guest = _heard(line)
                if guest is not None:
                    refused, own = _refusal(launch, rank, guest, set(guests)), line.getsockname()[0]
                    guests[rank if rank not in guests else -1] = line, guest
        refused = refused or differences({0: own_facts(), **{r: g["facts"] for r, (_, g) in guests.items()}})
        hosts = [own, *(guests[rank][0].getpeername()[0] for rank in sorted(guests) if rank > 0)]
        for line, _ in guests.values():
            send(line, 0, Message.of({"refused": refused, "hosts": hosts}))
    finally:
        listener.close()
        for line, _ in guests.values():
            line.close()
    if refused:
        raise EngineError(unlike(refused))
    return hosts, known


def _caller(
    callers: HandshakeListener, launch: Launch, met: set[int], until: float
) -> tuple[int, socket.socket]:
    try:
        return callers.next(until)
    except TimeoutError:
        missing = ", ".join(str(rank) for rank in range(1, launch.size) if rank not in met)
        raise EngineError(
            f"Rank(s) {missing} of {launch.size} did not come in time. {launch.launcher} says that there are "
            "so many: do all of them run this script and reach this fit, and do they end up here?"
        ) from None


def _refusal(launch: Launch, rank: int, guest: dict[str, Any], met: set[int]) -> str:
    if guest["size"] != launch.size:
        return f"rank {rank} believes in {guest['size']} ranks, rank 0 in {launch.size}"
    if rank in met or not 0 < rank < launch.size:
        return f"process {guest['pid']} is rank {rank}, too, or there is no such rank"
    return ""


def _guest(launch: Launch, secret: Secret, ports: tuple[int, int], until: float) -> tuple[list[str], bytes]:
    """Another rank calls rank 0 until it answers."""
    address = _first_host(launch)
    while True:
        known = secret.now()
        for port in port_sequence(known + _MEETING, 0, ports) if known else []:
            line = call((address, port), launch.rank, known or b"", timeout=1.0)
            if line is None:
                continue
            with line:
                line.settimeout(max(1.0, until - time.monotonic()))
                send(line, 0, Message.of(_introduction(launch)))
                answer = _heard(line)
            if answer is not None and answer["refused"]:
                raise EngineError(unlike(answer["refused"]))
            if answer is not None:
                return answer["hosts"], known or b""
        wait_a_little(
            until,
            f"Rank {launch.rank} of {launch.size} did not reach rank 0 on {address}. Has it begun, does it "
            f"run this script, and are the ports {ports[0]} to {ports[1]} open there?",
        )


def unlike(differences: str) -> str:
    """What to do about ranks that differ."""
    return (
        f"The ranks are not the same program: {differences}. All must run one script with one environment; "
        "is a process of an earlier run still there?"
    )


def _heard(line: socket.socket) -> dict[str, Any] | None:
    """What the other side says; None when it has gone, which is then no rank."""
    try:
        with line.makefile("rb") as stream:
            head = Head.read(stream)
            return None if head is None else Message.read(head, stream).tree()
    except (OSError, ArtifactError):
        return None


def _first_host(launch: Launch) -> str:
    """An address of the machine of rank 0."""
    if launch.one_host:
        return loopback()
    if launch.first_host is None:
        raise ParameterError(
            f"{launch.launcher} does not say on which host rank 0 is. Set MASTER_ADDR to it on all ranks."
        )
    try:
        return str(socket.getaddrinfo(launch.first_host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise EngineError(
            f"The host of rank 0, {launch.first_host!r}, has no address here ({error.args[-1]}). Set "
            "MASTER_ADDR to one that all ranks reach."
        ) from None


@cache
def loopback() -> str:
    """The address of this machine for itself; IPv6 where there is no other."""
    try:
        socket.create_server((LOOPBACK, 0)).close()
    except OSError:
        return "::1"
    return LOOPBACK


def _listen(address: str, ports: list[int]) -> socket.socket:
    """Where rank 0 is called; on all addresses where the one that is called belongs to a gateway."""
    for host in (address, "::" if ":" in address else "0.0.0.0"):
        for port in ports:
            try:
                return listening(host, port)
            except OSError:
                continue
    raise EngineError(
        f"None of the ports {ports} is free on {address}. Choose others with ports=(low, high)."
    )
