"""A sample of rows that does not depend on how they are partitioned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class RowSample(State):
    """The rows with the smallest hashes, which are as good as drawn at random.

    Attributes
    ----------
    most : how many are kept at most.
    hashes : uint64 of shape (rows,); equal rows have equal ones.
    X : ndarray of shape (rows, columns).
    y : ndarray of shape (rows,).
    """

    most: int
    hashes: np.ndarray
    X: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, most: int, hashes: np.ndarray, X: np.ndarray, y: np.ndarray) -> RowSample:
        """The sample of some rows.

        Parameters
        ----------
        most, hashes, X, y : as the attributes; there may be more rows.
        """
        kept: slice | np.ndarray = slice(None)
        if len(hashes) > most:
            kept = np.argpartition(hashes, most - 1)[:most]
        return cls(most, hashes[kept], np.ascontiguousarray(X[kept]), y[kept])

    def merge(self, other: RowSample) -> RowSample:
        pairs = ((self.hashes, other.hashes), (self.X, other.X), (self.y, other.y))
        return RowSample.of(self.most, *map(np.concatenate, pairs))

    def ordered(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y in the order of the hashes, which is that of any partitioning."""
        order = np.argsort(self.hashes, kind="stable")
        return self.X[order], self.y[order]
