"""What lies between machines."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """Between machines.

    Attributes
    ----------
    megabits : a second.
    milliseconds : from when something is sent until it arrives.
    """

    megabits: float = 1000.0
    milliseconds: float = 0.5

    def allreduce(self, ranks: int, floats: int) -> float:
        """Seconds to add up states along a tree.

        Parameters
        ----------
        ranks : how many.
        floats : of a state.
        """
        if ranks < 2:
            return 0.0
        edge = 1e-3 * self.milliseconds + 64e-6 * floats / self.megabits
        return 2 * math.floor(math.log2(ranks)) * edge
