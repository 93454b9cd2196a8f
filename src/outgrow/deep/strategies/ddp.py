"""Gradients of all ranks are added up at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outgrow.deep.codecs.codec import Codec
from outgrow.deep.strategies.strategy import Running, Strategy, Totals, check_ways, settled
from outgrow.deep.topologies import TOPOLOGIES, quickest
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError
from outgrow.stats.robust import Merge

if TYPE_CHECKING:
    from outgrow.deep.gpus import GpuSum
    from outgrow.deep.replica import Replica


@dataclass(frozen=True)
class DDP(Strategy):
    """Distributed data parallel: the gradients of all ranks are added up at every step, so that the network
    is that of one process, but for rounding.

    Parameters
    ----------
    topology : along which edges: 'mesh', 'star', 'ring', 'butterfly', the 'tree' of the fit itself (see
        `outgrow.deep.topologies`); 'nccl' between ranks that have a GPU each, which then keep the gradients;
        or 'auto' for 'nccl' where it can be, and else what is quickest here (`quickest` there).
    codec : how gradients are written on the way, such as `og.Int8()`; over the mesh alone.
    merge : what becomes one of the ranks' mean gradients where some may be wrong or lie, such as
        `og.Median()`, instead of their weighted mean.

    Raises
    ------
    ParameterError
        When these do not go together.

    Examples
    --------
    >>> import outgrow as og
    >>> og.DDP(codec=og.Int8())
    DDP(topology='mesh', codec=Int8(), merge=None)
    """

    topology: str = "auto"
    codec: Codec | None = None
    merge: Merge | None = None

    def __post_init__(self) -> None:
        check_ways(self)
        known = ("auto", "nccl", *sorted(TOPOLOGIES))
        if self.topology not in known:
            raise ParameterError(f"topology={self.topology!r}: it is one of {list(known)}.")
        if self.codec is not None and self.merge is not None:
            raise ParameterError("DDP takes a codec or a merge: a merge looks at gradients as they are.")
        if self.codec is not None or self.merge is not None:
            if self.topology not in ("auto", "mesh"):
                raise ParameterError(f"topology={self.topology!r}: codecs and merges go over the mesh.")
            object.__setattr__(self, "topology", "mesh")

    @property
    def needs_links(self) -> bool:  # type: ignore[override]
        return self.topology != "tree"

    def join(self, run: FitContext) -> Links | None:
        """See `Strategy.join`; 'auto' is the tree of the fit where ranks may not reach each other.

        Parameters
        ----------
        run : as there.
        """
        return None if self.topology == "auto" and not run.comm.connects else super().join(run)

    @property
    def elastic(self) -> bool:  # type: ignore[override]
        return self.codec is None

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.
        """
        if links is None:
            return _OverTree(run, replica)
        if self.topology == "nccl" or (self.topology == "auto" and replica.device.type != "cpu"):
            from outgrow.deep import gpus  # needs torch itself when it is imported

            if gpus.apart(links, replica.device):
                return OnGpus(replica, links, gpus.GpuSum(links, replica.device))
            if self.topology == "nccl":
                raise gpus.refuse(self.topology)
        return _OverLinks(self, replica, links)


class _Together(Running):
    """What all ranks do alike at every step."""

    together = True

    def shared(self) -> np.ndarray:
        return self.replica.numbers()

    def _buffers(self, rows: float) -> list[np.ndarray]:
        """Running means and the like, as far as each rank has rows."""
        buffers = self.replica.buffers
        return [buffer.detach().cpu().numpy().astype(np.float64).reshape(-1) * rows for buffer in buffers]

    def _take(self, sums: np.ndarray, buffers: np.ndarray) -> np.ndarray:
        if sums[1]:
            self.replica.gradient.div_(float(sums[1]))
        if sums[2]:
            self.replica.put_buffers(buffers / sums[2])
        return sums


class _OverTree(_Together):
    remembers = False

    def __init__(self, run: FitContext, replica: Replica) -> None:
        super().__init__(replica, None)
        self._run = run

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        mine = np.concatenate([sums, *self._buffers(sums[2])])
        gradient = self.replica.read_gradient()
        gradient, totals = self._run.call(lambda: self._run.combine((gradient, mine)))
        self.replica.put_gradient(gradient)
        return self._take(totals[:3], totals[3:])


class OnGpus(_Together):
    """Gradients stay where they are, and a process group of torch adds them up.

    Parameters
    ----------
    replica : of this rank.
    links : to the other ranks.
    group : the process group.
    """

    remembers = False

    def __init__(self, replica: Replica, links: Links, group: GpuSum) -> None:
        super().__init__(replica, links)
        self._group = group

    @property
    def sent_bytes(self) -> int:
        return super().sent_bytes + self._group.sent_bytes

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        totals = self.replica.on_device(np.concatenate([sums, *self._buffers(sums[2])]))
        self._group.add(self.replica.gradient, totals)
        known: np.ndarray = totals.cpu().numpy()
        return self._take(known[:3], known[3:])

    def close(self) -> None:
        self._group.close()


class _OverLinks(_Together):
    def __init__(self, strategy: DDP, replica: Replica, links: Links) -> None:
        super().__init__(replica, links)
        self._strategy = strategy
        auto = strategy.topology == "auto"
        self._topology = quickest(links, len(replica.parameters)) if auto else strategy.topology
        self.remembers = strategy.codec is not None

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        sent = Totals(self.links, np.concatenate([sums, *self._buffers(sums[2])]))
        gradient = self.replica.read_gradient()
        if self._strategy.merge is not None:
            weight = float(sums[1])  # a number of NumPy would make the mean float64, where there are rows
            mean = settled(self.links, self._strategy.merge, gradient / (weight or 1.0), weight)
        elif self._strategy.codec is not None:
            self._strategy.codec.sum(self.links, gradient, self.replica.shapes, self.memory)
        else:
            TOPOLOGIES[self._topology](self.links, gradient)
        totals = sent.get()
        if self._strategy.merge is not None and mean is not None:
            gradient = mean * totals[1]  # it is divided by that again
        self.replica.put_gradient(gradient)
        return self._take(totals[:3], totals[3:])
