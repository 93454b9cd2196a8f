"""Which center is nearest to a row, whatever rounding says: rows as far from two belong to the first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from outgrow.data.matrix import is_sparse

CHUNK = 1 << 18
"""Scores that are worked on at once. Of fewer, threads would wait for each other more than they work."""
FEW = 24
"""Up to so many centers, a loop over centers for all rows is faster than one over rows for all centers."""
ALIKE = 1e-9
"""Scores whose difference is no larger a share of them are equal: it is rounding that tells them apart."""
_SINGLE = float(np.finfo(np.float32).eps)
"""What rounding to single precision changes, as a share."""


class Nearest(NamedTuple):
    """Of each row the index of its center, its score, the best score of another center, and how far the
    scores may be off.

    A score is half of a row's square less half its squared distance to a center, both about the origin. Of
    a single center, the second score is minus infinity.
    """

    labels: np.ndarray
    best: np.ndarray
    second: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Centers:
    """Centers, taken relative to an origin: far from zero the products with rows would lose the difference.

    Attributes
    ----------
    apart : ndarray of shape (clusters, width), the centers less the origin.
    constants : ndarray of shape (clusters,), what is taken from the products.
    least : half the square of the least distance from the origin above 0, below which scores are not told
        apart by their own size alone.
    origin : ndarray of shape (width,).
    """

    apart: np.ndarray
    constants: np.ndarray
    least: float
    origin: np.ndarray

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
        return cls(apart, apart @ origin + halves, float(away.min()) if len(away) else 0.0, origin)

    def closest(self, X: Any) -> np.ndarray:
        """The index of the center of each row.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        """
        return self.nearest(X).labels

    def nearest(self, X: Any) -> Nearest:
        """The center of each row, and the scores that tell how sure that is.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        """
        rows = X.shape[0]
        found = Nearest(np.empty(rows, dtype=np.int32), *np.empty((3, rows)))
        for part in chunks(rows, len(self.apart)):
            own = Nearest(*(column[part] for column in found))
            if len(self.apart) <= FEW:
                self._among_few(X[part], own)
            elif is_sparse(X):
                self._among_many(X[part], own)
            else:
                self._screened(X[part], own)
        return found

    def _among_few(self, X: Any, found: Nearest) -> None:
        """Of scores of shape (centers, rows)."""
        if is_sparse(X):
            scores = np.ascontiguousarray((X @ self._turned).T)
        else:
            scores = np.matmul(self.apart, X.T, out=_scratch(np.float64, len(self.apart), X.shape[0]))
        scores -= self.constants[:, None]
        labels, best, second, error = found
        labels[:], best[:], second[:], error[:] = 0, scores[0], -np.inf, 0.0
        for place, score in enumerate(scores[1:], 1):
            np.maximum(second, np.minimum(best, score), out=second)
            np.copyto(labels, place, where=score > best)
            np.maximum(best, score, out=best)
        self._settle_ties(scores, found)

    def _among_many(self, X: Any, found: Nearest) -> None:
        """Of scores of shape (rows, centers)."""
        scores = X @ self._turned
        scores -= self.constants
        _best_two(scores, found)
        found.error[:] = 0.0
        self._settle_ties(scores.T, found)

    @np.errstate(over="ignore", invalid="ignore")
    def _screened(self, X: np.ndarray, found: Nearest) -> None:
        """Of scores in single precision, and in double where those do not tell the best two apart."""
        near = np.empty(X.shape, dtype=np.float32)
        np.subtract(X, self.origin, out=near, casting="same_kind")
        scores = np.matmul(near, self._single, out=_scratch(np.float32, len(X), len(self.apart)))
        scores -= self._halves.astype(np.float32)
        _best_two(scores, found)
        reach = np.sqrt(np.einsum("ij,ij->i", near, near, dtype=np.float64) * (2 * self._halves.max()))
        found.error[:] = (X.shape[1] + 4) * _SINGLE * (reach + self._halves.max())
        slack = ALIKE * (np.abs(found.best) + self.least) + 2 * found.error
        # what overflows in single precision is not told apart, either
        unsure = np.flatnonzero(~(found.best - found.second > slack))
        if len(unsure):
            exact = Nearest(*(column[unsure] for column in found))
            self._among_many(X[unsure], exact)
            for column, values in zip(found, exact, strict=True):
                column[unsure] = values

    @cached_property
    def _turned(self) -> np.ndarray:
        return np.ascontiguousarray(self.apart.T)

    @cached_property
    def _single(self) -> np.ndarray:
        return self._turned.astype(np.float32)

    @cached_property
    def _halves(self) -> np.ndarray:
        """Half of the square of each center about the origin."""
        return self.constants - self.apart @ self.origin

    def _settle_ties(self, scores: np.ndarray, found: Nearest) -> None:
        """Give rows with several best scores, which differ by no more than rounding, to the first center."""
        slack = ALIKE * (np.abs(found.best) + self.least)
        tied = np.flatnonzero(found.best - found.second <= slack)
        if len(tied):
            found.labels[tied] = (scores[:, tied] >= found.best[tied] - slack[tied]).argmax(axis=0)


_own = threading.local()


def _scratch(dtype: Any, *shape: int) -> np.ndarray:
    """Memory that this thread uses again and again: the system would clear new memory each time."""
    need = int(np.prod(shape)) * np.dtype(dtype).itemsize
    held: np.ndarray | None = getattr(_own, "scratch", None)
    if held is None or len(held) < need:
        held = _own.scratch = np.empty(max(need, 8 * CHUNK), dtype=np.uint8)
    return held[:need].view(dtype).reshape(shape)


def _best_two(scores: np.ndarray, found: Nearest) -> None:
    """Labels and the best two of scores of shape (rows, centers), which are left as they were."""
    labels = scores.argmax(axis=1)
    places = np.arange(0, scores.size, scores.shape[1]) + labels
    flat = scores.reshape(-1)
    best = np.take(flat, places, mode="clip")
    found.labels[:], found.best[:] = labels, best
    np.put(flat, places, -np.inf)
    found.second[:] = scores.max(axis=1)
    np.put(flat, places, best)


def chunks(rows: int, numbers: int) -> Iterator[slice]:
    """Slices of rows that stay in a core's cache.

    Parameters
    ----------
    rows : how many there are.
    numbers : how many there are for each, such as scores for so many centers.
    """
    step = max(64, CHUNK // max(numbers, 1))
    yield from (slice(start, start + step) for start in range(0, rows, step))
