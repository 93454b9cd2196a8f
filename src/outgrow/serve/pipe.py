"""Rows on standard input, predictions on standard output: JSON lines, or Arrow's stream format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.ipc import stream_batches
from outgrow.errors import RowError
from outgrow.ml.base import VERSION
from outgrow.registry.store import Follower, Version
from outgrow.serve.http.rows import RowReader, RowsError, decoded, msgspec, table_batch

_CHUNK_BYTES = 1 << 20
_ARROW = b"\xff\xff\xff\xff"
"""What a stream of Arrow begins with."""


def score_pipe(path: str, source: BinaryIO, sink: BinaryIO, *, probabilities: bool = False) -> int:
    """Score rows as they come in, in the order they come; how many there were.

    Each line of JSON is answered by a line with `prediction` and `model_version`, and a stream of Arrow by a
    stream with these columns beside its own.

    Parameters
    ----------
    path : of a saved model or a `ModelStore`, whose current version is taken between two batches.

    Raises
    ------
    RowError
        When a row cannot be scored; rows before its batch have been answered.
    """
    follower = Follower(path)
    version = follower.look()
    assert version is not None
    head = source.read(4)
    if head == _ARROW:
        return _score_arrow(version, _PrefixedStream(head, source), sink, probabilities=probabilities)
    count = 0
    for lines in _lines(head, source):
        version = follower.look() or version
        sink.write(_answers(version, lines, count, probabilities=probabilities))
        sink.flush()
        count += len(lines)
    return count


def _answers(version: Version, lines: list[bytes], start: int, *, probabilities: bool) -> bytes:
    reader = RowReader(version.predictor.columns)
    try:
        batch = reader.batch(reader.checked([decoded(line) for line in lines]))
    except RowsError as error:
        raise RowError(f"Lines {start + 1} to {start + len(lines)}: {error}") from error
    scores = version.predictor.scores(batch, probabilities=probabilities)
    rows = pa.table(scores).append_column(VERSION, pa.array([version.name] * len(lines))).to_pylist()
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _lines(head: bytes, source: BinaryIO) -> Iterator[list[bytes]]:
    """The whole lines that have come, as soon as they have."""
    rest = head
    while True:
        chunk = source.read1(_CHUNK_BYTES) if hasattr(source, "read1") else source.read(_CHUNK_BYTES)
        *lines, rest = (rest + chunk).split(b"\n")
        if not chunk:
            lines.append(rest)
        lines = [line for line in lines if line.strip()]
        if lines:
            yield lines
        if not chunk:
            return


def _score_arrow(version: Version, source: Any, sink: BinaryIO, *, probabilities: bool) -> int:
    reader, count = RowReader(version.predictor.columns), 0
    writer = None
    for arrow_batch in stream_batches(source):
        try:
            batch = table_batch(reader, pa.Table.from_batches([arrow_batch]))
        except RowsError as error:
            raise RowError(str(error)) from error
        scores = version.predictor.scores(batch, probabilities=probabilities)
        scores[VERSION] = pa.array([version.name] * arrow_batch.num_rows)
        rows = Batch.from_arrow(arrow_batch)
        answer = rows.beside(scores, "Predictions", "Rename those, or leave them out.").to_arrow()
        writer = writer or pa.ipc.new_stream(sink, answer.schema)
        writer.write_batch(answer)
        count += arrow_batch.num_rows
    if writer is not None:
        writer.close()
    return count


class _PrefixedStream:
    """A stream whose first bytes have been read."""

    def __init__(self, head: bytes, source: BinaryIO) -> None:
        self._head = head
        self._source = source
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        head, self._head = (
            self._head[:size] if size >= 0 else self._head,
            self._head[size:] if size >= 0 else b"",
        )
        return head + self._source.read(size - len(head) if size >= 0 else -1)

    def readable(self) -> bool:
        return True
