"""How the ranks of one fit find each other, without anybody in the middle.

Every rank knows the hosts of all (Spark's barrier context tells, or rank 0) and the job's secret. From the
secret follows, for each rank, a sequence of ports; a rank listens on the first that is free, and its children
in the tree try them in that order. Both sides prove that they know the secret before anything else is said,
so a stranger is turned away, and two jobs never meet.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from collections.abc import Sequence

from outgrow.engine.collective import Tcp
from outgrow.engine.handshake import HandshakeListener, call, listening
from outgrow.errors import EngineError

PORTS = (15_000, 32_000)
_TRIES = 8


def join(
    rank: int, hosts: Sequence[str], secret: bytes, *, ports: tuple[int, int], joining: float, deadline: float
) -> Tcp:
    """Connect this rank with its parent and children.

    Parameters
    ----------
    rank : this one's number, from 0.
    hosts : the host of each rank.
    secret : of the job; whoever knows it belongs to it, and the ports follow from it.
    ports : the range those are in: from the first, below the last.
    joining : seconds for all to be there.
    deadline : seconds of silence after which one that was there is taken for lost.

    Raises
    ------
    EngineError
        When they are not all there in time; it names who is missing.
    """
    size, until = len(hosts), time.monotonic() + joining
    children = [child for child in (2 * rank + 1, 2 * rank + 2) if child < size]
    peers: dict[int, socket.socket] = {}
    listener = _listen(hosts[rank], port_sequence(secret, rank, ports)) if children else None
    try:
        if rank:
            parent = (rank - 1) // 2
            peers[parent] = _reach(
                parent, hosts[parent], port_sequence(secret, parent, ports), rank, secret, until
            )
        if listener is not None:
            _await(listener, set(children), peers, secret, until, hosts)
    finally:
        if listener is not None:
            listener.close()
    return Tcp(rank, size, peers, deadline, hosts, secret, ports)


def _await(
    listener: socket.socket,
    missing: set[int],
    peers: dict[int, socket.socket],
    secret: bytes,
    until: float,
    hosts: Sequence[str],
) -> None:
    with HandshakeListener(listener, secret) as callers:
        while missing:
            try:
                rank, line = callers.next(until)
            except TimeoutError:
                names = ", ".join(f"{child} on {hosts[child]}" for child in sorted(missing))
                raise EngineError(
                    f"Rank(s) {names} did not reach this one in time. Are the ports between them open?"
                ) from None
            if rank in missing:
                missing.discard(rank)
                peers[rank] = line


def _reach(
    rank: int, host: str, ports: Sequence[int], own: int, secret: bytes, until: float
) -> socket.socket:
    while time.monotonic() < until:
        for port in ports[:_TRIES]:
            line = call((host, port), own, secret, timeout=1.0)
            if line is not None:
                return line
        time.sleep(0.005)
    raise EngineError(
        f"Rank {own} did not reach rank {rank} on {host} at ports {list(ports[:_TRIES])}. "
        "Are the ports between them open? Choose others with ports=(low, high)."
    )


def _listen(host: str, ports: Sequence[int]) -> socket.socket:
    for port in ports:
        try:
            return listening(host, port)
        except OSError:
            continue
    raise EngineError(
        f"None of the ports {list(ports)} is free on {host}. Choose others with ports=(low, high)."
    )


def port_sequence(secret: bytes, rank: int, ports: tuple[int, int]) -> list[int]:
    """The ports on which a rank may listen, in the order in which it tries them.

    Parameters
    ----------
    secret : from which they follow.
    rank : which rank.
    ports : from the first, below the last.
    """
    low, high = ports
    digest = hashlib.sha256(secret + struct.pack("<i", rank)).digest()
    return [low + int.from_bytes(digest[4 * i : 4 * i + 4], "little") % (high - low) for i in range(_TRIES)]
