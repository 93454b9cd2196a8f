"""Arrow IPC from outside: bounded before it is decoded, and validated before anything else reads it.

Arrow's readers check that messages are well-formed, not that the offsets, indices and text in their buffers
are: kernels trust those, and read past their memory where they are wrong. Reading and then validating in full
is what Arrow's own fuzzing does, so it is safe in this process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import DataError

READ_ERRORS = (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, struct.error, OverflowError)
"""What reading damaged bytes with Arrow raises: sizes that no memory has, names that are no text."""
_VALUE_BYTES = 8
"""What a value takes at least once it is used; on the way, a null takes nothing."""
_SHOWN_CHARACTERS = 200
"""How much of what Arrow says goes into a message."""


def validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch itself, once every offset, index and text in it has been checked.

    Raises
    ------
    DataError
        When one is wrong.
    """
    with _translated("The Arrow data is damaged"):
        batch.validate(full=True)
    return batch


def stream_batches(source: Any) -> Iterator[pa.RecordBatch]:
    """The validated batches of an Arrow IPC stream, as they come.

    Parameters
    ----------
    source : bytes, an Arrow buffer, or a file to read from.

    Raises
    ------
    DataError
        When it is no such stream, or damaged.
    """
    with _translated("This is not a whole Arrow IPC stream"):
        reader = _opened(source)
    while (batch := _next(reader)) is not None:
        yield validated(batch)


def stream_table(body: bytes | pa.Buffer, *, limit: int | None = None) -> pa.Table:
    """The validated rows of an Arrow IPC stream in memory.

    Parameters
    ----------
    limit : the most bytes that may be made of it. Compressed buffers count as what they expand to, each value
        as 8 bytes at least, and text as if each row had its own.

    Raises
    ------
    DataError
        When it is no such stream, damaged, or would take more than `limit`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> sink = pa.BufferOutputStream()
    >>> with pa.ipc.new_stream(sink, pa.schema([("x", pa.int64())])) as writer:
    ...     writer.write_batch(pa.record_batch({"x": [1, 2]}))
    >>> stream_table(sink.getvalue(), limit=1000)["x"].to_pylist()
    [1, 2]
    >>> stream_table(sink.getvalue(), limit=10)
    Traceback (most recent call last):
    outgrow.errors.DataError: The Arrow stream makes 16 bytes; at most 10 may be made. Send fewer rows.
    """
    if limit is not None:
        _check_size(decoded_bytes(body), limit)
    with _translated("This is not a whole Arrow IPC stream"):
        reader = _opened(body)
        batches = [validated(batch) for batch in reader]
        table = pa.Table.from_batches(batches, reader.schema)
    if limit is not None:
        _check_size(sum(_expanded_bytes(chunk) for column in table.columns for chunk in column.chunks), limit)
    return table


def decoded_bytes(body: bytes | pa.Buffer) -> int:
    """What the messages of an Arrow IPC stream say they hold, decompressed; nothing is decoded for it.

    Raises
    ------
    DataError
        When it is no such stream.
    """
    total, dictionaries = 0, dict[int, int]()
    with _translated("This is not a whole Arrow IPC stream"):
        for message in pa.ipc.MessageReader.open_stream(body):
            header = _header(message)
            size = header.size(message.body)
            if header.dictionary is not None:
                # a delta makes a new dictionary of the old words and its own
                size += dictionaries.get(header.dictionary, 0) if header.delta else 0
                dictionaries[header.dictionary] = size
            total += size
    return total


def _check_size(made: int, limit: int) -> None:
    if made > limit:
        raise DataError(f"The Arrow stream makes {made} bytes; at most {limit} may be made. Send fewer rows.")


def _opened(source: Any) -> Any:
    reader = pa.ipc.open_stream(source)
    assert isinstance(reader.schema.names, list)  # decoded here, while what is no UTF-8 is translated
    return reader


def _next(reader: Any) -> pa.RecordBatch | None:
    with _translated("The Arrow stream is damaged, or ends too early"):
        return next(reader, None)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:_SHOWN_CHARACTERS]
        raise DataError(f"{what}: {reason}. Write it again.") from None


def _expanded_bytes(column: pa.Array) -> int:
    """What the values of a column take once each row has its own."""
    kind = column.type
    if isinstance(column, pa.DictionaryArray):
        return int(pc.sum(_lengths(column.dictionary).take(column.indices)).as_py() or 0)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return _VALUE_BYTES * int(pc.sum(pc.list_value_length(column)).as_py() or 0)
    return int(pc.sum(_lengths(column)).as_py() or 0) if _is_view(kind) else _VALUE_BYTES * len(column)


def _lengths(words: pa.Array) -> pa.Array:
    """The bytes of each value."""
    kind = words.type
    if _is_view(kind):
        views = np.frombuffer(words.buffers()[1] or b"", dtype="<i4").reshape(-1, 4)
        lengths = views[words.offset : words.offset + len(words), 0].astype(np.int64)
        return pa.array(lengths, mask=words.is_null().to_numpy(zero_copy_only=False))
    if any(is_text(kind) for is_text in _TEXT):
        return pc.binary_length(words).cast(pa.int64())
    return pa.array(np.full(len(words), max(_VALUE_BYTES, words.nbytes if pa.types.is_nested(kind) else 0)))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


class _Header(NamedTuple):
    """What a message says of its body; https://arrow.apache.org/docs/format/Columnar.html describes it.

    Attributes
    ----------
    values : how many values its columns and their children have.
    buffers : for each buffer where it begins in the body, and its bytes there.
    compressed : each buffer begins with the number of its bytes once expanded.
    dictionary, delta : whose words they are, and whether they are added to earlier ones.
    """

    values: int = 0
    buffers: tuple[int, ...] = ()
    compressed: bool = False
    dictionary: int | None = None
    delta: bool = False

    def size(self, body: pa.Buffer | None) -> int:
        """The bytes of its body, expanded, and at least 8 a value."""
        if body is None:
            return 0
        made = sum(self.buffers[1::2])
        if self.compressed:
            extents = zip(self.buffers[::2], self.buffers[1::2], strict=True)
            made = sum(_expanded(body, at, length) for at, length in extents if length)
        return max(made, body.size, _VALUE_BYTES * self.values)


def _expanded(body: pa.Buffer, at: int, length: int) -> int:
    """What the first bytes of a compressed buffer say; -1 is that it is not compressed after all."""
    (expanded,) = struct.unpack_from("<q", body, at)
    return length if expanded < 0 else int(expanded)


_DICTIONARY, _RECORDS = 2, 3


def _header(message: Any) -> _Header:
    table = _Table(message.metadata.to_pybytes(), 0).child_at(0)
    kind, header = table.number(1, "<B"), table.child(2)
    if header is None or kind not in (_DICTIONARY, _RECORDS):
        return _Header()
    if kind == _RECORDS:
        return _records(header)
    records = header.child(1)
    records_header = _Header() if records is None else _records(records)
    return records_header._replace(dictionary=header.number(0, "<q"), delta=bool(header.number(2, "<B")))


def _records(table: _Table) -> _Header:
    return _Header(sum(table.pairs(1)[::2]), table.pairs(2), table.child(3) is not None)


class _Table(NamedTuple):
    """A table in a FlatBuffer that Arrow has verified; https://flatbuffers.dev/internals."""

    data: bytes
    at: int

    def number(self, field: int, form: str) -> int:
        position = self._position(field)
        return int(struct.unpack_from(form, self.data, position)[0]) if position else 0

    def child(self, field: int) -> _Table | None:
        position = self._position(field)
        return self.child_at(position) if position else None

    def child_at(self, position: int) -> _Table:
        return _Table(self.data, position + struct.unpack_from("<I", self.data, position)[0])

    def pairs(self, field: int) -> tuple[int, ...]:
        """A vector of structs of two 64-bit integers, one behind the other."""
        vector = self.child(field)
        if vector is None:
            return ()
        (count,) = struct.unpack_from("<I", self.data, vector.at)
        return struct.unpack_from(f"<{2 * count}q", self.data, vector.at + 4)

    def _position(self, field: int) -> int:
        """Where the value of a field is; 0 where it has its default."""
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        (size,) = struct.unpack_from("<H", self.data, vtable)
        if 6 + 2 * field > size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, vtable + 4 + 2 * field)
        return self.at + offset if offset else 0
