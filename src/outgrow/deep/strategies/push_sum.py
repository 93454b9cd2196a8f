"""Ranks tell others and wait for nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from outgrow.deep.strategies.gossip import neighbours
from outgrow.deep.strategies.seldom import check_every
from outgrow.deep.strategies.strategy import Running, Strategy
from outgrow.deep.topologies import mesh
from outgrow.engine.context import FitContext
from outgrow.engine.links import Letter, Links

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica

_TOLD = 1
_END = -1


@dataclass(frozen=True)
class PushSum(Strategy):
    """Stochastic gradient push: after so many steps a rank sends half of what it knows, with its weight, to
    one other, and goes on with what has come by then (Assran et al. 2019). A slow rank holds up nobody; the
    weights keep the mean of all ranks what it is, whatever is late.

    Parameters
    ----------
    every : steps between two messages.

    Raises
    ------
    ParameterError
        When `every` is no number of steps.

    Examples
    --------
    >>> import outgrow as og
    >>> og.PushSum(every=4)
    PushSum(every=4)
    """

    every: int = 1
    repeatable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_every(self)

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.
        """
        assert links is not None
        links.share(_TOLD)
        run.call(lambda: run.comm.gather(b""))  # nobody sends before all are ready to sort what comes
        return _Running(self, replica, links)


class _Running(Running):
    def __init__(self, strategy: PushSum, replica: Replica, links: Links) -> None:
        super().__init__(replica, links)
        self._every = strategy.every
        self._ended: set[int] = set()
        self.memory["weight"] = np.ones(1)

    def merge(self, weight: float) -> None:
        number, rest = divmod(self.replica.step, self._every)
        if rest:
            return
        known = self._weighed()
        known /= 2
        (receiver,), _ = neighbours("exponential", self.links.rank, self.links.size, number, 0)
        self.links.send(receiver, known, channel=_TOLD)
        while (letter := self.links.any(_TOLD, timeout=0.0)) is not None:
            self._take(letter, known)
        self._put(known)

    def shared(self) -> np.ndarray:
        self.settle()
        known = self._weighed()
        mesh(self.links, known)
        return (known[:-1] / known[-1]).astype(np.float32)

    def settle(self) -> None:
        known = self._weighed()
        others = [rank for rank in range(self.links.size) if rank != self.links.rank]
        for rank in others:
            self.links.send(rank, channel=_TOLD, number=_END)
        while len(self._ended) < len(others):
            letter = self.links.any(_TOLD)
            assert letter is not None
            self._take(letter, known)
        self._ended.clear()
        self._put(known)

    def _take(self, letter: Letter, known: np.ndarray) -> None:
        if letter.number == _END:
            self._ended.add(letter.rank)
        else:
            known += letter.arrays[0]

    def _weighed(self) -> np.ndarray:
        """What this rank knows times its weight, and the weight."""
        weight = self.memory["weight"][0]
        return np.append(self.replica.numbers().astype(np.float64) * weight, weight)

    def _put(self, known: np.ndarray) -> None:
        self.memory["weight"][0] = known[-1]
        self.replica.put((known[:-1] / known[-1]).astype(np.float32))
