"""Spark as an engine: a whole fit is one barrier job, whose tasks run the same code on their own rows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from outgrow import errors
from outgrow.artifact import unpack
from outgrow.data.batch import Batch
from outgrow.data.scan import Apply, Scan, Step, run_steps
from outgrow.engine.cache import found
from outgrow.engine.dataset import Dataset
from outgrow.engine.groups import Groups, Packing, Tag
from outgrow.engine.journal import Identity, open_checkpoint
from outgrow.engine.memory import parse_size
from outgrow.engine.protocol import Engine, Table
from outgrow.engine.ranks.rendezvous import PORTS
from outgrow.engine.ranks.shares import share_out
from outgrow.engine.record import Fitted
from outgrow.engine.shard import Shard
from outgrow.engine.spark.barrier import BarrierFit
from outgrow.engine.spark.batches import batch_properties
from outgrow.engine.spark.cluster import Cluster
from outgrow.engine.spark.driver import DriverServer
from outgrow.engine.spark.explain import spark_explained
from outgrow.engine.spark.files import as_files
from outgrow.engine.spark.frames import (
    FrameSource,
    free_place,
    from_spark_types,
    gathered,
    spark_schema,
    with_vectors,
)
from outgrow.engine.spark.names import map_in_arrow
from outgrow.engine.spark.probe import TaskReport, look
from outgrow.engine.spark.query import query_source
from outgrow.engine.spark.staged import staged
from outgrow.engine.spark.supervise import SLOT_TIMEOUT, Supervisor
from outgrow.engine.spark.task import RESULT_DDL, GroupJob, MapJob, PieceJob, joined
from outgrow.errors import EngineError, OutgrowError, ParameterError

T = TypeVar("T")

SMALL = 256 << 20
"""Below this many bytes a scan gets one task a slot; above, WAVES, so that slow ones even out."""

WAVES = 4


class Spark:
    """Run on a Spark session, Classic or Connect.

    Datasets that are paths are read by the tasks themselves; other DataFrames reach them through files that
    ordinary tasks write, or through one shuffle where no folder is known that all reach.
    The executors need outgrow and the libraries of the session's Python.

    Parameters
    ----------
    session : the SparkSession.
    ranks : how many tasks a fit has; by default as many as the cluster runs at once
        (`spark.default.parallelism`). More than can run at once is refused.
    memory_per_rank : the most a rank may hold, in bytes or like '2GiB'; by default its share of three
        quarters of what its host has free.
    deadline : seconds of silence after which a rank is taken for lost. A rank that works is never silent,
        however long a pass takes.
    slot_timeout : seconds for which a fit waits for free slots; six times as long while executors of a new
        session start.
    ports : range from which ranks choose the ports they listen on.
    checkpoint : folder, which all executors reach, for the passes of fits under way; a fit that is called
        again with the same folder goes on where the last one stopped, even after the driver died.
    cpus_per_rank : cores of a rank, which then works on as many threads; `spark.task.cpus` by default.
    gpus_per_rank : GPUs of a rank. Either asks Spark for a resource profile of this stage alone, which
        standalone clusters, YARN and Kubernetes know.

    Examples
    --------
    >>> flights = og.read("flights/*.parquet", engine=og.Spark(session))    # doctest: +SKIP
    """

    name = "spark"
    holds = False
    needs_pieces = False

    def __init__(
        self,
        session: Any,
        *,
        ranks: int | None = None,
        memory_per_rank: int | str | None = None,
        deadline: float = 60.0,
        slot_timeout: float = SLOT_TIMEOUT,
        ports: tuple[int, int] = PORTS,
        checkpoint: str | os.PathLike[str] | None = None,
        cpus_per_rank: int | None = None,
        gpus_per_rank: float | None = None,
    ) -> None:
        size = None if memory_per_rank is None else parse_size(memory_per_rank)
        self.cluster = Cluster(
            session, ranks, size, deadline, slot_timeout, ports, cpus_per_rank, gpus_per_rank
        )
        self.checkpoint = None if checkpoint is None else os.fspath(checkpoint)

    @property
    def session(self) -> Any:
        """The SparkSession."""
        return self.cluster.session

    @property
    def connect(self) -> bool:
        """Whether the session is a Spark Connect one."""
        return self.cluster.connect

    @property
    def slots(self) -> int:
        """How many tasks run at once, as far as the session says."""
        return self.cluster.slots

    @property
    def host(self) -> str | None:
        """The address at which tasks reach this process; None where it is not known."""
        return self.cluster.host

    @property
    def shared_folder(self) -> str | None:
        """Spark's own folder for temporary files in local mode, or the one for checkpoints."""
        return self.cluster.temporary_folder if self.cluster.one_machine else self.checkpoint

    def digest(self, scan: Scan) -> str:
        """A hash of what is read, and how: for a DataFrame, of its plan and of the files on this machine."""
        digest = str(scan.describe()["sha256"])
        if not isinstance(scan.source, FrameSource):
            return digest
        with spark_explained():
            return f"{digest} {id(self.session)} {scan.source.plan_hash()}"

    def lasting_digest(self, scan: Scan) -> str:
        """A hash of what is read, and how: for a DataFrame, of its plan, and its files with sizes and dates.

        Raises
        ------
        ParameterError
            When a DataFrame reads no files, or some that are not on this machine: they may have changed.
        """
        digest = str(scan.describe()["sha256"])
        if not isinstance(scan.source, FrameSource):
            return digest
        with spark_explained():
            return f"{digest} {scan.source.lasting_hash()}"

    def fit(
        self,
        fit: Callable[[Shard], T],
        scan: Scan,
        *,
        stage: str = "fit",
        keep: bool = True,
        identity: Identity | None = None,
    ) -> Fitted[T]:
        """Run `fit` on every rank over that rank's rows; the result is rank 0's.

        A fit that loses a rank goes on, on what the cluster then has, from the last pass that the driver or
        the checkpoint folder knows of.

        Parameters
        ----------
        fit : sent to the ranks, and called once on each; after a loss, again on all.
        scan : the rows: those of a path are read by the ranks, and so are those of a DataFrame once ordinary
            tasks have written them to the shared folder; where none is known, they come by a shuffle.
        stage : what is under way, as events and messages call it.
        keep : a rank holds its rows between passes; those of a DataFrame it holds in any case.
        identity : tells the fit from others in the checkpoint folder; None keeps no passes there.

        Raises
        ------
        OutgrowError
            What the rank that failed first raised, with its rank, its host and the pass.
        RankLostError
            When ranks were lost time and again.
        EngineError
            When there are too few slots, or Spark itself fails.
        """
        checkpoint = open_checkpoint(self.checkpoint, identity, scan)
        with self._for_ranks(found(self, scan), stage) as rows:
            return BarrierFit(self.cluster, fit, rows, stage, keep, checkpoint).run()

    def hold(self, scan: Scan, *, stage: str) -> Shard:
        """Not here: rows stay in the tasks, which end with a fit.

        Parameters
        ----------
        scan : not looked at.
        stage : what the message calls the work.

        Raises
        ------
        EngineError
            Always; `holds` says so beforehand.
        """
        raise EngineError(f"{stage}: Spark's tasks end with a fit, and hold no rows for the next one.")

    def map(self, scan: Scan) -> Iterator[Batch]:
        """The batches of a scan, in this process."""
        types = {field.name: field.type for field in scan.example().to_arrow().schema}
        found = self._collect(self.table(scan), "read").to_batches()
        return (Batch.from_arrow(from_spark_types(batch, types)) for batch in found)

    def each_piece(
        self, scan: Scan, function: Callable[[int, Any], T], *, stage: str, skip: Container[int] = ()
    ) -> Iterator[T]:
        """What `function` makes, in ordinary tasks, of each piece of a path or each partition of a DataFrame.

        Parameters
        ----------
        scan : the rows.
        function : sent to the tasks; what it makes comes here when all are done.
        stage : what is under way, as messages call it.
        skip : numbers of pieces of a path to leave out; the partitions of a DataFrame are all worked on.

        Raises
        ------
        OutgrowError
            What the function raised first, in the order of the pieces.
        EngineError
            When Spark fails.
        """
        properties = None
        if isinstance(scan.source, FrameSource):
            rows, properties = scan.source.frame, batch_properties(scan.source)
            job = PieceJob(function, None, scan.steps, scan.source.vectors)
        else:
            pieces = [(n, piece) for n, piece in enumerate(scan.pieces()) if n not in skip]
            if not pieces:
                return
            job = PieceJob(function, pieces)
            rows = self.session.range(0, len(pieces), 1, min(len(pieces), WAVES * self.slots))
        yield from self._answers(map_in_arrow(rows, job, RESULT_DDL), stage, properties)

    def tasks(self, function: Callable[[int], T], count: int, *, stage: str) -> Iterator[T]:
        """What `function` makes of 0, 1, ... in ordinary tasks of one job, when all are done.

        Parameters
        ----------
        function : sent to the tasks.
        count : how many tasks; those for which there are no slots wait.
        stage : what is under way, as messages call it.

        Raises
        ------
        OutgrowError
            What the function raised.
        EngineError
            When Spark fails.
        """
        job = PieceJob(_Numbered(function), [(number, None) for number in range(count)])
        rows = self.session.range(0, count, 1, count)
        yield from self._answers(map_in_arrow(rows, job, RESULT_DDL), stage)

    def map_groups(
        self,
        scan: Scan,
        packing: Packing,
        function: Callable[[Groups], Iterator[T]],
        *,
        stage: str,
        processes: bool = False,
    ) -> Iterator[T]:
        """What `function` yields in ordinary tasks, one for each bin, which rows reach by one shuffle.

        Parameters
        ----------
        scan : the rows.
        packing : which groups, and which of them together; before Spark 4.1 bins may share a task.
        function : sent to the tasks; what it yields comes here when all are done.
        stage : what is under way, as messages call it.
        processes : not used here: each task is a process.

        Raises
        ------
        OutgrowError
            What the function raised.
        EngineError
            When Spark fails.
        """
        place = free_place(scan.schema.names)
        tag = Tag(packing, place)
        tagged = scan.then(Apply(tag, tag(scan.example()).to_arrow().schema))
        rows = gathered(self.table(tagged), packing.count, place)
        found = joined(
            self._collect(map_in_arrow(rows, GroupJob(function, packing.by, place), RESULT_DDL), stage)
        )
        for (_, kind), payload in sorted(found.items()):
            if kind == "error":
                raise _told(json.loads(payload))
        for payload in found.values():
            yield unpack(payload)

    def look(self, packages: Sequence[str]) -> list[TaskReport]:
        """What one task on each slot sees: Python, packages, memory, and whether tasks reach each other."""
        return look(self.session, self.slots, packages, self.cluster.ports, self.host, self.cluster.patience)

    def query(self, query: str, tables: Mapping[str, Table]) -> Scan:
        """The rows of a SQL query over datasets, by Spark SQL.

        Parameters
        ----------
        query, tables : as for `query_source`.
        """
        return Scan(query_source(self.session, query, tables))

    def table(self, scan: Scan) -> Any:
        """A scan as a Spark DataFrame, lazy as they are."""
        frame = scan.source.frame if isinstance(scan.source, FrameSource) else None
        if frame is not None and not scan.steps:
            return frame
        if isinstance(scan.source, FrameSource):
            return self._changed(scan.source, scan.steps)
        ddl, exact = spark_schema(scan.example().to_arrow().schema)
        pieces = scan.pieces()
        waves = 1 if sum(piece.nbytes for piece in pieces) < SMALL else WAVES
        parts = max(1, min(len(pieces), waves * self.slots))
        rows = self.session.range(0, parts, 1, parts)
        return map_in_arrow(rows, MapJob(share_out(pieces, parts), (), {}, (), exact), ddl)

    def _for_ranks(self, scan: Scan, stage: str) -> AbstractContextManager[Scan]:
        """The scan as ranks read it by themselves, as far as they can, while the context lasts."""
        with spark_explained():
            scan = as_files(scan)
        if scan.source.has_pieces:
            return nullcontext(scan)
        return staged(scan, stage, self.shared_folder, partial(self.each_piece, stage=stage))

    def _changed(self, source: FrameSource, steps: tuple[Step, ...]) -> Any:
        """A DataFrame after steps; vectors that none of them changes stay Spark ML's."""
        example = source.example()
        result = run_steps(steps, example)
        kept = tuple(name for name in source.vectors if result.columns.get(name) is example.columns[name])
        ddl, exact = spark_schema(result.drop(kept).to_arrow().schema)
        schema: dict[str, Any] = exact
        answer: Any = ddl
        if kept:
            answer, schema = with_vectors(ddl, exact, kept, list(result.columns))
        return map_in_arrow(source.frame, MapJob(None, steps, source.vectors, kept, schema), answer)

    def _collect(self, frame: Any, stage: str, properties: Mapping[str, str] | None = None) -> pa.Table:
        """The rows of a DataFrame; Ctrl-C here ends the job there."""
        deadline = self.cluster.deadline
        with DriverServer(None, b"", []) as hub:
            job = Supervisor(self.session, hub, stage, 1, deadline, starting=math.inf, properties=properties)
            return job.collect(frame)

    def _answers(self, frame: Any, stage: str, properties: Mapping[str, str] | None = None) -> Iterator[Any]:
        """What the tasks of a job answered, by number; or the first error of one."""
        found = joined(self._collect(frame, stage, properties))
        for (_, kind), payload in sorted(found.items()):
            if kind == "error":
                raise _told(json.loads(payload))
        for payload in found.values():
            yield unpack(payload)

    def __repr__(self) -> str:
        return f"Spark(ranks={self.cluster.ranks})"


@dataclass(frozen=True)
class _Numbered:
    """A function of a number as one of a piece, of which there is none."""

    function: Callable[[int], Any]

    def __call__(self, number: int, _: None) -> Any:
        return self.function(number)


def frame_dataset(frame: Any, engine: Engine | None = None) -> Dataset:
    """A Spark DataFrame as a dataset on its own session.

    Parameters
    ----------
    frame : the DataFrame; it is not computed here.
    engine : a `Spark`; by default one with the settings of `Spark(session)`.

    Raises
    ------
    ParameterError
        When the engine is not one of a Spark session.
    EngineError
        When Spark cannot say what its columns are, as with a file or a column that is not there.
    """
    if engine is not None and engine.needs_pieces:
        raise ParameterError(
            f"engine={engine!r}: a Spark DataFrame is worked on by its session. Give og.Spark(session, ...)."
        )
    with spark_explained():
        return Dataset(Scan(FrameSource(frame)), engine or Spark(frame.sparkSession))


def _told(cause: dict[str, str]) -> OutgrowError:
    """The error that a task raised."""
    kind = getattr(errors, cause["type"], OutgrowError)
    error: OutgrowError = kind(cause["message"])
    return error


if TYPE_CHECKING:
    _: Engine = Spark(None)
