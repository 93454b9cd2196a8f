"""Which of several processes this is, as torch.distributed and launchers tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from outgrow.errors import ParameterError

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),  # torchrun, Accelerate
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI
)


def rank_and_ranks(
    rank: int | None, ranks: int | None, environment: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """The number of this process, from 0, and how many there are.

    Parameters
    ----------
    rank, ranks : as somebody says; None for what torch.distributed says once it has begun, as Lightning lets
        it, else what the launcher says, or one process without one.
    environment : variables by name.

    Raises
    ------
    ParameterError
        When only one of the two is known, or they do not fit.

    Examples
    --------
    >>> from outgrow.deep.ranks import rank_and_ranks
    >>> rank_and_ranks(None, None, {"RANK": "1", "WORLD_SIZE": "4"})
    (1, 4)
    >>> rank_and_ranks(None, None, {})
    (0, 1)
    """
    if (rank is None) != (ranks is None):
        raise ParameterError(f"rank={rank}, ranks={ranks}: give both or none.")
    if rank is None or ranks is None:
        rank, ranks = _joined() or _launched(environment)
    if not 0 <= rank < ranks:
        raise ParameterError(f"rank={rank} of ranks={ranks}: ranks are counted from 0.")
    return rank, ranks


def _joined() -> tuple[int, int] | None:
    """What torch.distributed says, where it has begun; nothing is imported for that."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return None
    return int(distributed.get_rank()), int(distributed.get_world_size())


def _launched(environment: Mapping[str, str]) -> tuple[int, int]:
    for rank, ranks in _LAUNCHERS:
        if rank in environment and ranks in environment:
            try:
                return int(environment[rank]), int(environment[ranks])
            except ValueError:
                raise ParameterError(
                    f"{rank}={environment[rank]!r} and {ranks}={environment[ranks]!r} in the environment are "
                    "no whole numbers. Unset them, or give rank= and ranks=."
                ) from None
    return 0, 1
