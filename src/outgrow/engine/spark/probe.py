"""What the executors of a cluster have: a barrier job that looks around."""

from __future__ import annotations

import json
import platform
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from outgrow.engine.memory import available_bytes
from outgrow.engine.ranks.rendezvous import join
from outgrow.engine.spark.driver import DriverServer
from outgrow.engine.spark.supervise import Supervisor
from outgrow.errors import EngineError

_JOINING = 10.0


@dataclass(frozen=True)
class TaskReport:
    """What one task saw.

    Attributes
    ----------
    host, python : where it ran, and the Python there.
    packages : the version of each package, '' where it is missing.
    memory : bytes that its host could still give.
    unreachable : why it could not talk to the other tasks, '' where it could.
    """

    host: str
    python: str
    packages: dict[str, str]
    memory: int
    unreachable: str


def look(
    session: Any,
    tasks: int,
    packages: Sequence[str],
    ports: tuple[int, int],
    host: str | None,
    starting: float,
) -> list[TaskReport]:
    """Run a barrier job and tell what each of its tasks saw.

    Parameters
    ----------
    session : the SparkSession.
    tasks : how many, all at once.
    packages : names of the distributions whose versions are told.
    ports : range from which tasks choose the ports they listen on.
    host : where this process hears the tasks; None where they cannot reach it.
    starting : seconds for which the job may wait for free slots.

    Raises
    ------
    EngineError
        When the job cannot run; it says why.
    """
    with DriverServer(host, secrets.token_bytes(32), []) as hub:
        job = _ReportTask(tuple(packages), hub.secret, ports)
        rows = session.range(0, tasks, 1, tasks).mapInArrow(job, "sight string", barrier=True)
        found = Supervisor(session, hub, "the look at the executors", tasks, 60.0, starting).collect(rows)
    return [TaskReport(**json.loads(text)) for text in found.column(0).to_pylist()]


@dataclass(frozen=True)
class _ReportTask:
    packages: tuple[str, ...]
    secret: bytes
    ports: tuple[int, int]

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        rank = context.partitionId()
        hosts = [info.address.rpartition(":")[0] for info in context.getTaskInfos()]
        sight = TaskReport(
            hosts[rank],
            platform.python_version(),
            {name: _version(name) for name in self.packages},
            available_bytes(),
            self._meet(rank, hosts),
        )
        for _ in rows:
            pass  # Spark ends a worker that leaves rows behind
        yield pa.RecordBatch.from_pydict({"sight": [json.dumps(vars(sight))]})

    def _meet(self, rank: int, hosts: list[str]) -> str:
        try:
            comm = join(rank, hosts, self.secret, ports=self.ports, joining=_JOINING, deadline=_JOINING)
            comm.gather(b"")
            comm.close()
        except EngineError as error:
            return str(error)
        return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
