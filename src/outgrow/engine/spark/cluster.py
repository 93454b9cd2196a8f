"""Facts about the cluster behind a Spark session, and how much of it a fit may take."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

from outgrow.engine.memory import parse_size
from outgrow.engine.spark.explain import explain
from outgrow.engine.spark.supervise import is_connect
from outgrow.errors import EngineError, ParameterError, TooFewSlotsError

_NEW_SESSION = 6.0
"""Within so many times the timeout of slots the executors of a new session should be there."""


@dataclass
class Cluster:
    """A session, and what the user asks of it; see `outgrow.Spark` for the parameters."""

    session: Any
    ranks: int | None
    memory_per_rank: int | None
    deadline: float
    slot_timeout: float
    ports: tuple[int, int]
    cpus_per_rank: int | None
    gpus_per_rank: float | None
    _slots: int | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.ranks is not None and self.ranks < 1:
            raise ParameterError(f"ranks={self.ranks}: at least 1 is needed.")
        if self.deadline <= 0:
            raise ParameterError(f"deadline={self.deadline}: seconds greater than 0 are needed.")
        if self.slot_timeout <= 0:
            raise ParameterError(f"slot_timeout={self.slot_timeout}: seconds greater than 0 are needed.")
        if self.cpus_per_rank is not None and self.cpus_per_rank < 1:
            raise ParameterError(f"cpus_per_rank={self.cpus_per_rank}: at least 1 is needed.")
        if self.gpus_per_rank is not None and self.gpus_per_rank <= 0:
            raise ParameterError(f"gpus_per_rank={self.gpus_per_rank}: more than 0 are needed.")
        if not 1024 <= self.ports[0] < self.ports[1] <= 65_536:
            raise ParameterError(f"ports={self.ports}: give a range within 1024 to 65536.")

    @property
    def connect(self) -> bool:
        """Whether the session is a Spark Connect one."""
        return is_connect(self.session)

    @property
    def host(self) -> str | None:
        """The address at which tasks reach this process; None where it is not known."""
        if self.connect:
            return socket.gethostbyname(socket.gethostname())
        return self.session.conf.get("spark.driver.host", None)

    @property
    def one_machine(self) -> bool:
        """Whether all tasks run on the machine of this process."""
        return not self.connect and self.session.sparkContext.master.startswith("local")

    @property
    def temporary_folder(self) -> str:
        """Where Spark keeps temporary files in local mode; where nobody has said, the system's folder."""
        try:
            said = os.environ.get("SPARK_LOCAL_DIRS") or self.session.conf.get("spark.local.dir", None)
        except Exception as error:
            raise _session_error(error) from error
        return said.split(",")[0].strip() if said else tempfile.gettempdir()

    @property
    def slots(self) -> int:
        """How many tasks run at once, as far as the session says."""
        try:
            if not self.connect:
                return self._tasks_on(self.session.sparkContext.defaultParallelism)
            if self._slots is None:  # asking takes a job
                self._slots = self._tasks_on(self._partitions_of_range())
            return self._slots
        except Exception as error:
            raise _session_error(error) from error

    def ranks_now(self) -> int:
        """How many ranks a fit gets."""
        if self.ranks is not None and self.ranks > self.slots:
            raise TooFewSlotsError(
                f"{self.ranks} ranks were asked for, and the cluster runs {self.slots} tasks at once. "
                "Ask for fewer ranks, or add executors."
            )
        return self.ranks or self.slots

    @property
    def patience(self) -> float:
        """Seconds for which a job may wait for slots: more while the executors of a new session start."""
        if self.connect:
            return self.slot_timeout
        context = self.session.sparkContext
        if self.one_machine and not context.master.startswith("local-cluster"):
            return self.slot_timeout  # its slots are there at once
        age = time.time() - context.startTime / 1000
        return max(self.slot_timeout, _NEW_SESSION * self.slot_timeout - age)

    @property
    def budget(self) -> int | None:
        """The most a rank may hold; None where only the rank itself can tell."""
        if self.memory_per_rank is not None:
            return self.memory_per_rank
        room = self.session.conf.get("spark.executor.pyspark.memory", None)
        if not room:
            return None
        cores = int(self.session.conf.get("spark.executor.cores", "1"))
        return spark_bytes(room, 1 << 20) * (self.cpus_per_rank or self._task_cpus) // cores

    @property
    def threads(self) -> int:
        """On how many threads a rank works."""
        return self.cpus_per_rank or 1

    def profile(self) -> Any:
        """The resources of a rank, as Spark is asked for them; None for those of any task."""
        if self.cpus_per_rank is None and self.gpus_per_rank is None:
            return None
        from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

        requests = TaskResourceRequests().cpus(self.cpus_per_rank or self._task_cpus)
        if self.gpus_per_rank is not None:
            requests = requests.resource("gpu", self.gpus_per_rank)
        return ResourceProfileBuilder().require(requests).build

    def _tasks_on(self, cores: int) -> int:
        return max(1, cores // (self.cpus_per_rank or self._task_cpus))

    @property
    def _task_cpus(self) -> int:
        return int(self.session.conf.get("spark.task.cpus", "1"))

    def _partitions_of_range(self) -> int:
        from pyspark.sql import functions

        rows = self.session.range(0, 1 << 16).groupBy(functions.spark_partition_id()).count()
        return int(rows.count())


def spark_bytes(size: str, unit: int) -> int:
    """A size as Spark's settings have it: '2g' in powers of two, a bare number in a unit of its own.

    Parameters
    ----------
    size : the text of the setting.
    unit : the bytes of a bare number's unit.
    """
    text = size.strip().lower()
    if text.isdigit():
        return int(text) * unit
    number = text.removesuffix("b")
    return int(number) if number.isdigit() else parse_size(f"{number[:-1]}{number[-1].upper()}iB")


def _session_error(error: Exception) -> EngineError:
    """What is wrong with a session that cannot even be asked."""
    if isinstance(error, AttributeError) or "NoneType" in str(error):
        return EngineError("The Spark session has been stopped. Start another, and give it to og.Spark.")
    return EngineError(explain(str(error)))
