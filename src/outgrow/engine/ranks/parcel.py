"""Python objects on their way to other processes of this machine: arrays are mapped, not copied for each.

What is large in them (Arrow's buffers, NumPy's arrays) is written once, into a file without a name in memory
or, where memory is short, on disk; every process maps it. So neither the size of `/dev/shm` matters, nor is
anything left behind by a process that was killed. Only the process that started another sends it parcels.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cloudpickle
import numpy as np

from outgrow.engine.memory import available_bytes
from outgrow.errors import EngineError
from outgrow.storage import disk_errors

_INLINE = 1 << 16
"""Bytes up to which arrays travel with the message."""
_ALIGNED = 64


@dataclass(frozen=True)
class Parcel:
    """An object, pickled.

    Attributes
    ----------
    head : all of it but its arrays.
    spans : where those are in the file: the first byte, and how many.
    """

    head: bytes
    spans: list[tuple[int, int]]


class Parcels:
    """Some objects and the file of their arrays; a context manager, after which nobody new can map it.

    Parameters
    ----------
    objects : what is sent, one for each process. Arrays that several hold are written once.
    folder : for the file where memory is short.

    Raises
    ------
    EngineError
        When an object cannot be sent.
    """

    def __init__(self, objects: Sequence[Any], folder: str) -> None:
        self._file: BinaryIO | None = None
        self._size = 0
        self._known: dict[tuple[int, int], int] = {}
        self._kept: list[memoryview] = []  # so that no address is used twice
        pickled = [_pickled(each) for each in objects]
        size = sum(buffer.nbytes for _, buffers in pickled for buffer in buffers)
        if size:
            self._open(size, folder)
        with disk_errors(Path(folder)):
            self._parcels = [
                Parcel(head, [self._written(buffer) for buffer in buffers]) for head, buffers in pickled
            ]
            if self._file is not None:
                self._file.flush()
        self._known.clear()
        self._kept.clear()

    def __enter__(self) -> Parcels:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def message(self, number: int) -> dict[str, Any]:
        """One of the objects, as `opened` takes it.

        Parameters
        ----------
        number : which, from 0.
        """
        parcel = self._parcels[number]
        path = None if self._file is None else f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        spans = [list(span) for span in parcel.spans]
        return {"head": parcel.head, "spans": spans, "file": path, "size": self._size}

    def _open(self, size: int, folder: str) -> None:
        if size < available_bytes() // 2:
            self._file = os.fdopen(os.memfd_create("outgrow"), "w+b")
        else:
            with disk_errors(Path(folder)):
                self._file = tempfile.TemporaryFile(prefix="outgrow-", dir=folder)  # noqa: SIM115

    def _written(self, buffer: memoryview) -> tuple[int, int]:
        size = buffer.nbytes
        key = (_address(buffer), size)
        if size and key not in self._known:
            assert self._file is not None
            self._known[key] = self._size
            self._kept.append(buffer)
            self._file.write(buffer)
            padding = -size % _ALIGNED
            self._file.write(bytes(padding))
            self._size += size + padding
        return self._known.get(key, 0), size


def opened(message: dict[str, Any]) -> Any:
    """The object that was sent; its arrays lie in the file and cannot be written.

    Parameters
    ----------
    message : as `Parcels.message` made it, from the process that started this one.
    """
    mapped = memoryview(b"")
    if message["file"] is not None and message["size"]:
        with open(message["file"], "rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), message["size"], access=mmap.ACCESS_READ))
    return pickle.loads(message["head"], buffers=[mapped[at : at + size] for at, size in message["spans"]])


def _pickled(sent: Any) -> tuple[bytes, list[memoryview]]:
    buffers: list[memoryview] = []

    def apart(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _INLINE:
            return True
        buffers.append(raw)
        return False

    try:
        return cloudpickle.dumps(sent, protocol=5, buffer_callback=apart), buffers
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise EngineError(
            f"The fit cannot be sent to other processes: {error}. Keep open files, locks and connections out "
            "of parameters and functions, or fit in this process: og.Local()."
        ) from error


def _address(buffer: memoryview) -> int:
    return int(np.frombuffer(buffer, np.uint8).ctypes.data) if buffer.nbytes else 0
