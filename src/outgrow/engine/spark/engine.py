"""Spark as an engine: a whole fit is one barrier job, whose tasks run the same code on their own rows."""

from __future__ import annotations

import json
import secrets
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pyarrow as pa
from sklearn.exceptions import ConvergenceWarning

import outgrow.errors as errors
from outgrow.artifact import unpack
from outgrow.data.batch import Batch
from outgrow.data.scan import Scan
from outgrow.engine.dataset import Dataset
from outgrow.engine.events import heard
from outgrow.engine.memory import parse_size
from outgrow.engine.run import Run
from outgrow.engine.shard import Shard
from outgrow.engine.spark.frames import FrameSource, share_out, spark_schema, spread
from outgrow.engine.spark.hub import hub
from outgrow.engine.spark.query import query_source
from outgrow.engine.spark.rendezvous import PORTS
from outgrow.engine.spark.task import RESULT_DDL, MapJob, RankJob
from outgrow.errors import EngineError, OutgrowError, ParameterError

T = TypeVar("T")

SMALL = 256 << 20
"""Below this many bytes a scan gets one task a slot; above, four, so that slow ones even out."""

_WARNINGS = {"ConvergenceWarning": ConvergenceWarning, "UserWarning": UserWarning}


class Spark:
    """Run on a Spark session, Classic or Connect.

    Datasets that are paths are read by the tasks themselves; other DataFrames reach them through one shuffle.
    The executors need outgrow and the libraries of the session's Python.

    Parameters
    ----------
    session : the SparkSession.
    ranks : how many tasks a fit has; by default as many as the cluster runs at once
        (`spark.default.parallelism`). More than can run at once is refused.
    memory_per_rank : the most a rank may hold, in bytes or like '2GiB'; by default its share of three
        quarters of what its host has free.
    deadline : seconds a rank waits for another before it gives up.
    ports : range from which ranks choose the ports they listen on.

    Examples
    --------
    >>> flights = og.read("flights/*.parquet", engine=og.Spark(session))    # doctest: +SKIP
    """

    name = "spark"

    def __init__(self, session: Any, *, ranks: int | None = None, memory_per_rank: int | str | None = None,
                 deadline: float = 60.0, ports: tuple[int, int] = PORTS) -> None:  # fmt: skip
        if ranks is not None and ranks < 1:
            raise ParameterError(f"ranks={ranks}: at least 1 is needed.")
        if deadline <= 0:
            raise ParameterError(f"deadline={deadline}: seconds greater than 0 are needed.")
        if not 1024 <= ports[0] < ports[1] <= 65_536:
            raise ParameterError(f"ports={ports}: give a range within 1024 to 65536.")
        self.session = session
        self.ranks = ranks
        self.memory_per_rank = None if memory_per_rank is None else parse_size(memory_per_rank)
        self.deadline = deadline
        self.ports = ports
        self._slots: int | None = None

    @property
    def connect(self) -> bool:
        """Whether the session is a Spark Connect one."""
        return ".connect." in type(self.session).__module__

    @property
    def slots(self) -> int:
        """How many tasks run at once, as far as the session says."""
        if self._slots is None:
            parallelism = (
                self._partitions_of_range() if self.connect else self.session.sparkContext.defaultParallelism
            )
            self._slots = max(1, parallelism // int(self.session.conf.get("spark.task.cpus", "1")))
        return self._slots

    def fit(self, fit: Callable[[Shard], T], scan: Scan, *, stage: str = "fit", keep: bool = True) -> T:
        """Run `fit` on every rank over that rank's rows; the result of rank 0.

        Raises
        ------
        OutgrowError
            What the rank that failed first raised, with its rank and host.
        EngineError
            When there are too few slots, or Spark itself fails.
        """
        ranks, secret = self._ranks(), secrets.token_bytes(32)
        frame = scan.source.frame if isinstance(scan.source, FrameSource) else None
        with hub(self._host() if heard() else None, secret) as address:
            job = RankJob(
                fit=fit, stage=stage, pieces=share_out(scan.pieces(), ranks) if frame is None else None,
                steps=scan.steps, example=scan.example(), keep=keep, secret=secret, ports=self.ports,
                deadline=self.deadline, memory=self.memory_per_rank, hub=address,
            )  # fmt: skip
            rows = self.session.range(0, ranks, 1, ranks) if frame is None else spread(frame, ranks)
            found = self._collect(rows.mapInArrow(job, RESULT_DDL, barrier=True))
        if found.num_rows:
            return _result(found)
        # Spark runs no task at all over a relation that it knows to be empty: do here what the tasks would do
        run = Run(stage=stage)
        return fit(Shard.of(run, [], scan.example()))

    def map(self, scan: Scan) -> Iterator[Batch]:
        """The batches of a scan, in this process."""
        return (Batch.from_arrow(batch) for batch in self._collect(self.frame(scan)).to_batches())

    def query(self, query: str, tables: Mapping[str, Dataset]) -> Scan:
        """The rows of a SQL query over datasets, by Spark SQL."""
        return Scan(query_source(self.session, query, tables))

    def frame(self, scan: Scan) -> Any:
        """A scan as a Spark DataFrame, lazy as they are."""
        frame = scan.source.frame if isinstance(scan.source, FrameSource) else None
        if frame is not None and not scan.steps:
            return frame
        ddl, exact = spark_schema(scan.example().to_arrow().schema)
        if frame is not None:
            return frame.mapInArrow(MapJob(None, scan.steps, exact), ddl)
        pieces = scan.pieces()
        waves = 1 if sum(piece.nbytes for piece in pieces) < SMALL else 4
        parts = max(1, min(len(pieces), waves * self.slots))
        rows = self.session.range(0, parts, 1, parts)
        return rows.mapInArrow(MapJob(share_out(pieces, parts), (), exact), ddl)

    def _ranks(self) -> int:
        if self.ranks is not None and self.ranks > self.slots:
            raise EngineError(
                f"{self.ranks} ranks were asked for, and the cluster runs {self.slots} tasks at once. "
                "Ask for fewer ranks, or add executors."
            )
        return self.ranks or self.slots

    def _collect(self, frame: Any) -> pa.Table:
        try:
            return frame.toArrow()
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("pyspark", "py4j", "grpc"):
                raise
            raise EngineError(_explain(str(error))) from None

    def _partitions_of_range(self) -> int:
        from pyspark.sql import functions

        rows = self.session.range(0, 1 << 16).groupBy(functions.spark_partition_id()).count()
        return int(rows.count())

    def _host(self) -> str | None:
        if self.connect:
            return socket.gethostbyname(socket.gethostname())
        return self.session.conf.get("spark.driver.host", None)

    def __repr__(self) -> str:
        return f"Spark(ranks={self.ranks})"


def frame_dataset(frame: Any) -> Dataset:
    """A Spark DataFrame as a dataset on its own session."""
    return Dataset(Scan(FrameSource(frame)), Spark(frame.sparkSession))


def _result(rows: pa.Table) -> Any:
    parts: dict[tuple[int, str], bytes] = {}
    for row in rows.to_pylist():
        key = row["rank"], row["kind"]
        if row["kind"] == "warning":
            category, _, text = row["payload"].decode().partition(": ")
            warnings.warn(text, _WARNINGS.get(category, UserWarning), stacklevel=4)
            continue
        parts[key] = parts.get(key, b"") + row["payload"]
    failures = [
        (rank, json.loads(payload)) for (rank, kind), payload in sorted(parts.items()) if kind == "error"
    ]
    if failures:
        raise _failure(*min(failures, key=lambda failure: failure[1]["type"] == "EngineError"))
    if (0, "result") not in parts:
        raise EngineError("No rank gave a result. Look at the executors' logs.")
    return unpack(parts[0, "result"])


def _failure(rank: int, cause: dict[str, Any]) -> OutgrowError:
    kind = getattr(errors, cause["type"], None)
    where = f"(rank {rank} on {cause['host']})"
    if isinstance(kind, type) and issubclass(kind, OutgrowError):
        error: OutgrowError = kind(f"{cause['message']} {where}")
    else:
        error = EngineError(f"{cause['type']}: {cause['message']} {where}")
    error.add_note("The rank's own trace:\n" + cause["trace"])
    return error


def _explain(text: str) -> str:
    """The cause in what Spark says, without the trace of its Java half."""
    if "No module named" in text:
        module = text.split("No module named", 1)[1].split("'")[1]
        return (
            f"The Python of the executors has no module {module!r}. Install outgrow there, "
            "or point PYSPARK_PYTHON at a Python that has it before the session starts."
        )
    lines = [line.strip() for line in text.splitlines()]
    causes = [
        line for line in lines if line and not line.startswith(("at ", "File ", "Traceback", "^", "..."))
    ]
    named = [line for line in causes if "Error" in line or "Exception" in line]
    return f"Spark could not run the job: {' '.join((named or causes)[:3])[:1000]}"
