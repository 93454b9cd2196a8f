"""The processes of `mpirun` as an engine."""

from __future__ import annotations

import secrets
import socket
from typing import Any

from outgrow._optional import optional
from outgrow.engine.ranks.engine import Ranks
from outgrow.engine.ranks.launch import Launch, launched
from outgrow.engine.ranks.meeting import differences, loopback, own_facts, unlike
from outgrow.errors import EngineError, MissingExtraError, ParameterError

_OUTSIDE = ("192.0.2.1", 9)
"""An address that nobody has: the system says from which of its own it would go there, and sends nothing."""


class MPI(Ranks):
    """Fits on the processes that `mpirun` started; each runs the same script.

    As `og.Ranks`, whose parameters it takes; but where mpi4py is there, ranks meet by MPI: it says who is
    which rank, and carries the secret from rank 0 to the others, so that none need be set. What fits say to
    each other crosses connections of their own, which only knows who has it. Without mpi4py ranks are found
    in the environment, as `og.Ranks` does. A process that nobody started by `mpirun` is all ranks there are.

    Examples
    --------
    `mpirun -n 4 python train.py`, and in `train.py`:

    >>> import outgrow as og
    >>> flights = og.read("flights/*.parquet", engine=og.MPI())    # doctest: +SKIP
    >>> model = og.LogisticRegression().fit(flights, "late")    # doctest: +SKIP

    >>> og.MPI(rank=0, ranks=1).size
    1
    """

    name = "mpi"

    def _started(self, rank: int | None, ranks: int | None) -> Launch:
        self._world: Any = None
        if rank is not None or ranks is not None:
            return super()._started(rank, ranks)
        world = _world()
        try:
            told = launched()
        except ParameterError:
            if world is None:
                raise
            told = None
        if world is None or (told is not None and told.size > world.Get_size() == 1):
            assert told is not None  # mpi4py is of another MPI than mpirun, and sees itself alone
            return told
        self._world = world
        names = world.allgather(socket.gethostname())
        number = int(world.Get_rank())
        return Launch(number, len(names), names.count(names[number]), None, "", "MPI")

    def _meet(self) -> tuple[list[str], bytes]:
        if self._world is None:
            return super()._meet()
        secret: bytes = self._world.bcast(secrets.token_bytes(32) if self.rank == 0 else None)
        refused = differences(dict(enumerate(self._world.allgather(own_facts()))))
        if refused:
            raise EngineError(unlike(refused))
        address = loopback() if self._launch.one_host else own_address()
        return self._world.allgather(address), secret


def own_address() -> str:
    """The address at which other hosts reach this one, as far as it knows."""
    try:
        found = str(socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)[0][4][0])
        if not found.startswith(("127.", "::1", "fe80:")):
            return found
    except OSError:
        pass  # its name has no address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_OUTSIDE)
        except OSError as error:
            raise EngineError(
                f"This host, {socket.gethostname()!r}, knows no address of its own that others could reach: "
                f"{error}. Give its name one in /etc/hosts."
            ) from None
        return str(probe.getsockname()[0])


def _world() -> Any:
    """All processes that MPI knows; None where there is no mpi4py, or no MPI that it could load."""
    try:
        return optional("mpi4py.MPI", "mpi").COMM_WORLD
    except (MissingExtraError, ImportError, RuntimeError):
        return None
