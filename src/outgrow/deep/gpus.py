"""Ranks with GPUs of their own: which one a rank takes, and sums that never leave them."""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.process_group import check_free
from outgrow.deep.topologies import gathered
from outgrow.errors import EngineError, ParameterError

if TYPE_CHECKING:
    from outgrow.engine.context import FitContext
    from outgrow.engine.links import Links

torch = optional("torch", "torch")
dist = torch.distributed

_PORTS = 17
"""The channel on which rank 0 says where torch's ranks meet."""


def own_device(device: str, run: FitContext) -> str:
    """The device of a rank: where 'cuda' is asked for, ranks of one host take its GPUs in turn.

    Parameters
    ----------
    device : as asked for.
    run : the fit, which joins the ranks.
    """
    count = torch.cuda.device_count() if device == "cuda" else 0
    hosts = getattr(run.comm, "hosts", ()) if run.comm.connects and count > 1 else ()
    if len(hosts) < 2:
        return device
    rank = run.comm.rank
    return f"cuda:{hosts[:rank].count(hosts[rank]) % count}"


def current(device: str) -> AbstractContextManager[Any]:
    """Let a GPU be the one that torch means by default within the block.

    Parameters
    ----------
    device : 'cpu', 'cuda', 'cuda:1', ...
    """
    return torch.cuda.device(device) if device.startswith("cuda") else nullcontext()


def apart(links: Links, device: Any) -> bool:
    """Whether each rank is a process with a GPU of its own that NCCL reaches; all ranks ask together.

    Parameters
    ----------
    links : to the other ranks.
    device : of this rank.
    """
    usable = device.type == "cuda" and dist.is_available() and dist.is_nccl_available()
    usable = usable and not dist.is_initialized()
    names = [str(torch.cuda.get_device_properties(device).uuid), _process()] if usable else []
    ranks = gathered(links, np.array([_number(name) for name in names] or [0, 0], dtype=np.uint64))
    return bool(ranks.all()) and all(len(np.unique(column)) == links.size for column in ranks.T)


class GpuSum:
    """Sums over all ranks, in place, of tensors on their GPUs, by a process group of torch.

    Ranks meet at a port of rank 0 that is bound to its address in the fit alone; what NCCL then sends is not
    authenticated.

    Parameters
    ----------
    links : to the other ranks.
    device : of this rank.
    backend : of torch.distributed.

    Attributes
    ----------
    sent_bytes : what a ring of the ranks sends for what was added up.

    Raises
    ------
    ParameterError
        When this process has a group of torch.distributed already.
    """

    def __init__(self, links: Links, device: Any, backend: str = "nccl") -> None:
        check_free()
        self._links, self._broken, self.sent_bytes = links, False, 0
        bound = {"device_id": device} if backend == "nccl" else {}
        store = _store(links)
        dist.init_process_group(backend, store=store, rank=links.rank, world_size=links.size, **bound)

    def add(self, *tensors: Any) -> None:
        """Add up tensors over all ranks.

        Parameters
        ----------
        *tensors : of this rank, of the same shapes on all.

        Raises
        ------
        EngineError
            When a rank is lost meanwhile.
        """
        try:
            works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
            for work in works:
                while not work.is_completed():
                    self._links.check()
                work.wait()
        except EngineError:
            self._broken = True
            raise
        except RuntimeError as error:  # of torch, before it is known who was lost
            self._broken = True
            self._links.check(wait=True)
            raise EngineError(
                f"torch could not add up the gradients: {str(error).splitlines()[0]}"
            ) from error
        share = 2 * (self._links.size - 1) / self._links.size
        self.sent_bytes += int(share * sum(tensor.nbytes for tensor in tensors))

    def close(self) -> None:
        """Leave the group."""
        if self._broken and hasattr(dist.group.WORLD, "abort"):
            dist.group.WORLD.abort()  # a rank that is lost would be waited for
        dist.destroy_process_group()


def _store(links: Links) -> Any:
    """Where torch's ranks meet."""
    if links.rank:
        port = int(links.receive(0, _PORTS).arrays[0][0])
        return dist.TCPStore(links.hosts[0], port, links.size, is_master=False)
    family = socket.AF_INET6 if ":" in links.hosts[0] else socket.AF_INET
    listener = socket.create_server((links.hosts[0], 0), family=family)
    port = listener.getsockname()[1]
    store = dist.TCPStore(
        links.hosts[0],
        port,
        links.size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )
    for rank in range(1, links.size):
        links.send(rank, np.array([port]), channel=_PORTS)
    return store


def _process() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _number(name: str) -> int:
    """A number for a name, never 0."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") | 1


def refuse(topology: str) -> ParameterError:
    """Why ranks cannot add up on their GPUs.

    Parameters
    ----------
    topology : as asked for.
    """
    return ParameterError(
        f"topology={topology!r}: each rank must be a process with a GPU of its own (device='cuda', one GPU a "
        "rank, NCCL in this build of torch), and here one is not. Take topology='auto'."
    )
