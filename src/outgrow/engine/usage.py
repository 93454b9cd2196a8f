"""What a process and its machine use: processor, memory, GPUs; one sampler for the log and for `/metrics`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from outgrow._optional import optional
from outgrow.engine.memory import available_bytes, peak_bytes, resident_bytes
from outgrow.errors import MissingExtraError

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class GPU:
    """A GPU of NVIDIA.

    Attributes
    ----------
    number : its place among those of the machine.
    busy : the share of the last moments in which it worked, from 0 to 1; None where it does not tell.
    used_bytes, total_bytes : of its memory, over all processes.
    """

    number: int
    busy: float | None
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Usage:
    """What a process has used until now, with the processes it started that are still there.

    Attributes
    ----------
    time : when, in seconds since 1970.
    cpu_seconds : of all threads of this process and of its children, in user and system mode.
    resident_bytes, peak_bytes : memory held now, children included, and the most this process ever held.
    available_bytes : memory the machine could still give.
    total_bytes : memory of the machine.
    machine_cpu_seconds, machine_idle_seconds : of all processors since the machine started; 0 where the
        system does not tell. The differences of two looks give the share that is busy.
    processes : how many there are, this one included.
    gpus : those of the machine; none where there are none, or nvidia-ml-py is not installed.
    """

    time: float
    cpu_seconds: float
    resident_bytes: int
    peak_bytes: int
    available_bytes: int
    total_bytes: int
    machine_cpu_seconds: float
    machine_idle_seconds: float
    processes: int
    gpus: tuple[GPU, ...] = ()

    @classmethod
    def now(cls) -> Usage:
        """Look; takes well below a millisecond without GPUs.

        Examples
        --------
        >>> from outgrow.engine.usage import Usage
        >>> used = Usage.now()
        >>> used.resident_bytes > 0, used.cpu_seconds > 0
        (True, True)
        """
        children = list(_descendants(os.getpid()))
        spent = os.times()
        total, idle = _machine_seconds()
        return cls(
            time=time.time(),
            cpu_seconds=spent.user + spent.system + sum(_cpu_seconds(child) for child in children),
            resident_bytes=resident_bytes() + sum(_resident(child) for child in children),
            peak_bytes=peak_bytes(),
            available_bytes=available_bytes(),
            total_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            machine_cpu_seconds=total,
            machine_idle_seconds=idle,
            processes=1 + len(children),
            gpus=tuple(gpus()),
        )

    def since(self, before: Usage) -> dict[str, Any]:
        """What was used between two looks, as a record has it.

        Parameters
        ----------
        before : the earlier look.
        """
        seconds = max(self.time - before.time, 1e-9)
        machine = self.machine_cpu_seconds - before.machine_cpu_seconds
        idle = self.machine_idle_seconds - before.machine_idle_seconds
        facts: dict[str, Any] = {
            "cpu": max(0.0, self.cpu_seconds - before.cpu_seconds) / seconds,
            "resident_bytes": self.resident_bytes,
            "machine_cpu": None if machine <= 0 else min(1.0, max(0.0, 1 - idle / machine)),
            "machine_used_bytes": self.total_bytes - self.available_bytes,
            "machine_bytes": self.total_bytes,
            "processes": self.processes,
        }
        if self.gpus:
            facts["gpus"] = [vars(gpu) for gpu in self.gpus]
        return facts


def gpus() -> Iterator[GPU]:
    """The GPUs of the machine, as NVIDIA's library sees them."""
    library = _nvidia()
    if library is None:
        return
    for number in range(library.nvmlDeviceGetCount()):
        with suppress(library.NVMLError):
            device = library.nvmlDeviceGetHandleByIndex(number)
            memory = library.nvmlDeviceGetMemoryInfo(device)
            busy = None
            with suppress(library.NVMLError):  # one that is divided does not tell
                busy = library.nvmlDeviceGetUtilizationRates(device).gpu / 100
            yield GPU(number, busy, int(memory.used), int(memory.total))


@cache
def _nvidia() -> ModuleType | None:
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        return None
    try:
        library = optional("pynvml", "track")
    except MissingExtraError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def started(process: int) -> float | None:
    """When a process of this machine began, in seconds since 1970; None where the system does not tell.

    Parameters
    ----------
    process : its number.
    """
    with suppress(OSError, ValueError, IndexError, StopIteration):
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        lines = Path("/proc/stat").read_text().splitlines()
        boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return boot + ticks / _TICKS
    return None


def _descendants(process: int) -> Iterator[int]:
    """The processes that a process started, and those they started."""
    with suppress(OSError, ValueError):
        for task in os.listdir(f"/proc/{process}/task"):
            for child in Path(f"/proc/{process}/task/{task}/children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _cpu_seconds(process: int) -> float:
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _resident(process: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _machine_seconds() -> tuple[float, float]:
    """Of all processors: seconds in all, and seconds they had nothing to do."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/stat") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        return sum(ticks) / _TICKS, (ticks[3] + ticks[4]) / _TICKS
    return 0.0, 0.0


os.register_at_fork(after_in_child=_nvidia.cache_clear)
