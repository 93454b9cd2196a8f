"""What runs in Spark's tasks: one rank of a fit, or batches on their way."""

from __future__ import annotations

import json
import socket
import struct
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from outgrow.artifact import pack
from outgrow.data.batch import Batch
from outgrow.data.scan import ScanPiece, Step, run_steps
from outgrow.engine.collective import PeerFailedError, Tcp
from outgrow.engine.events import Event, listen
from outgrow.engine.memory import Memory, available_bytes, peak_bytes
from outgrow.engine.run import Run
from outgrow.engine.shard import Shard
from outgrow.engine.spark.frames import StreamPiece
from outgrow.engine.spark.rendezvous import call, join

RESULT = pa.schema([("rank", pa.int64()), ("kind", pa.string()), ("payload", pa.binary())])
RESULT_DDL = "rank bigint, kind string, payload binary"
_CHUNK = 32 << 20


@dataclass(frozen=True)
class RankJob:
    """One fit, as every rank gets it.

    Attributes
    ----------
    fit : the code of the fit; its result must be storable by an artifact.
    pieces : for each rank what it reads; None when Spark hands the rows over.
    steps : what is done to rows that Spark hands over.
    example : a batch without rows, as the scan yields them.
    hub : where the driver listens for progress, or None.
    """

    fit: Callable[[Shard], Any]
    stage: str
    pieces: list[list[ScanPiece]] | None
    steps: tuple[Step, ...]
    example: Batch
    keep: bool
    secret: bytes
    ports: tuple[int, int]
    deadline: float
    memory: int | None
    hub: tuple[str, int] | None

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        rank = context.partitionId()
        hosts = [info.address.rpartition(":")[0] for info in context.getTaskInfos()]
        secret = self.secret + struct.pack("<i", context.attemptNumber())
        began = time.perf_counter()
        for kind, payload in self._run(rank, hosts, secret, rows):
            yield from _rows(rank, kind, payload)
        report = {"host": hosts[rank], "seconds": time.perf_counter() - began, "peak": peak_bytes()}
        yield from _rows(rank, "report", json.dumps(report).encode())

    def _run(
        self, rank: int, hosts: list[str], secret: bytes, rows: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[str, bytes]]:
        comm: Tcp | None = None
        try:
            comm = join(rank, hosts, secret, ports=self.ports, deadline=self.deadline)
            result, said = self._fit(comm, rows, hosts.count(hosts[rank]))
            if rank == 0:
                yield "result", pack(result)
                yield from (("warning", text.encode()) for text in said)
        except PeerFailedError:
            return  # that rank reports the cause itself
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if comm is not None:
                comm.abort(reason)
            cause = {
                "type": type(error).__name__,
                "message": str(error),
                "host": hosts[rank],
                "trace": traceback.format_exc(),
            }
            yield "error", json.dumps(cause).encode()
        finally:
            for _ in rows:
                pass  # Spark ends a worker that leaves rows behind, and the next task waits for a new one
            if comm is not None:
                comm.close()

    def _fit(self, comm: Tcp, stream: Iterator[pa.RecordBatch], neighbours: int) -> tuple[Any, list[str]]:
        budget = self.memory or available_bytes() * 3 // 4 // neighbours
        run = Run(comm, 1, Memory(budget), self.stage)
        pieces: Sequence[Any] = (
            [StreamPiece(stream, self.steps)] if self.pieces is None else self.pieces[comm.rank]
        )
        with ExitStack() as stack, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if comm.rank == 0 and self.hub is not None:
                stack.enter_context(_telling(self.hub, self.secret))
            keep = self.keep or self.pieces is None
            result = self.fit(Shard.of(run, pieces, self.example, keep=keep))
        return result, [f"{item.category.__name__}: {item.message}" for item in caught]


@dataclass(frozen=True)
class MapJob:
    """Batches on their way through the steps of a scan, or out of the pieces of a source."""

    pieces: list[list[ScanPiece]] | None
    steps: tuple[Step, ...]
    schema: pa.Schema

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in self._batches(rows):
            if batch.num_rows:
                yield pa.RecordBatch.from_arrays(
                    [
                        _exactly(column, field.type)
                        for column, field in zip(batch.columns, self.schema, strict=True)
                    ],
                    schema=self.schema,
                )

    def _batches(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            if self.pieces is None:
                yield run_steps(self.steps, Batch.from_arrow(batch)).to_arrow()
                continue
            for place in batch.column(0).to_pylist():
                for piece in self.pieces[place]:
                    yield from (found.to_arrow() for found in piece.batches())


def _exactly(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column if column.type == kind else column.cast(kind)


def _rows(rank: int, kind: str, payload: bytes) -> Iterator[pa.RecordBatch]:
    for start in range(0, max(1, len(payload)), _CHUNK):
        part = payload[start : start + _CHUNK]
        yield pa.RecordBatch.from_pylist([{"rank": rank, "kind": kind, "payload": part}], schema=RESULT)


def _telling(hub: tuple[str, int], secret: bytes) -> Any:
    """Send events to the driver while the block runs; without a way there, do nothing."""
    line = call(hub, 0, secret, timeout=1.0)
    return ExitStack() if line is None else listen(_Teller(line))


class _Teller:
    """Sends each event to the driver, until the driver hears no more."""

    def __init__(self, line: socket.socket) -> None:
        self.line: socket.socket | None = line
        line.settimeout(2.0)

    def __call__(self, event: Event) -> None:
        if self.line is None:
            return
        text = json.dumps(asdict(event)).encode()
        try:
            self.line.sendall(len(text).to_bytes(4, "little") + text)
        except OSError:
            self.line = None
