"""Ranks explore, held by springs to a common centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outgrow._settings import is_real
from outgrow.deep.codecs.codec import Codec
from outgrow.deep.strategies.seldom import check_every
from outgrow.deep.strategies.strategy import Running, Strategy, check_ways, summed
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica


@dataclass(frozen=True)
class EASGD(Strategy):
    """Elastic averaging: after so many steps each rank and the centre move towards each other; the centre is
    what was learned (Zhang, Choromanska and LeCun 2015). It needs no server: the sum of the distances is
    enough for each rank to keep the centre itself. Where a training ends between two moves, what was learned
    is the centre as the next one would leave it.

    Parameters
    ----------
    every : steps between two moves.
    pull : of the distance, what a rank moves is `pull` divided by the number of ranks.
    codec : how distances are written on the way; None for as they are.

    Raises
    ------
    ParameterError
        When a number does not fit.

    Examples
    --------
    >>> import outgrow as og
    >>> og.EASGD(every=8)
    EASGD(every=8, pull=0.9, codec=None)
    """

    every: int = 16
    pull: float = 0.9
    codec: Codec | None = None

    def __post_init__(self) -> None:
        check_every(self)
        check_ways(self)
        if not (is_real(self.pull) and 0 < self.pull <= 1):
            raise ParameterError(f"EASGD(pull={self.pull!r}): above 0, at most 1.")

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
        return _Running(self, replica, links)


class _Running(Running):
    def __init__(self, strategy: EASGD, replica: Replica, links: Links) -> None:
        super().__init__(replica, links)
        self._strategy = strategy
        self.begin()

    def begin(self) -> None:
        self.memory["centre"] = self.replica.numbers()

    def merge(self, weight: float) -> None:
        if self.replica.step % self._strategy.every == 0:
            self._drawn()

    def shared(self) -> np.ndarray:
        centre, mean = self.memory["centre"].copy(), super().shared()
        if self.replica.step % self._strategy.every:  # as if it moved now: else steps since would be lost
            centre += np.float32(self._strategy.pull) * (mean - centre)
        size = len(self.replica.parameters)
        numbers: np.ndarray = np.concatenate(
            [centre[:size], mean[size:]]
        )  # statistics of batches: their mean
        return numbers

    def _drawn(self) -> None:
        pull, centre = np.float32(self._strategy.pull / self.links.size), self.memory["centre"]
        mine = self.replica.numbers()
        distance = mine - centre
        self.replica.put(mine - pull * distance)
        summed(self.links, distance, self._strategy.codec, self.replica, self.memory)
        centre += pull * distance
