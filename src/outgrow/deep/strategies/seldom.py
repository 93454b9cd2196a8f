"""What strategies have in common whose ranks all merge after so many steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow._settings import is_whole
from outgrow.deep.codecs.codec import Codec
from outgrow.deep.strategies.strategy import Running, Totals, settled, summed
from outgrow.engine.links import Links
from outgrow.errors import ParameterError
from outgrow.stats.robust import Merge

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica


def check_every(strategy: Any) -> None:
    """Raise where `every` is no number of steps.

    Parameters
    ----------
    strategy : one that has it.
    """
    if not is_whole(strategy.every):
        name = type(strategy).__name__
        raise ParameterError(f"{name}(every={strategy.every!r}): steps between two merges, from 1.")


class Seldom(Running):
    """Ranks that merge how they have changed since the last merge. Hook: `_go_on`.

    Parameters
    ----------
    replica, links : as for `Running`.
    every : steps between two merges.
    codec, merge : at most one of them.
    warmup : so many steps at the beginning are each followed by a merge.
    """

    def __init__(
        self,
        replica: Replica,
        links: Links,
        every: int,
        codec: Codec | None = None,
        merge: Merge | None = None,
        warmup: int = 0,
    ) -> None:
        super().__init__(replica, links)
        self._every, self._codec, self._merge, self._warmup = every, codec, merge, warmup
        self.begin()

    def begin(self) -> None:
        self.memory["anchor"] = self.replica.numbers()
        self.memory["weight"] = np.zeros(1)

    def merge(self, weight: float) -> None:
        self.memory["weight"] += weight
        step = self.replica.step
        if step <= self._warmup or step % self._every == 0:
            self._merged()

    def shared(self) -> np.ndarray:
        mean = self._mean_change(None)
        numbers: np.ndarray = self.memory["anchor"].copy()
        return numbers if mean is None else numbers + mean

    def _merged(self) -> None:
        anchor, mean = self.memory["anchor"], self._mean_change(self._codec)
        if mean is not None:
            anchor += self._go_on(mean)
        self.replica.put(anchor)
        self.memory["weight"][:] = 0.0

    def _mean_change(self, codec: Codec | None) -> np.ndarray | None:
        """How the ranks have changed since they were one, in the weighted mean; None where none had rows."""
        mine = float(self.memory["weight"][0])
        change = self.replica.numbers() - self.memory["anchor"]
        if self._merge is not None:
            return settled(self.links, self._merge, change, mine)
        sent = Totals(self.links, np.array([mine]))
        change *= np.float32(mine)
        summed(self.links, change, codec, self.replica, self.memory)
        total = float(sent.get()[0])
        return change / np.float32(total) if total else None

    def _go_on(self, change: np.ndarray) -> np.ndarray:
        """By how much all go on from where they last were one.

        Parameters
        ----------
        change : the weighted mean of how the ranks have changed.
        """
        raise NotImplementedError
