"""Rows that stay: in memory up to a budget, then in a file that is mapped while a pass reads it.

A store keeps picklable items that consist of large arrays. The arrays of an item over the budget go to an
unnamed temporary file; its small remainder stays in memory, so nothing is ever unpickled from disk.
"""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import pyarrow as pa

from outgrow.errors import ParameterError
from outgrow.storage import disk_errors

T = TypeVar("T")

_THREADS_TAKE = 2 << 30
"""Bytes of addresses that the threads of native libraries reserve: stacks, and memory pools of their own."""

_FEW_BYTES = 4 << 20
"""What a fit may take before it looks how much there is."""
_FILE_BYTES = 1 << 16
"""More than what a file of the system says."""

_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}


class Memory:
    """A budget for the whole process, in bytes, and the folder for what exceeds it.

    What the process holds when the budget is made counts, and so does `work`: what passes themselves need.
    A budget that is a function is asked for when more than a few rows want a place, or somebody looks.
    """

    def __init__(self, budget: int | Callable[[], int], folder: str | None = None, *, work: int = 0) -> None:
        self.folder = folder or tempfile.gettempdir()
        self.spilled = 0
        self.base = resident_bytes()
        self._given = budget
        self._taken = 0
        self._other = work + self.base
        self._lock = threading.Lock()

    @cached_property
    def budget(self) -> int:
        return self._given if isinstance(self._given, int) else self._given()

    def take(self, nbytes: int) -> bool:
        """Reserve memory, or say that there is none left."""
        with self._lock:
            wanted = self._taken + nbytes
            if (wanted > _FEW_BYTES or isinstance(self._given, int)) and wanted > self.budget - self._other:
                self.spilled += nbytes
                return False
            self._taken = wanted
            return True

    def give(self, nbytes: int) -> None:
        with self._lock:
            self._taken -= nbytes

    def trim(self) -> None:
        """Give freed memory back to the system, where there is little of it."""
        if self.spilled:
            pa.default_memory_pool().release_unused()


class Store(Generic[T]):
    """A sequence of items of one fit."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._slots: list[_Held[T] | _Spilled[T] | None] = []
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._slots)

    def hold(self, item: T, nbytes: int) -> _Held[T] | _Spilled[T]:
        """Keep an item without giving it a place yet; any thread may call this.

        Parameters
        ----------
        item : picklable; where the budget is spent, its arrays go to a file at once.
        nbytes : about what it takes in memory.

        Returns
        -------
        What stands for it, for `extend`.
        """
        return _Held(item, nbytes) if self._memory.take(nbytes) else self._spill(item)

    def extend(self, groups: Iterable[list[_Held[T] | _Spilled[T]]]) -> None:
        """Give held items their places, in the order of the groups."""
        for group in groups:
            self._slots.extend(group)
            self._memory.trim()

    def units(self) -> list[Callable[[], Iterator[T]]]:
        """Each item as a unit of a pass."""
        return [partial(_one, self.get, i) for i in range(len(self))]

    def last_units(self) -> list[Callable[[], Iterator[T]]]:
        """Each item as a unit of the last pass, let go as it is taken."""
        return [partial(_one, self.pop, i) for i in range(len(self))]

    def get(self, index: int) -> T:
        slot = self._slots[index]
        assert slot is not None, "an item was asked for after its last use"
        return slot.get()

    def pop(self, index: int) -> T:
        """The item, kept no longer."""
        item = self.get(index)
        slot, self._slots[index] = self._slots[index], None
        if isinstance(slot, _Held):
            self._memory.give(slot.nbytes)
        return item

    def _spill(self, item: T) -> _Spilled[T]:
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
        with self._lock, disk_errors(Path(self._memory.folder)):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="outgrow-", dir=self._memory.folder)  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            start = _align(self._file.seek(0, os.SEEK_END), mmap.ALLOCATIONGRANULARITY)
            spans, at = [], 0
            for buffer in buffers:
                raw = buffer.raw()
                self._file.seek(start + at)
                self._file.write(raw)
                spans.append((at, raw.nbytes))
                at = _align(at + raw.nbytes, 64)
            self._file.flush()
        return _Spilled(head, self._file, start, spans)


def _one(get: Callable[[int], T], index: int) -> Iterator[T]:
    yield get(index)


class _Held(Generic[T]):
    def __init__(self, item: T, nbytes: int) -> None:
        self.item = item
        self.nbytes = nbytes

    def get(self) -> T:
        return self.item


class _Spilled(Generic[T]):
    """An item whose arrays lie in a file; each `get` maps them anew, and they leave memory with the item."""

    def __init__(self, head: bytes, file: BinaryIO, start: int, spans: list[tuple[int, int]]) -> None:
        self.head = head
        self.file = file
        self.start = start
        self.spans = spans

    def get(self) -> T:
        length = max((at + size for at, size in self.spans if size), default=0)
        if not length:
            return pickle.loads(self.head, buffers=[b""] * len(self.spans))
        mapped = memoryview(mmap.mmap(self.file.fileno(), length, access=mmap.ACCESS_READ, offset=self.start))
        return pickle.loads(self.head, buffers=[mapped[at : at + size] for at, size in self.spans])


def parse_size(size: int | str) -> int:
    """Bytes from a number or from text such as '512MiB' or '2GB'."""
    if isinstance(size, int):
        return size
    text = size.strip().upper().replace(" ", "")
    number = text.rstrip("KMGTIB")
    try:
        return int(float(number) * _UNITS[text[len(number) :] or "B"])
    except (KeyError, ValueError, OverflowError):
        raise ParameterError(f"{size!r} is not a size of memory. Write it like '512MiB' or '2GB'.") from None


def resident_bytes() -> int:
    """Memory the process holds now."""
    pages = _read("/proc/self/statm").split()
    return int(pages[1]) * mmap.PAGESIZE if pages else peak_bytes()


def peak_bytes() -> int:
    """The most memory the process held so far."""
    sizes = _sizes(_read("/proc/self/status"), b"VmHWM")
    if sizes:
        return sizes[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int:
    """Memory the machine could still give, with a container's limit where there is one."""
    candidates = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name, line in (("/proc/meminfo", b"MemAvailable"), ("/sys/fs/cgroup/memory.max", b"")):
        candidates += _sizes(_read(name), line)
    space = _address_space()
    return min(candidates) if space is None else min(*candidates, space)


def warn_of_address_space() -> None:
    """Warn where so little address space is left that the threads of Arrow and others may not start.

    They then wait for each other or end the process, which nobody can catch.
    """
    space = _address_space()
    if space is not None and space < _THREADS_TAKE:
        warnings.warn(
            f"`ulimit -v` leaves this process {describe_size(space)} of addresses, and threads of native "
            f"libraries may need {describe_size(_THREADS_TAKE)}, whatever they use: without them the process "
            "may stand still or abort. Raise it, and bound memory itself with og.Local(memory=...).",
            UserWarning,
            stacklevel=4,
        )


def _address_space() -> int | None:
    """Bytes of addresses that are left; None without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:  # spark.executor.pyspark.memory sets one
        return None
    return max(0, limit - _sizes(_read("/proc/self/status"), b"VmSize")[0])


def _read(path: str) -> bytes:
    """What a file of the system says; nothing where there is none, as on other systems than Linux.

    Each fit asks: a file object would take longer than the reading.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, _FILE_BYTES)
    finally:
        os.close(file)


def _sizes(text: bytes, line: bytes) -> list[int]:
    """The number of bytes that a text is, or that the line which begins so says; none where there is none."""
    if not line:
        return [int(text)] if text.strip().isdigit() else []
    _, _, rest = (b"\n" + text).partition(b"\n" + line + b":")
    return [int(rest.split(None, 1)[0]) * 1024] if rest else []


def _align(position: int, to: int) -> int:
    return -(-position // to) * to


def describe_size(nbytes: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit in ("B", "KiB") else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"
