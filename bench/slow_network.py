"""A slow network on this machine: network namespaces as hosts, joined by a relay with a rate and a delay.

Each host has one interface, a TUN device whose other end is a file here. The relay reads packets, lets each
sender say no more than its rate, and hands on what it read after the delay. It needs root, as namespaces do.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 9000
_MOST_WAITING = 2.0
"""Seconds of a sender's own traffic that wait before more is dropped."""


class SlowNetwork:
    """Hosts 10.77.0.1, 10.77.0.2, ... with a rate and a delay between any two; a context.

    Parameters
    ----------
    hosts : how many.
    megabits : that each host may send in a second.
    delay : seconds a packet takes.

    Attributes
    ----------
    sent : bytes that each host has sent, with the heads of packets.

    Raises
    ------
    OSError
        When this process may not make namespaces.
    """

    def __init__(self, hosts: int, megabits: float, delay: float) -> None:
        self.sent = [0] * hosts
        self._names = [f"outgrow-{os.getpid()}-{number}" for number in range(hosts)]
        self._rate, self._delay = megabits * 1e6 / 8, delay
        self._ends: list[int] = []
        self._closed = threading.Event()

    def __enter__(self) -> SlowNetwork:
        for number, name in enumerate(self._names):
            _run("ip", "netns", "add", name)
            inside = ("ip", "-n", name)
            _run(*inside, "tuntap", "add", "dev", "way", "mode", "tun")
            _run(*inside, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "way")
            _run(*inside, "link", "set", "way", "up", "mtu", str(_MTU))
            _run(*inside, "link", "set", "lo", "up")
            self._ends.append(_end_of(name))
        self._relay = threading.Thread(target=self._serve, daemon=True)
        self._relay.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._relay.join()
        for end in self._ends:
            os.close(end)
        for name in self._names:
            _run("ip", "netns", "del", name)

    def start(self, host: int, command: Sequence[str], **further: Any) -> subprocess.Popen[str]:
        """A process on a host.

        Parameters
        ----------
        host : its number.
        command : what is run.
        **further : as for `subprocess.Popen`.
        """
        return subprocess.Popen(["ip", "netns", "exec", self._names[host], *command], text=True, **further)

    def environment(self, host: int) -> Mapping[str, str]:
        """What a launcher would tell a rank on a host.

        Parameters
        ----------
        host : its number, also of the rank.
        """
        return {"RANK": str(host), "WORLD_SIZE": str(len(self._names)), "MASTER_ADDR": "10.77.0.1"}

    def _serve(self) -> None:
        free = [0.0] * len(self._ends)
        waiting: list[tuple[float, int, int, bytes]] = []
        number, senders = 0, {end: host for host, end in enumerate(self._ends)}
        while not self._closed.is_set():
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, host, packet = heapq.heappop(waiting)
                os.write(self._ends[host], packet)
            timeout = min(0.1, waiting[0][0] - now) if waiting else 0.1
            for end in select.select(self._ends, [], [], max(0.0, timeout))[0]:
                packet = os.read(end, _MTU + 64)
                host, receiver = senders[end], packet[19] - 1
                if packet[0] >> 4 != 4 or not 0 <= receiver < len(self._ends):
                    continue  # not of this network: IPv6 looks for neighbours
                now = time.monotonic()
                if free[host] - now > _MOST_WAITING:
                    continue
                self.sent[host] += len(packet)
                free[host] = max(now, free[host]) + len(packet) / self._rate
                number += 1
                heapq.heappush(waiting, (free[host] + self._delay, number, receiver, packet))


def _end_of(name: str) -> int:
    """This process's end of the device in a namespace."""
    ends: list[int] = []

    def work() -> None:  # a thread of its own: only its namespace changes
        space = os.open(Path("/run/netns") / name, os.O_RDONLY)
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(space, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        end = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", b"way", _IFF_TUN | _IFF_NO_PI))
        os.close(space)
        ends.append(end)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return ends[0]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
