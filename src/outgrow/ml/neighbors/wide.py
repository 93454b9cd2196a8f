"""Rows of many columns within a radius of each other: all pairs, by products of matrices, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.ml.neighbors import wide_kernels as kernels
from outgrow.ml.neighbors.kd_tree import pieces

_ROWS, _OTHERS = 256, 2048
"""Rows that are multiplied at once, and with how many others: their products stay in a cache."""


class AllPairs:
    """Rows of which all pairs are looked at; distances are those of Euclid.

    Parameters
    ----------
    rows : shape (n, width).
    """

    def __init__(self, rows: np.ndarray) -> None:
        # far from zero the differences of products would be lost
        self.rows = np.ascontiguousarray(rows - rows.mean(axis=0))
        self._squares = np.einsum("ij,ij->i", self.rows, self.rows)

    def weights_near(
        self, weight: np.ndarray, radius: float, enough: float, run: Callable[..., Any] = map
    ) -> np.ndarray:
        """What the rows within a radius of each row weigh, itself counted; or anything that is enough.

        Parameters
        ----------
        weight : shape (n,).
        radius : of the metric.
        enough : no more is counted from there on.
        run : what calls a function with each of some parts.
        """
        n, found, weight = len(self.rows), np.zeros(len(self.rows)), np.ascontiguousarray(weight)

        def part(edges: tuple[int, int]) -> None:
            for start, stop in pieces(n, _OTHERS):
                if (found[slice(*edges)] >= enough).all():
                    return
                products = self.rows[slice(*edges)] @ self.rows[start:stop].T
                kernels.weighed(
                    self.rows, self._squares, products, edges[0], start, weight, radius**2, enough, found
                )

        for _ in run(part, pieces(n, _ROWS)):
            pass
        return found

    def tied(self, radius: float) -> np.ndarray:
        """Which rows chains of steps no longer than a radius tie: for each the least place of its chain."""
        above = np.arange(len(self.rows))
        for first, last in pieces(len(self.rows), _ROWS):
            for start, stop in pieces(last, _OTHERS):
                products = self.rows[first:last] @ self.rows[start:stop].T
                kernels.tied(self.rows, self._squares, products, first, start, radius**2, above)
        while (higher := above[above]).tobytes() != above.tobytes():
            above = higher
        return above
