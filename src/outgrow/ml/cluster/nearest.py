"""Which center is nearest to a row, whatever rounding says: rows as far from two belong to the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.data.batch import is_sparse

ALIKE = 1e-9
"""Scores whose difference is no larger a share of them are equal: it is rounding that tells them apart."""


@dataclass(frozen=True, eq=False)
class Centers:
    """Centers, taken relative to an origin: far from zero the products with rows would lose the difference.

    Attributes
    ----------
    apart : ndarray of shape (clusters, width), the centers less the origin.
    constants : ndarray of shape (clusters,), what is taken from the products.
    least : half the square of the least distance from the origin above 0, below which scores are not told
        apart by their own size alone.
    """

    apart: np.ndarray
    constants: np.ndarray
    least: float

    @classmethod
    def of(cls, centers: np.ndarray, origin: np.ndarray) -> Centers:
        """Centers, made ready for products with rows.

        Parameters
        ----------
        centers : shape (clusters, width).
        origin : shape (width,), near the rows.
        """
        apart = centers - origin
        halves = 0.5 * (apart**2).sum(axis=1)
        away = halves[halves > 0]
        return cls(apart, apart @ origin + halves, float(away.min()) if len(away) else 0.0)

    def scores(self, X: Any) -> np.ndarray:
        """Half of each row's square less half its squared distance to each center: (clusters, rows)."""
        return products(X, self.apart, self.constants)

    def closest(self, X: Any) -> np.ndarray:
        """The index of the center of each row."""
        scores = self.scores(X)
        nearest: np.ndarray = self.ties(scores, scores.max(axis=0)).argmax(axis=0)
        return nearest

    def ties(self, scores: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Which centers are as near as the nearest, but for rounding; at least one for each row.

        Parameters
        ----------
        scores : shape (clusters, rows), as `scores` gives them.
        best : shape (rows,), the greatest score of each row.

        Returns
        -------
        Boolean, of shape (clusters, rows).
        """
        ties: np.ndarray = scores >= best - ALIKE * (np.abs(best) + self.least)
        return ties


def products(X: Any, apart: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """The scores for centers, which may be those of several `Centers` one after the other.

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    apart : shape (centers, width), as in `Centers`.
    constants : shape (centers,), as in `Centers`.

    Returns
    -------
    Shape (centers, rows).
    """
    scores = np.ascontiguousarray((X @ apart.T).T) if is_sparse(X) else apart @ X.T
    scores -= constants[:, None]
    return scores
