"""What a strategy is: what ranks merge while they train a network, with whom, and when.

Whatever the strategy, a step is X <- (X - lr G) W: the columns of X are what the ranks have learned, those of
G their gradients, and W says who mixes with whom (Wang and Joshi 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from outgrow.deep.codecs.codec import Codec, Memory
from outgrow.deep.topologies import gathered, mesh
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError
from outgrow.stats.robust import Merge

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica


@dataclass(frozen=True)
class Strategy:
    """What ranks merge, with whom and when. Hook: `start`."""

    repeatable: ClassVar[bool] = True
    """Whether the same fit gives the same bits again: not where ranks do not wait for each other."""
    needs_links: ClassVar[bool] = True
    needs_processes: ClassVar[bool] = False
    """Whether each rank must be a process of its own: torch has one group of ranks in each."""
    elastic: ClassVar[bool] = False
    """Whether ranks may leave and join in the midst of a training: what one knows is enough for another."""
    private: ClassVar[bool] = False
    """Whether what ranks tell of their rows has noise in it, so that nothing else of them may be told."""

    def join(self, run: FitContext) -> Links | None:
        """The connections of this rank to all others, where there are to be any; all ranks join together.

        Parameters
        ----------
        run : the fit, which joins the ranks.
        """
        return run.call(lambda: Links(run.comm)) if self.needs_links else None  # type: ignore[arg-type]

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """Begin a training; all ranks do so together.

        Parameters
        ----------
        run : the fit, which joins the ranks.
        replica : of this rank.
        links : to the other ranks; None where `needs_links` is false.
        seed : of what is random in who talks with whom; the same on every rank.
        """
        raise NotImplementedError


class Running:
    """A training under way on one rank that learns for itself alone. Hooks: all methods.

    Parameters
    ----------
    replica : of this rank.
    links : to the other ranks.

    Attributes
    ----------
    memory : what is kept from one merge to the next; it belongs to the snapshot.
    row_count : of the rows of this rank, from which it learns.
    """

    row_count = 0

    together = False
    """Whether all ranks know the same after each step."""
    alike = False
    """Whether all ranks compute the same rows, so that what is random must be the same, too."""
    parted = False
    """Whether each rank holds a part of the network; see `Parted`."""
    remembers = True
    """Whether a rank keeps something by itself from one merge to the next."""

    def __init__(self, replica: Replica, links: Links | None) -> None:
        self.replica = replica
        self.memory: Memory = {}
        self._links = links

    @property
    def links(self) -> Links:
        assert self._links is not None
        return self._links

    @property
    def epsilon(self) -> float | None:
        """Of the differential privacy of what was told so far; None where there is none."""
        return None

    @property
    def sent_bytes(self) -> int:
        """What this rank has sent so far."""
        return 0 if self._links is None else self._links.sent_bytes

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        """After the way back: make the gradient, a sum over the rows of this rank, that of a mean.

        Parameters
        ----------
        sums : the loss, the weights and the number of the rows of this rank.

        Returns
        -------
        The sums over the rows that the gradient now is about.
        """
        if sums[1]:
            self.replica.gradient.div_(float(sums[1]))
        return sums

    def move(self, lr: float) -> None:
        """Take the step.

        Parameters
        ----------
        lr : the learning rate.
        """
        self.replica.advance(lr)

    def merge(self, weight: float) -> None:
        """After the step: merge parameters, when it is time.

        Parameters
        ----------
        weight : of the rows of this rank in the step.
        """

    def shared(self) -> np.ndarray:
        """What the ranks know together, the same on each: parameters, and behind them buffers."""
        return mean_of_ranks(self.links, self.replica.numbers())

    def become_one(self) -> None:
        """Let all ranks have what they know together."""
        self.replica.put(self.shared())

    @contextmanager
    def consensus(self) -> Iterator[None]:
        """What the ranks know together in the module, within the block."""
        before = self.replica.numbers()
        self.replica.put(self.shared())
        try:
            yield
        finally:
            self.replica.put(before)

    def begin(self) -> None:
        """Take where the replica is for the beginning."""

    def settle(self) -> None:
        """Let nothing be under way between ranks; all call it at the same step."""

    def resume(self, memory: Memory) -> None:
        """Go on from a snapshot, to which the replica has been brought already.

        Parameters
        ----------
        memory : as it was then.
        """
        for name, array in memory.items():
            self.memory[name] = np.array(array)

    def close(self) -> None:
        """End what runs beside the training."""


def check_ways(strategy: Any) -> None:
    """Raise where a codec or a merge of a strategy is none; a job file's words have become such before.

    Parameters
    ----------
    strategy : one that has either.

    Raises
    ------
    ParameterError
        Which, and what it is.
    """
    codec, merge = getattr(strategy, "codec", None), getattr(strategy, "merge", None)
    name = type(strategy).__name__
    if codec is not None and not isinstance(codec, Codec):
        raise ParameterError(f"{name}(codec={codec!r}): a codec such as og.Int8(), or None.")
    if merge is not None and (isinstance(merge, type) or not callable(getattr(merge, "merge", None))):
        raise ParameterError(f"{name}(merge={merge!r}): a merge such as og.Median(), or None.")


def mean_of_ranks(links: Links, numbers: np.ndarray) -> np.ndarray:
    """The mean over all ranks, the same bits on each.

    Parameters
    ----------
    links : to the other ranks.
    numbers : of shape (size,).
    """
    total = numbers.astype(np.float64)
    mesh(links, total)
    return (total / links.size).astype(numbers.dtype)


def summed(links: Links, array: np.ndarray, codec: Codec | None, replica: Replica, memory: Memory) -> None:
    """Add up arrays over all ranks in place, by a codec or as they are.

    Parameters
    ----------
    links : to the other ranks.
    array : of shape (size,); its beginning are the replica's parameters, one after the other.
    codec : how it is written on the way; None for as it is.
    replica : of this rank.
    memory : of the codec.
    """
    if codec is None:
        mesh(links, array)
    else:
        codec.sum(links, array, replica.shapes, memory)


def settled(links: Links, merge: Merge, mean: np.ndarray, weight: float) -> np.ndarray | None:
    """What a merge makes of the means of all ranks that have rows; None where none has.

    Parameters
    ----------
    links : to the other ranks.
    merge : such as `og.Median()`.
    mean : of this rank, of shape (size,).
    weight : of the rows behind it; 0 for none.
    """
    stacked = gathered(links, np.append(mean.astype(np.float64), weight))
    stacked = stacked[(stacked[:, -1] > 0) & np.isfinite(stacked[:, -1])]
    if not len(stacked):
        return None
    return merge.merge(stacked[:, :-1], stacked[:, -1]).astype(mean.dtype)


class Totals:
    """A few sums over all ranks, sent before something larger, so that they cost no hop of their own.

    Parameters
    ----------
    links : to the other ranks.
    mine : float64 of shape (size,).
    """

    _CHANNEL = 7

    def __init__(self, links: Links, mine: np.ndarray) -> None:
        self._links, self._mine = links, mine
        for rank in range(links.size):
            if rank != links.rank:
                links.send(rank, mine, channel=self._CHANNEL)

    def get(self) -> np.ndarray:
        """The sums, the same bits on every rank."""
        total = np.zeros_like(self._mine)
        for rank in range(self._links.size):
            mine = rank == self._links.rank
            total += self._mine if mine else self._links.receive(rank, self._CHANNEL).arrays[0]
        return total
