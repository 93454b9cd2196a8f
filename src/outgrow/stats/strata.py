"""A few rows of each stratum, known by their hashes, so that they can be dealt out evenly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class Strata(State):
    """The smallest different hashes of each stratum, at most `most` + 1 of them.

    A stratum with `most` or fewer is known whole.

    Attributes
    ----------
    strata, hashes : ndarray of uint64 of equal length: pairs in order, each once.
    """

    strata: np.ndarray
    hashes: np.ndarray
    most: int

    @classmethod
    def of(cls, strata: np.ndarray, hashes: np.ndarray, most: int) -> Strata:
        """The least hashes of each stratum.

        Parameters
        ----------
        strata : uint64 of shape (rows,), which stratum each row is in.
        hashes : uint64 of shape (rows,).
        most : up to so many different hashes a stratum is known whole.
        """
        order = np.lexsort((hashes, strata))
        strata, hashes = strata[order], hashes[order]
        new = np.append(True, (strata[1:] != strata[:-1]) | (hashes[1:] != hashes[:-1]))[: len(order)]
        strata, hashes = strata[new], hashes[new]
        few = _ranks(strata) <= most
        return cls(strata[few], hashes[few], most)

    def merge(self, other: Strata) -> Strata:
        strata = np.concatenate([self.strata, other.strata])
        return Strata.of(strata, np.concatenate([self.hashes, other.hashes]), self.most)

    @property
    def sizes(self) -> np.ndarray:
        """How many different hashes each stratum has; `most` + 1 for many."""
        return np.unique(self.strata, return_counts=True)[1]

    def dealt(self, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """The hashes of strata that are known whole, in order, and a part for each.

        The parts of a stratum are as large as each other, give or take one, and begin where those of the
        stratum before ended.
        """
        sizes = self.sizes
        whole = np.repeat(sizes <= self.most, sizes)
        hashes = self.hashes[whole]
        order = np.argsort(hashes)
        return hashes[order], (np.arange(len(hashes)) % parts)[order]

    def part_of(self, hashes: np.ndarray, parts: int) -> np.ndarray:
        """The part of each of some hashes, int64 of shape (rows,): as it was dealt, else by the hash itself.

        Parameters
        ----------
        hashes : uint64 of shape (rows,).
        parts : how many there are.
        """
        known, dealt = self.dealt(parts)
        part = (hashes % np.uint64(parts)).astype(np.int64)
        if len(known):
            at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            few = known[at] == hashes
            part[few] = dealt[at[few]]
        return part


def _ranks(strata: np.ndarray) -> np.ndarray:
    """The rank of each entry within its stratum, from 0; the strata are sorted."""
    _, starts, sizes = np.unique(strata, return_index=True, return_counts=True)
    return np.arange(len(strata)) - np.repeat(starts, sizes)
