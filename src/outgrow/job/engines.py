"""The engine that a command line names."""

from __future__ import annotations

import re

from outgrow.engine.local import Local
from outgrow.engine.protocol import Engine
from outgrow.engine.ranks.engine import Ranks
from outgrow.engine.ranks.mpi import MPI
from outgrow.engine.spark.engine import Spark
from outgrow.engine.spark.session import open_session
from outgrow.errors import ParameterError

LOCAL = "local"
_PROCESSES = re.compile(r"processes\[([1-9]\d*)\]")
_LAUNCHED: dict[str, type[Ranks]] = {"ranks": Ranks, "mpi": MPI}
_SPARK = ("local[", "spark://", "sc://", "yarn", "k8s://")


def open_engine(name: str, checkpoint: str | None = None) -> Engine:
    """The engine that is meant: this machine, or a Spark whose session is opened.

    Parameters
    ----------
    name : `local`, or `processes[4]` for fits on four processes of this machine, or `mpi` or `ranks` for the
        processes that mpirun or another launcher has started, or the address of a Spark, like local[2],
        spark://host:7077, sc://host:15002, yarn.
    checkpoint : a folder for the passes of fits under way, with which a killed fit goes on; None for none.

    Raises
    ------
    ParameterError
        When it is none of them.
    """
    if name in _LAUNCHED:
        if checkpoint is not None:
            raise ParameterError(f"--engine {name} keeps no checkpoints. Leave --checkpoint out.")
        launched = _LAUNCHED[name]()
        launched.lead()  # returns on rank 0 alone
        return launched
    processes = _PROCESSES.fullmatch(name)
    if processes is not None:
        return Local(checkpoint=checkpoint, processes=int(processes[1]))
    return Local(checkpoint=checkpoint) if name == LOCAL else open_spark(name, checkpoint)


def open_spark(address: str, checkpoint: str | None = None) -> Spark:
    """The Spark at an address, its session opened.

    Parameters
    ----------
    address : as for `open_engine`, but for `local`.
    checkpoint : a folder for the passes of fits under way, which all executors reach; None for none.

    Raises
    ------
    ParameterError
        When it is no address of one.
    """
    if not address.startswith(_SPARK):
        raise ParameterError(
            f"--engine {address}: it is no engine. Write {LOCAL}, processes[4], mpi, ranks, or the "
            "address of a Spark: local[2], spark://host:7077 or sc://host:15002."
        )
    return Spark(open_session(address), checkpoint=checkpoint)
