"""Centers, and which is nearest to a row whatever rounding says: of two as far, it is the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse

ALIKE = 1e-9
"""Scores whose difference is no larger a share of them are equal: it is rounding that tells them apart."""
CHUNK = 1 << 18
"""Scores that are worked on at once. Of fewer, threads would wait for each other more than they work."""


@dataclass(frozen=True, eq=False)
class Centers:
    """Centers, taken relative to an origin: far from zero the products with rows would lose the difference.

    A score is half of a row's square less half its squared distance to a center, both about the origin.

    Attributes
    ----------
    exact : ndarray of shape (clusters, width).
    origin : ndarray of shape (width,).
    apart : ndarray of shape (clusters, width), the centers less the origin.
    halves : ndarray of shape (clusters,), half of their squares.
    least : half the square of the least distance from the origin above 0, below which scores are not told
        apart by their own size alone.
    """

    exact: np.ndarray
    origin: np.ndarray
    apart: np.ndarray
    halves: np.ndarray
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
        return cls(centers, origin, apart, halves, float(away.min()) if len(away) else 0.0)

    @cached_property
    def constants(self) -> np.ndarray:
        """What is taken from the products with rows that are not taken relative to the origin."""
        return self.halves + self.apart @ self.origin

    @cached_property
    def turned(self) -> np.ndarray:
        """`apart`, transposed."""
        return np.ascontiguousarray(self.apart.T)

    @cached_property
    def sizes(self) -> np.ndarray:
        """`least`, the largest of `halves`, the length of that center, what rounding is a share of where
        distances are the difference of squares, and the square of the origin."""
        highest, beside = self.halves.max(), self.origin @ self.origin
        return np.array([self.least, highest, np.sqrt(2 * highest), 2 * (beside + 2 * highest), beside])

    @cached_property
    def tables(self) -> tuple[np.ndarray, ...]:
        """What kernels read: `apart` and `halves` in double and single precision, lengths, sizes."""
        with np.errstate(over="ignore"):
            single, half = self.apart.astype(np.float32), self.halves.astype(np.float32)
        return self.apart, self.halves, np.sqrt(2 * self.halves), single, half, self.sizes

    @cached_property
    def turned_tables(self) -> tuple[np.ndarray, ...]:
        """What kernels of sparse rows read."""
        return self.turned, self.constants, self.sizes

    def closest(self, X: Any) -> np.ndarray:
        """The index of the center of each row, found without compiled code.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        """
        labels = np.empty(X.shape[0], dtype=np.int32)
        sparse = is_sparse(X)
        constants = self.constants if sparse else self.halves
        for part in chunks(len(labels), len(self.exact)):
            scores = (X[part] if sparse else X[part] - self.origin) @ self.turned - constants
            best = scores.max(axis=1)
            best -= ALIKE * (np.abs(best) + self.least)
            labels[part] = (scores >= best[:, None]).argmax(axis=1)
        return labels


def squared_distances(X: Any, centers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each row is from its center, squared.

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    centers : shape (clusters, width).
    labels : shape (rows,), the center of each row.
    """
    squares = np.empty(len(labels))
    for part in chunks(len(labels), centers.shape[1]):
        apart = (X[part].toarray() if is_sparse(X) else X[part]) - centers[labels[part]]
        np.einsum("ij,ij->i", apart, apart, out=squares[part])
    return squares


def chunks(rows: int, numbers: int) -> Iterator[slice]:
    """Slices of rows that stay in a core's cache.

    Parameters
    ----------
    rows : how many there are.
    numbers : how many there are for each, such as scores for so many centers.
    """
    step = max(64, CHUNK // max(numbers, 1))
    yield from (slice(start, start + step) for start in range(0, rows, step))
