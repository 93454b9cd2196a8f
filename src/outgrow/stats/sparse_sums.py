"""Sums for each cell of a matrix of which few cells have one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class SparseSums(State):
    """The cells of a matrix that something was added to. Memory grows with how many there are.

    Attributes
    ----------
    cells : int64 of shape (cells,), row times width plus column, sorted, each once.
    sums : float64 of shape (cells,).
    """

    cells: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, values: np.ndarray) -> SparseSums:
        """The sums of some values.

        Parameters
        ----------
        cells : shape (values,), where each is added.
        values : shape (values,).
        """
        order = np.argsort(cells, kind="stable")
        ordered = cells[order].astype(np.int64)
        starts = np.flatnonzero(np.append(np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1]))
        if not len(starts):
            return cls(ordered, np.zeros(0))
        return cls(ordered[starts], np.add.reduceat(np.asarray(values, dtype=np.float64)[order], starts))

    def merge(self, other: SparseSums) -> SparseSums:
        cells = np.concatenate([self.cells, other.cells])
        return SparseSums.of(cells, np.concatenate([self.sums, other.sums]))
