"""What the processes of this machine do, from /proc: ours and those of others."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

LOOK = 0.5
_patience = 300.0
"""Seconds still to be spent on waiting for others; a machine that is never quiet must not stop a run."""
TICK = os.sysconf("SC_CLK_TCK")


def family() -> set[int]:
    """This process and all below it."""
    parents = {pid: int(fields[1]) for pid in _pids() if (fields := _stat(pid))}
    found, size = {os.getpid()}, 0
    while size != len(found):
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def kilobytes(path: Path, field: str) -> int:
    """A field like `VmHWM: 12 kB` of a file in /proc, in bytes; 0 when the process is gone."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


class Neighbours:
    """How many cores the processes of others use, from its making until it is asked."""

    def __init__(self) -> None:
        self._at, self._seconds = time.perf_counter(), _busy() - own_seconds()

    def cores(self) -> float:
        return max(0.0, (_busy() - own_seconds() - self._seconds) / (time.perf_counter() - self._at))


def wait_for_quiet(cores: float) -> None:
    """Wait until others use fewer cores; not longer than what is left of the patience of the whole run."""
    global _patience
    while _patience > 0:
        others = Neighbours()
        time.sleep(LOOK)
        if others.cores() < cores:
            return
        _patience -= LOOK


def _busy() -> float:
    """Seconds that the cores have worked since the machine started."""
    user, nice, system, _, _, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / TICK


def own_seconds() -> float:
    """Seconds that this family has worked, those of its ended members included."""
    return sum(sum(map(int, fields[11:15])) for pid in family() if (fields := _stat(pid))) / TICK


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields after the name: state, parent, ...; none when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
