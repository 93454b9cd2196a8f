"""What one process says to another: a kind, a small JSON, and arrays as they lie in memory.

The one framing of all connections. Arrays are sent from where they are and received into where they stay. No
pickle is read, and no array is larger than its frame.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader

import numpy as np

from outgrow.artifact import Tree, join, no_tree, split

_HEAD = struct.Struct("<BIQ")
_NUMBERS = re.compile(r"[<>|][biuf]\d+")


@dataclass(frozen=True)
class Head:
    """How a frame begins: its kind, and the bytes of its JSON and of its arrays."""

    kind: int
    text: int
    arrays: int

    @classmethod
    def read(cls, stream: BufferedReader) -> Head | None:
        """The head of the next frame; None when the other side has closed the connection.

        Raises
        ------
        ConnectionResetError
            When it ends within the head.
        """
        found = stream.read(_HEAD.size)
        if found and len(found) < _HEAD.size:
            raise ConnectionResetError("the connection was closed")
        return cls(*_HEAD.unpack(found)) if found else None


@dataclass(frozen=True, eq=False)
class Message:
    """A tree on its way: JSON that refers to arrays by number, and those."""

    text: bytes
    arrays: Sequence[np.ndarray]

    @classmethod
    def of(cls, tree: Tree) -> Message:
        """The message that says a tree; its arrays are not copied."""
        structure, arrays = split(tree)
        kinds = [(array.dtype.str, array.shape) for array in arrays.values()]
        return cls(json.dumps([structure, kinds], allow_nan=False).encode(), list(arrays.values()))

    @classmethod
    def read(cls, head: Head, stream: BufferedReader) -> Message:
        """The message behind the head of a frame.

        Parameters
        ----------
        head : what `Head.read` has just read from the stream; it says how long the message is.
        stream : the connection, at the first byte after the head.

        Raises
        ------
        ConnectionResetError
            When the connection ends within it.
        ArtifactError
            When it is none.
        """
        text = stream.read(head.text)
        if len(text) < head.text:
            raise ConnectionResetError("the connection was closed")
        with no_tree("A message"):
            kinds = json.loads(text)[1] if text else []
            sizes = [np.dtype(_checked(kind)).itemsize * math.prod(shape) for kind, shape in kinds]
            if sum(sizes) != head.arrays or min(sizes, default=0) < 0:
                raise ValueError(f"arrays of {sum(sizes)} bytes in a frame of {head.arrays}")
            arrays = [np.empty(shape, kind) for kind, shape in kinds]
        for array in arrays:
            read_into(stream, array)
        return cls(text, arrays)

    def tree(self) -> Tree:
        """What is said.

        Raises
        ------
        ArtifactError
            When it is no tree.
        """
        arrays = {str(number): array for number, array in enumerate(self.arrays)}
        with no_tree("A message"):
            return join(json.loads(self.text)[0], arrays)


SILENT = Message(b"", ())
"""For frames whose kind says it all."""


def send(peer: socket.socket, kind: int, message: Message = SILENT) -> None:
    """Send a whole frame; each piece of it has the socket's own timeout.

    Parameters
    ----------
    peer : the connection; one thread at a time may send.
    kind : 0 to 255; both sides agree on what it means.
    message : what follows the head; nothing by default.

    Raises
    ------
    OSError
        When the connection is gone; a TimeoutError when the other side does not read.
    """
    raw = [_raw(array) for array in message.arrays if array.size]
    head = _HEAD.pack(kind, len(message.text), sum(map(len, raw)))
    waiting = [memoryview(head + message.text), *raw]
    while waiting:
        sent = peer.sendmsg(waiting[:_AT_ONCE])
        while waiting and sent >= len(waiting[0]):
            sent -= len(waiting.pop(0))
        if sent:
            waiting[0] = waiting[0][sent:]


def read_into(stream: BufferedReader, array: np.ndarray) -> None:
    """Fill an array with the bytes that come next.

    Parameters
    ----------
    stream : the connection.
    array : contiguous, of any type of numbers; its size says how many bytes are read.

    Raises
    ------
    ConnectionResetError
        When the connection ends before.
    """
    raw = _raw(array) if array.size else memoryview(b"")
    while raw:
        count = stream.readinto(raw)
        if not count:
            raise ConnectionResetError("the connection was closed")
        raw = raw[count:]


_AT_ONCE = 64
"""Pieces that are given to the system in one call: it takes no more than some hundred."""


def _raw(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _checked(kind: str) -> str:
    if not isinstance(kind, str) or not _NUMBERS.fullmatch(kind):
        raise ValueError(f"an array of type {kind!r}")
    return kind
