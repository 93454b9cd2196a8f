"""Ranks tell one other rank at a time; nobody waits for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outgrow._settings import is_whole
from outgrow.deep.codecs.codec import Codec
from outgrow.deep.strategies.seldom import check_every
from outgrow.deep.strategies.strategy import Running, Strategy, check_ways, mean_of_ranks
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica

GRAPHS = ("exponential", "ring", "pairs")


@dataclass(frozen=True)
class Gossip(Strategy):
    """Each rank goes on from the mean of what it and one or two others have learned (Lian et al. 2017).

    Parameters
    ----------
    graph : 'exponential', where a rank hears those 1, 2, 4, ... before it in turn (Ying et al. 2021), 'ring',
        where it hears both neighbours, or 'pairs', chosen at random for each round (as in NoLoCo, 2025).
    every : steps between two rounds.
    mean_every : rounds between two in which all ranks become one (Gossip-PGA, Chen et al. 2021); None for
        never before the end.
    codec : how parameters are written on the way: `og.Bfloat16()` or `og.Int8()`; None for as they are.

    Raises
    ------
    ParameterError
        When something does not fit; also codecs that write only changes.

    Examples
    --------
    >>> import outgrow as og
    >>> og.Gossip("pairs", every=4)
    Gossip(graph='pairs', every=4, mean_every=None, codec=None)
    """

    graph: str = "exponential"
    every: int = 1
    mean_every: int | None = None
    codec: Codec | None = None

    def __post_init__(self) -> None:
        check_every(self)
        check_ways(self)
        if self.graph not in GRAPHS:
            raise ParameterError(f"graph={self.graph!r}: it is one of {list(GRAPHS)}.")
        if self.mean_every is not None and not is_whole(self.mean_every):
            raise ParameterError(f"mean_every={self.mean_every!r}: rounds, from 1, or None.")
        if self.codec is not None and not self.codec.dense:
            raise ParameterError(
                f"Gossip sends parameters, of which {self.codec!r} writes only some. Take og.Bfloat16() or "
                "og.Int8(), or a strategy that sends changes, such as og.DiLoCo."
            )

    @property
    def elastic(self) -> bool:  # type: ignore[override]
        return self.codec is None

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.
        """
        assert links is not None
        return _Running(self, replica, links, seed)


def neighbours(graph: str, rank: int, size: int, number: int, seed: int) -> tuple[list[int], list[int]]:
    """Whom a rank tells in a round, and whom it hears.

    Parameters
    ----------
    graph : see `Gossip`.
    rank, size : which of how many.
    number : of the round, from 0.
    seed : of random pairs.

    Examples
    --------
    >>> from outgrow.deep.strategies.gossip import neighbours
    >>> neighbours("exponential", 0, 4, 1, 0)
    ([2], [2])
    >>> neighbours("ring", 0, 4, 1, 0)
    ([1, 3], [1, 3])
    """
    if graph == "exponential":
        hop = 1 << number % max(1, (size - 1).bit_length())
        return [(rank + hop) % size], [(rank - hop) % size]
    if graph == "ring":
        both = sorted({(rank + 1) % size, (rank - 1) % size} - {rank})
        return both, both
    order = np.random.default_rng((seed, number)).permutation(size).tolist()  # the same on every rank
    where = order.index(rank)
    partner = where ^ 1
    return ([order[partner]], [order[partner]]) if partner < size else ([], [])


class _Running(Running):
    def __init__(self, strategy: Gossip, replica: Replica, links: Links, seed: int) -> None:
        super().__init__(replica, links)
        self._strategy, self._seed = strategy, seed

    def merge(self, weight: float) -> None:
        number, rest = divmod(self.replica.step, self._strategy.every)
        if rest:
            return
        if self._strategy.mean_every and number % self._strategy.mean_every == 0:
            self.replica.put(mean_of_ranks(self.links, self.replica.numbers()))
        else:
            self._talk(number)

    def _talk(self, number: int) -> None:
        links, mine = self.links, self.replica.numbers()
        receivers, senders = neighbours(self._strategy.graph, links.rank, links.size, number, self._seed)
        codec = self._strategy.codec
        arrays = (mine,) if codec is None else codec.written(mine, self.memory, "own")
        for rank in receivers:
            links.send(rank, *arrays)
        total = mine.copy()
        for rank in senders:
            arrived = links.receive(rank).arrays
            total += arrived[0] if codec is None else codec.decode(arrived, len(mine))
        self.replica.put(total / np.float32(1 + len(senders)))
