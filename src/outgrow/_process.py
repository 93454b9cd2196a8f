"""What this process takes of the machine, and processes that end when the one that started them is gone."""

from __future__ import annotations

import importlib
import math
import os
import resource
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.5
UNRECORDED = {"OUTGROW_LOG": ""}
"""The environment of a process that works for another one, which keeps the record of what they do."""
ORPHANED_EXIT = 76
"""The exit code of a process whose parent is gone."""


def default_threads() -> int:
    """How many threads work where nobody says: as OUTGROW_THREADS does, else one for each usable core."""
    return int(os.environ.get("OUTGROW_THREADS", 0)) or usable_cores()


def usable_cores(cgroup: str = "/sys/fs/cgroup") -> int:
    """Cores that this process is bound to, and no more than a container's quota of their time is worth.

    `docker run --cpus 2` and limits of Kubernetes bind to no cores: they give a share of the time of all.

    Parameters
    ----------
    cgroup : where the limits of this process are to be read.

    Examples
    --------
    >>> from outgrow._process import usable_cores
    >>> usable_cores() >= 1
    True
    """
    bound = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


@cache
def _quota(cgroup: str) -> float | None:
    """Cores whose time a container may take, of cgroups 2 and 1; None without a limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join(Path(cgroup, name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        return int(quota) / int(period) if quota.isdigit() else None
    return None


@cache
def end_with(parent: int) -> None:
    """End this process, at once and without a word, as soon as `parent`, which started it, is gone.

    The kernel could send a signal instead, but it does so when the *thread* ends that started the process.

    Parameters
    ----------
    parent : the number of the parent's process, as the parent itself knows it: one that is gone before this
        call is so noticed, too.

    Examples
    --------
    >>> import os, subprocess, sys
    >>> code = "import sys; from outgrow._process import end_with; end_with(int(sys.argv[1])); print('lives')"
    >>> subprocess.run([sys.executable, "-c", code, str(os.getpid())], capture_output=True).stdout
    b'lives\\n'
    """
    _look(parent)
    threading.Thread(target=_watch, args=(parent,), name="outgrow parent", daemon=True).start()


def _watch(parent: int) -> None:
    while True:
        time.sleep(_LOOK_SECONDS)
        _look(parent)


def _look(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(ORPHANED_EXIT)


os.register_at_fork(after_in_child=end_with.cache_clear)  # threads do not live on in a fork


@dataclass(frozen=True)
class GpuUsage:
    """What is done on a GPU, by whomever.

    Attributes
    ----------
    utilization : the share of the last moments in which something ran there.
    memory_bytes : what is in use.
    """

    utilization: float
    memory_bytes: int


@dataclass(frozen=True)
class Usage:
    """What this process takes at one moment.

    Attributes
    ----------
    cpu_seconds : of all its threads, in its own code and in the kernel, since it began.
    resident_bytes : memory it holds.
    gpus : by the numbers of the machine's GPUs; empty without any, or without the library nvidia-ml-py.
    """

    cpu_seconds: float
    resident_bytes: int
    gpus: dict[int, GpuUsage]


def usage() -> Usage:
    """What this process takes now: some microseconds without a GPU.

    Examples
    --------
    >>> from outgrow._process import usage
    >>> now = usage()
    >>> now.cpu_seconds > 0, now.resident_bytes > 1_000_000
    (True, True)
    """
    taken = resource.getrusage(resource.RUSAGE_SELF)
    try:
        with open("/proc/self/statm", "rb") as facts:
            resident = int(facts.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the most it ever held
        resident = taken.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(taken.ru_utime + taken.ru_stime, resident, _gpus())


def _gpus() -> dict[int, GpuUsage]:
    library = _gpu_library()
    if library is None:
        return {}
    try:
        handles = [library.nvmlDeviceGetHandleByIndex(k) for k in range(library.nvmlDeviceGetCount())]
        return {
            number: GpuUsage(
                library.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
                int(library.nvmlDeviceGetMemoryInfo(handle).used),
            )
            for number, handle in enumerate(handles)
        }
    except library.NVMLError:  # one that went away, or does not say
        return {}


@cache
def _gpu_library() -> Any:
    """NVIDIA's library, begun once; None where it is missing, or finds no driver."""
    try:
        library = importlib.import_module("pynvml")
        library.nvmlInit()
    except Exception:  # it raises errors of its own, and what the driver's library raises
        return None
    return library


os.register_at_fork(after_in_child=_gpu_library.cache_clear)
