"""The connections of a training as a process group of torch.distributed.

What torch shards then talks over the same connections as everything else: both ends have proved that they
belong to the fit, no port of torch's own is opened, what is sent is counted, and who is lost is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.topologies import mesh
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

torch = optional("torch", "torch")
dist = torch.distributed

_NAME = "outgrow"
_joining: list[Links] = []
_Group: Any = dist.ProcessGroup if dist.is_available() else object


@contextmanager
def process_group(links: Links) -> Iterator[Any]:
    """A mesh of the ranks of a training, of one dimension, within the block.

    Parameters
    ----------
    links : to the other ranks.

    Raises
    ------
    ParameterError
        When this build of torch has no torch.distributed, or this process has a group already.
    """
    check_free()
    if not hasattr(dist.Backend, _NAME.upper()):
        dist.Backend.register_backend(_NAME, _made, extended_api=True, devices=["cpu"])
    _joining.append(links)
    dist.init_process_group(_NAME, store=dist.HashStore(), rank=links.rank, world_size=links.size)
    try:
        yield dist.device_mesh.init_device_mesh("cpu", (links.size,))
    finally:
        dist.destroy_process_group()


def check_free() -> None:
    """Raise where this process cannot have a group of ranks of torch's own.

    Raises
    ------
    ParameterError
        When this build of torch has no torch.distributed, or this process has a group already.
    """
    if not dist.is_available():
        raise ParameterError("This build of torch has no torch.distributed. Take another strategy.")
    if dist.is_initialized():
        raise ParameterError(
            "torch.distributed has a group in this process already, of another fit or of your own, and a "
            "process has one at a time. Let fits of this strategy follow one another, each on processes such "
            "as those of og.Local(processes=2)."
        )


def _made(about: Any, options: Any) -> Any:
    return LinksGroup(_joining.pop(), about.group_id)


class LinksGroup(_Group):
    """What torch asks of ranks, over the connections of a training; sums have the same bits on every rank.

    Parameters
    ----------
    links : to the other ranks.
    name : of the group.
    """

    def __init__(self, links: Links, name: str) -> None:
        super().__init__(links.rank, links.size)
        self._links, self._name = links, name

    @property
    def group_name(self) -> str:
        return self._name

    def getBackendName(self) -> str:  # noqa: N802
        return _NAME

    def allreduce(self, tensors: Sequence[Any], opts: Any = None) -> Any:
        """Sums over all ranks, in place.

        Parameters
        ----------
        tensors : of this rank.
        opts : torch's.
        """
        _check_sum(opts)
        for tensor in tensors:
            array = _array(tensor).copy()
            mesh(self._links, array)
            _write(tensor, array)
        return _done(tensors)

    def allgather(self, outputs: Sequence[Any], inputs: Sequence[Any], opts: Any = None) -> Any:
        """What each rank has, at all.

        Parameters
        ----------
        outputs : for each input a list, with a place for each rank.
        inputs : of this rank.
        opts : torch's.
        """
        for output, mine in zip(outputs, inputs, strict=True):
            self._gather(output, mine)
        return _done([tensor for output in outputs for tensor in output])

    def all_gather_single(self, output: Any, mine: Any, opts: Any = None) -> Any:
        """What each rank has, at all, one behind the other.

        Parameters
        ----------
        output : as large as what all have.
        mine : of this rank.
        opts : torch's.
        """
        self._gather(output.view(-1).chunk(self._links.size), mine)
        return _done([output])

    def all_gather_single_coalesced(
        self, outputs: Sequence[Any], inputs: Sequence[Any], opts: Any = None
    ) -> Any:
        """The same of several tensors.

        Parameters
        ----------
        outputs, inputs, opts : as there.
        """
        for output, mine in zip(outputs, inputs, strict=True):
            self.all_gather_single(output, mine)
        return _done(outputs)

    def reduce_scatter(self, outputs: Sequence[Any], inputs: Sequence[Any], opts: Any = None) -> Any:
        """Of the sums over all ranks, each its part.

        Parameters
        ----------
        outputs : where they go.
        inputs : for each output a list, with what each rank shall add up.
        opts : torch's.
        """
        for output, pieces in zip(outputs, inputs, strict=True):
            self._scatter_sums(output, pieces, opts)
        return _done(outputs)

    def reduce_scatter_single(self, output: Any, whole: Any, opts: Any = None) -> Any:
        """Of the sums over all ranks, each its part.

        Parameters
        ----------
        output : where it goes.
        whole : what is added up, the parts one behind the other.
        opts : torch's.
        """
        self._scatter_sums(output, whole.view(-1).chunk(self._links.size), opts)
        return _done([output])

    def reduce_scatter_single_coalesced(
        self, outputs: Sequence[Any], inputs: Sequence[Any], opts: Any = None
    ) -> Any:
        """The same of several tensors.

        Parameters
        ----------
        outputs, inputs, opts : as there.
        """
        for output, whole in zip(outputs, inputs, strict=True):
            self.reduce_scatter_single(output, whole, opts)
        return _done(outputs)

    def _gather(self, outputs: Sequence[Any], mine: Any) -> None:
        links, array = self._links, _array(mine)
        for rank in range(links.size):
            if rank != links.rank:
                links.send(rank, array)
        for rank, output in enumerate(outputs):
            _write(output, array if rank == links.rank else links.receive(rank).arrays[0])

    def _scatter_sums(self, output: Any, pieces: Sequence[Any], opts: Any) -> None:
        _check_sum(opts)
        links = self._links
        for rank in range(links.size):
            if rank != links.rank:
                links.send(rank, _array(pieces[rank]))
        mine = _array(pieces[links.rank])
        total = np.zeros_like(mine)
        for rank in range(links.size):
            total += mine if rank == links.rank else links.receive(rank).arrays[0]
        _write(output, total)

    allreduce_coalesced = allreduce
    _allgather_base = all_gather_single  # the names of torch before 2.13
    _reduce_scatter_base = reduce_scatter_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().view(-1).numpy()
    return array


def _write(tensor: Any, array: np.ndarray) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(array).view(tensor.shape))


def _check_sum(opts: Any) -> None:
    if opts is not None and opts.reduceOp != dist.ReduceOp.SUM:
        raise NotImplementedError(f"{opts.reduceOp}: sums alone go over the connections of a training.")


def _done(result: Any) -> Any:
    """What torch waits for, and finds done."""
    future = torch.futures.Future()
    future.set_result(None)
    return torch._C._distributed_c10d._create_work_from_future(future)
