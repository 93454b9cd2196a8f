"""Which center is nearest to a row, whatever rounding says: rows as far from two belong to the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.data.batch import is_sparse

CHUNK = 1 << 18
"""Scores that are worked on at once."""
FEW = 24
"""Up to so many centers, a loop over rows for each is faster than one over centers for each row."""
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

    def closest(self, X: Any) -> np.ndarray:
        """The index of the center of each row.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        """
        parts = [
            self.nearest(Scores.of(X[part], self.apart, self.constants))[0]
            for part in chunks(X.shape[0], len(self.apart))
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    def nearest(self, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        """The index of the center of each row, and its score.

        Parameters
        ----------
        scores : of these centers alone.
        """
        best = scores.values.max(axis=scores.axis)
        ties = scores.values >= scores.spread(best - ALIKE * (np.abs(best) + self.least))
        return ties.argmax(axis=scores.axis), best


@dataclass(frozen=True, eq=False)
class Scores:
    """Half of each row's square less half its squared distance to each center.

    Attributes
    ----------
    values : shape (centers, rows) of few centers, of which whole rows of numbers are compared at once;
        otherwise (rows, centers).
    axis : that of the centers.
    """

    values: np.ndarray
    axis: int

    @classmethod
    def of(cls, X: Any, apart: np.ndarray, constants: np.ndarray) -> Scores:
        """The scores for centers, which may be those of several `Centers` one after the other.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        apart : shape (centers, width), as in `Centers`.
        constants : shape (centers,), as in `Centers`.
        """
        if len(apart) > FEW:
            values = X @ np.ascontiguousarray(apart.T)
            values -= constants
            return cls(values, 1)
        values = np.ascontiguousarray((X @ apart.T).T) if is_sparse(X) else apart @ X.T
        values -= constants[:, None]
        return cls(values, 0)

    def spread(self, by_row: np.ndarray) -> np.ndarray:
        """A number of each row, so that it is compared with the scores for all centers."""
        return by_row[None, :] if self.axis == 0 else by_row[:, None]

    def part(self, start: int, stop: int) -> Scores:
        """The scores for some of the centers.

        Parameters
        ----------
        start, stop : the first of them, and the first after them.
        """
        return Scores(self.values[start:stop] if self.axis == 0 else self.values[:, start:stop], self.axis)


def chunks(rows: int, centers: int) -> Iterator[slice]:
    """Slices of rows, whose scores for so many centers stay in a core's cache.

    Parameters
    ----------
    rows : how many there are.
    centers : how many numbers there are for each.
    """
    step = max(256, CHUNK // max(centers, 1))
    yield from (slice(start, start + step) for start in range(0, rows, step))
