"""What a launcher tells the processes that it starts: torchrun, mpirun and srun by the environment."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from outgrow.errors import ParameterError

_LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),  # Accelerate and Lightning set the same
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ""),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS", ""),  # srun --preserve-env leaves that of the whole job there
)
_RUN = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_PORT",
    "PMIX_NAMESPACE",
    "OMPI_MCA_ess_base_jobid",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)
"""What tells one run of a launcher from others."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Launch:
    """This process among those that one launcher started.

    Attributes
    ----------
    rank, size : its number, from 0, and how many there are.
    local_size : how many of them are on this machine.
    first_host : where rank 0 is; None where nobody says.
    run : what tells this run from others of the same user.
    launcher : as messages call it.
    """

    rank: int
    size: int
    local_size: int
    first_host: str | None
    run: str
    launcher: str

    @property
    def one_host(self) -> bool:
        """Whether all are on this machine."""
        return self.local_size == self.size


def launched(environment: Mapping[str, str] = os.environ) -> Launch:
    """What the environment says of this process.

    Raises
    ------
    ParameterError
        When no launcher started it, or what it says is no number.

    Examples
    --------
    >>> from outgrow.engine.ranks.launch import launched
    >>> launched({"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node7"}).first_host
    'node7'
    """
    for name, rank, size, local in _LAUNCHERS:
        if rank in environment and size in environment:
            own, count = _number(environment, rank), _number(environment, size)
            if not 0 <= own < count:
                raise ParameterError(f"{rank}={own} and {size}={count}: ranks are counted from 0.")
            here = _number(environment, local) if local in environment else _on_this_node(environment, count)
            if not 1 <= here <= count:
                raise ParameterError(f"{local}={here} and {size}={count}: from 1 to all on this machine.")
            first = environment.get("MASTER_ADDR") or _first_node(environment)
            return Launch(own, count, here, first, _run(environment), name)
    half = [
        f"{one} without {other}"
        for _, *pair, _ in _LAUNCHERS
        for one, other in (pair, pair[::-1])
        if one in environment and other not in environment and other != "SLURM_STEP_NUM_TASKS"
    ]
    if half:
        raise ParameterError(
            f"The environment says only half of how many ranks there are: {', '.join(half)}. Set both, or "
            "start the script by srun, mpirun or torchrun, which do."
        )
    raise ParameterError(
        "No launcher has started this process: none of RANK, OMPI_COMM_WORLD_RANK, PMI_RANK and SLURM_PROCID "
        "is set. Start it with  torchrun --nproc-per-node 4 train.py,  mpirun -n 4 python train.py  or  srun "
        "python train.py,  or fit on processes of this machine: og.Local(processes=4)."
    )


def _on_this_node(environment: Mapping[str, str], count: int) -> int:
    lists = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    listed = next((environment[name] for name in lists if environment.get(name)), "")
    each = [
        int(tasks)
        for tasks, _, times in re.findall(r"(\d+)(\(x(\d+)\))?", listed)  # 2(x3),1 is 2, 2, 2, 1
        for _ in range(int(times or 1))
    ]
    node = environment.get("SLURM_NODEID", "")
    if sum(each) == count and node.isdecimal() and int(node) < len(each):
        return each[int(node)]
    nodes = environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES")
    alone = nodes == "1" or environment.get("MASTER_ADDR") in ("localhost", LOOPBACK, "::1")
    return count if alone else 1


def _first_node(environment: Mapping[str, str]) -> str | None:
    """The first of a list as Slurm writes it, like 'cpu[03-07,12],gpu1' or 'rack[0-3]node[1,5]-ib'."""
    lists = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    listed = next((environment[name] for name in lists if environment.get(name)), "")
    first = re.match(r"(?:[^,\[\]]|\[[^\]]*\])+", listed)  # a range has commas of its own
    return None if first is None else re.sub(r"\[(\d+)[^\]]*\]", r"\1", first[0])


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except ValueError:
        raise ParameterError(f"{name}={environment[name]!r} in the environment is no whole number.") from None


def _run(environment: Mapping[str, str]) -> str:
    said = [f"{name}={environment[name]}" for name in _RUN if name in environment]
    text = " ".join(said) or f"parent {os.getppid()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
