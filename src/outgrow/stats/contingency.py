"""How often each combination of the values of columns occurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.grouped import GroupedSums, Keys
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class Contingency(State):
    """The combinations there are, and what their rows weigh; memory grows with the number of combinations.

    Attributes
    ----------
    keys : the values of the columns, a row for each combination.
    sums : shape (combinations, 1), in the same order.
    """

    keys: Keys
    sums: GroupedSums

    def merge(self, other: Contingency) -> Contingency:
        return Contingency(self.keys.merge(other.keys), self.sums.merge(other.sums))

    @property
    def counts(self) -> np.ndarray:
        """The weight of each combination, in the order of the keys."""
        return self.sums.sums[:, 0]
