"""What Spark's Summarizer counts, for each group and column: powers about the mean, sums, and extremes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.grouped import Segments
from outgrow.stats.moments import ShapeMoments
from outgrow.stats.state import State

SUMS = ("rows", "count", "nonzeros", "weight_squares", "sum", "norm_l1", "squares")
"""What is only added up, in the order of `GroupedSummary.sums`."""
_quiet = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, eq=False)
class GroupedSummary(State):
    """Of each group and column, NaN being no value.

    Attributes
    ----------
    hashes : of the groups, sorted.
    shape : weights and powers about the mean, all of shape (groups, columns).
    sums : shape (groups, columns, 7): what `SUMS` names. Values and values that are not zero count once
        each, as rows do; the others by their weights.
    """

    hashes: np.ndarray
    shape: ShapeMoments
    sums: np.ndarray

    @classmethod
    @_quiet
    def of(cls, segments: Segments, X: np.ndarray, weight: np.ndarray | None = None) -> GroupedSummary:
        """The summary of rows.

        Parameters
        ----------
        segments : the groups of the rows.
        X : shape (columns, rows), sorted as the segments are; NaN is no value.
        weight : shape (rows,), sorted as X, all above 0; None where each row counts once.
        """
        present = ~np.isnan(X)
        counted = present.astype(np.float64) if weight is None else present * weight
        values = np.where(present, X, 0.0)
        n, total = segments.sums(counted), segments.sums(values * counted)
        safe = np.where(n > 0, n, 1)
        mean = total / safe
        mean += segments.sums(counted * (values - segments.spread(mean))) / safe  # what rounding left of it
        apart = values - segments.spread(mean)
        second = counted * apart**2
        powers = [segments.sums(second), segments.sums(second * apart), segments.sums(second * apart**2)]
        low, high = _extremes(segments, X)
        shape = ShapeMoments(*(part.T.copy() for part in (n, mean, *powers, low, high)))
        size = np.abs(values) * counted
        sums = [
            np.broadcast_to(segments.counts.astype(np.float64), n.shape),
            segments.sums(present.astype(np.float64)),
            segments.sums((values != 0).astype(np.float64)),
            n if weight is None else segments.sums(counted**2),
            total,
            segments.sums(size),
            segments.sums(size * np.abs(values)),
        ]
        return cls(segments.hashes, shape, np.stack([part.T for part in sums], axis=-1))

    @_quiet
    def merge(self, other: GroupedSummary) -> GroupedSummary:
        hashes = self.hashes
        left, right = self, other
        if not np.array_equal(hashes, other.hashes):
            hashes = np.union1d(hashes, other.hashes)
            left, right = self._among(hashes), other._among(hashes)
        return GroupedSummary(hashes, left.shape.merge(right.shape), left.sums + right.sums)

    def _among(self, hashes: np.ndarray) -> GroupedSummary:
        """The same beside groups without rows."""
        at = np.searchsorted(hashes, self.hashes)

        def wide(array: np.ndarray, empty: float) -> np.ndarray:
            out = np.full((len(hashes), *array.shape[1:]), empty)
            out[at] = array
            return out

        s = self.shape
        n, mean, m2, m3, m4 = (wide(part, 0.0) for part in (s.n, s.mean, s.m2, s.m3, s.m4))
        shape = ShapeMoments(n, mean, m2, m3, m4, wide(s.low, np.inf), wide(s.high, -np.inf))
        return GroupedSummary(hashes, shape, wide(self.sums, 0.0))


def _extremes(segments: Segments, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(segments.starts):
        return np.zeros((len(X), 0)), np.zeros((len(X), 0))
    low = np.fmin.reduceat(X, segments.starts, axis=1)
    high = np.fmax.reduceat(X, segments.starts, axis=1)
    empty = np.isnan(low)
    return np.where(empty, np.inf, low), np.where(empty, -np.inf, high)
