"""What runs in Spark's tasks: one rank of a fit, or batches on their way."""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from outgrow.artifact import pack
from outgrow.data.batch import Batch
from outgrow.data.scan import ScanPiece, Step, run_steps
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.events import listen
from outgrow.engine.groups import Groups, cut
from outgrow.engine.journal import Checkpoint, Journal
from outgrow.engine.memory import Memory, available_bytes
from outgrow.engine.peer import PeerFailedError
from outgrow.engine.ranks.rank import facts
from outgrow.engine.ranks.rendezvous import join
from outgrow.engine.record import work_bytes
from outgrow.engine.shard import Shard
from outgrow.engine.spark.driver import DriverClient
from outgrow.engine.spark.executor import spare_modules, watched_executor
from outgrow.engine.spark.frames import StreamPiece, to_spark_type
from outgrow.engine.spark.vectors import VectorColumn, open_batch
from outgrow.errors import OutgrowError, RankLostError

RESULT = pa.schema([("rank", pa.int64()), ("kind", pa.string()), ("payload", pa.binary())])
RESULT_DDL = "rank bigint, kind string, payload binary"
_CHUNK = 32 << 20
_JOINING = 20.0
"""Most seconds until all ranks have met, however short the deadline: Spark starts them at the same moment,
but on a busy machine a process takes long to load what it needs."""
_STUCK = 5.0
_NOT_FOR_USERS = (ResourceWarning, DeprecationWarning, PendingDeprecationWarning)


@dataclass(frozen=True)
class RankJob:
    """One fit, as every rank gets it.

    Attributes
    ----------
    fit : the code of the fit; its result must be storable by an artifact.
    pieces : for each rank what it reads; None when Spark hands the rows over.
    steps : what is done to rows that Spark hands over.
    vectors : which of their columns hold vectors of Spark ML.
    example : a batch without rows, as the scan yields them.
    hub : where the driver listens, or None.
    known : the states of passes that were made before.
    checkpoint : where states are kept, or None.
    threads : on how many a rank works.
    """

    fit: Callable[[Shard], Any]
    stage: str
    pieces: list[list[ScanPiece]] | None
    steps: tuple[Step, ...]
    vectors: Mapping[str, VectorColumn]
    example: Batch
    keep: bool
    secret: bytes
    ports: tuple[int, int]
    deadline: float
    memory: int | None
    hub: tuple[str, int] | None
    heard: bool
    known: list[bytes]
    checkpoint: Checkpoint | None
    threads: int

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext

        spare_modules()
        context = BarrierTaskContext.get()
        hosts = [info.address.rpartition(":")[0] for info in context.getTaskInfos()]
        secret = self.secret + struct.pack("<i", context.attemptNumber())
        yield from _Rank(self, context.partitionId(), hosts, secret).run(rows)


class _Rank:
    """One rank at work."""

    def __init__(self, job: RankJob, rank: int, hosts: list[str], secret: bytes) -> None:
        self.job = job
        self.rank = rank
        self.hosts = hosts
        self.secret = secret
        self.comm: Tcp | None = None
        self.work: FitContext | None = None

    def run(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of the answer: on rank 0 the result, on a rank that fails the cause."""
        with watched_executor(self.job.deadline, self._end):
            yield from self._run(rows)

    def _run(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for kind, payload in self._messages(rows):
                yield from _rows(self.rank, kind, payload)
        except RankLostError as error:
            self._report(error)
            raise  # the task has to fail: Spark then ends all others, the lost one too
        except PeerFailedError:
            pass  # that rank reports the cause itself
        except Exception as error:
            if self.comm is not None and self.comm.cause is not None and self.comm.cause.lost:
                lost = self.comm.cause.error()
                self._report(lost)
                raise lost from error
            yield from _rows(self.rank, "error", json.dumps(self._fail(error)).encode())
        finally:
            if self.comm is not None:
                self.comm.close()
        for _ in rows:
            pass  # Spark ends a worker that leaves rows behind, and the next task waits for a new one

    def _messages(self, rows: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, bytes]]:
        job, deadline = self.job, self.job.deadline
        caller = DriverClient(
            job.hub if self.rank == 0 else None, self.rank, job.secret, beat=min(10.0, deadline / 4)
        )
        try:
            self.comm = join(
                self.rank,
                self.hosts,
                self.secret,
                ports=job.ports,
                joining=max(deadline, _JOINING),
                deadline=deadline,
            )
            with _unstuck(self.comm):
                result, said = self._fit(rows, caller)
        finally:
            caller.close()
        assert self.work is not None
        yield "report", json.dumps(facts(self.work)).encode()
        if self.rank == 0:
            yield "result", pack(result)
            yield from (("warning", text.encode()) for text in said)

    def _fit(self, stream: Iterator[pa.RecordBatch], caller: DriverClient) -> tuple[Any, list[str]]:
        job, comm = self.job, self.comm
        assert comm is not None
        budget = job.memory or available_bytes() * 3 // 4 // self.hosts.count(comm.host)
        pieces: Sequence[Any] = (
            [StreamPiece(stream, job.steps, job.vectors)] if job.pieces is None else job.pieces[self.rank]
        )
        memory = Memory(budget, work=job.threads * work_bytes(pieces))
        self.work = run = FitContext(comm, job.threads, memory, job.stage, self._journal(caller))
        with warnings.catch_warnings(record=True) as caught, self._telling(caller):
            warnings.simplefilter("always")
            keep = job.keep or job.pieces is None
            result = job.fit(Shard.of(run, pieces, job.example, keep=keep))
        said = [item for item in caught if not issubclass(item.category, _NOT_FOR_USERS)]
        return result, [f"{item.category.__name__}: {item.message}" for item in said]

    def _journal(self, caller: DriverClient) -> Journal:
        if self.rank:
            return Journal(self.job.known)

        def keep(place: int, entry: bytes) -> None:
            caller.state(place, entry)
            if self.job.checkpoint is not None:
                self.job.checkpoint.keep(place, entry)

        return Journal(self.job.known, keep)

    def _telling(self, caller: DriverClient) -> Any:
        return listen(caller.event) if self.rank == 0 and self.job.heard else nullcontext()

    def _end(self) -> None:
        """End this process, whose executor takes nothing from it any more, after telling the driver."""
        host, seconds = self.hosts[self.rank], self.job.deadline
        self._report(
            RankLostError(
                f"Rank {self.rank} on {host} is lost: its executor has been stopped for {seconds:g} s.",
                self.rank,
                host,
            )
        )
        os._exit(70)

    def _fail(self, error: Exception) -> dict[str, Any]:
        """Tell the other ranks and the driver that this one gives up; what the driver is told."""
        if self.comm is not None:
            self.comm.abort(f"{type(error).__name__}: {error}")
        cause = {
            "type": type(error).__name__,
            "message": str(error),
            "rank": self.rank,
            "host": self.hosts[self.rank],
            "passed": 0 if self.work is None else self.work.passes,
            "trace": traceback.format_exc(),
        }
        self._tell_driver(cause)
        return cause

    def _report(self, error: Exception) -> None:
        """Tell the driver which rank was lost."""
        self._tell_driver(
            {
                "type": "RankLostError",
                "message": str(error),
                "rank": getattr(error, "rank", -1),
                "host": getattr(error, "host", "?"),
                "passed": 0 if self.work is None else self.work.passes,
                "trace": "",
            }
        )

    def _tell_driver(self, cause: dict[str, Any]) -> None:
        caller = DriverClient(self.job.hub, self.rank, self.job.secret, beat=1.0)
        caller.failure(cause)
        caller.close()


@contextmanager
def _unstuck(comm: Tcp) -> Iterator[None]:
    """End this process when it takes no notice that another rank is lost.

    A library that talks to the other ranks by itself may wait for the lost one much longer than we do, in
    code that cannot be interrupted. Spark notices that the process is gone and ends the others.
    """
    done = threading.Event()

    def watch() -> None:
        while not comm.failed.wait(1.0):
            if done.is_set():
                return
        if comm.cause is not None and comm.cause.lost and not done.wait(_STUCK):
            print(f"outgrow: {comm.cause.error()} This process waits for it and is ended.", file=sys.stderr)
            sys.stderr.flush()
            os._exit(70)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@dataclass(frozen=True)
class MapJob:
    """Batches on their way through the steps of a scan, or out of the pieces of a source.

    Attributes
    ----------
    vectors : the columns of the input that hold vectors of Spark ML.
    kept : those of them that no step changes: they are handed back as they came.
    schema : of the answer, in which None is the type of a column that is kept.
    """

    pieces: list[list[ScanPiece]] | None
    steps: tuple[Step, ...]
    vectors: Mapping[str, VectorColumn]
    kept: tuple[str, ...]
    schema: Mapping[str, pa.DataType | None]

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        for batch in rows:
            if self.pieces is None:
                yield from self._changed(batch)
                continue
            for place in batch.column(0).to_pylist():
                for piece in self.pieces[place]:
                    for found in piece.batches():
                        yield self._with_kept(found.to_arrow(), batch)

    def _changed(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        result = run_steps(self.steps, open_batch(batch, self.vectors))
        if result.num_rows:
            yield self._with_kept(result.drop(self.kept).to_arrow(), batch)

    def _with_kept(self, result: pa.RecordBatch, given: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            given.column(name) if kind is None else to_spark_type(result.column(name), kind, name)
            for name, kind in self.schema.items()
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(self.schema))


@dataclass(frozen=True)
class PieceJob:
    """Pieces of a source, or the partitions that Spark hands over, each worked on by itself.

    Attributes
    ----------
    function : what is done with the number and the rows of a piece.
    pieces : with their numbers; None when Spark hands the rows over.
    steps, vectors : as those of a `RankJob`.
    """

    function: Callable[[int, Any], Any]
    pieces: Sequence[tuple[int, ScanPiece | None]] | None
    steps: tuple[Step, ...] = ()
    vectors: Mapping[str, VectorColumn] = field(default_factory=dict)

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        try:
            for number, piece in self._parts(rows):
                yield from _rows(number, "result", pack(self.function(number, piece)))
        except OutgrowError as error:  # trying again would not help, as it may where something else is wrong
            cause = {"type": type(error).__name__, "message": str(error)}
            yield from _rows(-1, "error", json.dumps(cause).encode())
        for _ in rows:
            pass

    def _parts(self, rows: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Any]]:
        if self.pieces is None:
            from pyspark import TaskContext

            context = TaskContext.get()
            assert context is not None
            yield context.partitionId(), StreamPiece(rows, self.steps, self.vectors)
            return
        for batch in rows:
            for place in batch.column(0).to_pylist():
                yield self.pieces[place]


@dataclass(frozen=True)
class GroupJob:
    """The groups that are in a task's partition.

    Attributes
    ----------
    function : makes of the groups of a bin what goes to the driver, part by part.
    by : the columns of the keys.
    place : the column that brought the rows here.
    """

    function: Callable[[Groups], Iterator[Any]]
    by: tuple[str, ...]
    place: str

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        spare_modules()
        context = TaskContext.get()
        assert context is not None
        first = context.partitionId() << 32
        try:
            batches = [Batch.from_arrow(batch).drop([self.place]) for batch in rows if batch.num_rows]
            for number, found in enumerate(self.function(cut(batches, self.by))):
                yield from _rows(first + number, "result", pack(found))
        except OutgrowError as error:
            cause = {"type": type(error).__name__, "message": str(error)}
            yield from _rows(-1, "error", json.dumps(cause).encode())


def joined(rows: pa.Table) -> dict[tuple[int, str], bytes]:
    """The answers of tasks, put together again, by number and kind."""
    parts: dict[tuple[int, str], bytes] = {}
    for row in rows.to_pylist():
        key = row["rank"], row["kind"]
        parts[key] = parts.get(key, b"") + row["payload"]
    return parts


def _rows(rank: int, kind: str, payload: bytes) -> Iterator[pa.RecordBatch]:
    for start in range(0, max(1, len(payload)), _CHUNK):
        part = payload[start : start + _CHUNK]
        yield pa.RecordBatch.from_pylist([{"rank": rank, "kind": kind, "payload": part}], schema=RESULT)
