"""Blocks of Avro that Snappy or Zstandard compressed, as Spark and Kafka write them: Arrow has both."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, MutableMapping
from typing import Any

import pyarrow as pa

_MOST = 32
"""Snappy makes at most so many bytes of one: a block that says more is damaged."""
_CHECKSUM = 4


def add_codecs(readers: MutableMapping[str, Any]) -> None:
    """Add what reads both.

    Parameters
    ----------
    readers : what reads a block of each codec, as fastavro has them; they are changed.
    """
    readers["snappy"] = _reader(_unsnapped)
    readers["zstandard"] = _reader(_inflated)


def _reader(decompressed: Callable[[bytes], bytes]) -> Callable[[Any], io.BytesIO]:
    def read(stream: Any) -> io.BytesIO:
        size, _ = _number(stream.read)
        content = stream.read(size >> 1)
        if size & 1 or len(content) < size >> 1:
            raise EOFError("a block is cut off")
        return io.BytesIO(decompressed(content))

    return read


def _number(read: Callable[[int], bytes]) -> tuple[int, int]:
    """A number in parts of seven bits, the lowest first, and how many bytes it takes."""
    number = 0
    for count in range(10):
        part = read(1)
        if not part:
            break
        number |= (part[0] & 0x7F) << (7 * count)
        if part[0] < 0x80:
            return number, count + 1
    raise EOFError("a block is cut off")


def _unsnapped(content: bytes) -> bytes:
    """The bytes of a block; its last four are their checksum."""
    block, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    size, _ = _number(io.BytesIO(block).read)
    if size > _MOST * len(block):
        raise ValueError(f"a block of {len(block)} bytes says that it holds {size}")
    made: bytes = pa.decompress(block, size, codec="snappy", asbytes=True)
    if zlib.crc32(made) != int.from_bytes(checksum, "big"):
        raise ValueError("a block has another checksum")
    return made


def _inflated(content: bytes) -> bytes:
    with pa.input_stream(pa.BufferReader(content), compression="zstd") as stream:
        made: bytes = stream.read()
    return made
