"""The least and the largest value of each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.stats.grouped import Segments, united
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class Extremes(State):
    """For each column: how many `rows` there are, the least and the largest value; NaN is no value.

    A column without a value has infinity as its least, and minus infinity as its largest.
    """

    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, X: Any) -> Extremes:
        """The extremes of the columns of a matrix; what a sparse one does not store is zero."""
        rows = np.array([X.shape[0]])
        sparse = bool(sp.issparse(X))
        if sparse and X.shape[0]:
            low, high = (np.asarray(ends.toarray()).ravel() for ends in (X.nanmin(axis=0), X.nanmax(axis=0)))
            empty = np.isnan(low)
            return cls(rows, np.where(empty, np.inf, low), np.where(empty, -np.inf, high))
        X = X.toarray() if sparse else X
        low = np.fmin.reduce(X, axis=0, initial=np.inf)
        return cls(rows, low, np.fmax.reduce(X, axis=0, initial=-np.inf))

    def merge(self, other: Extremes) -> Extremes:
        return Extremes(
            self.rows + other.rows, np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        )


@dataclass(frozen=True, eq=False)
class GroupedExtremes(State):
    """`Extremes` of each group: `low` and `high` have shape (groups, columns)."""

    hashes: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, segments: Segments, X: np.ndarray) -> GroupedExtremes:
        """The extremes of columns.

        Parameters
        ----------
        segments : the groups of the rows.
        X : shape (columns, rows), sorted as the segments are; NaN is no value.
        """
        if not len(segments.starts):
            none = np.zeros((0, len(X)))
            return cls(segments.hashes, none, none)
        missing = np.isnan(X)
        low = np.minimum.reduceat(np.where(missing, np.inf, X), segments.starts, axis=1)
        high = np.maximum.reduceat(np.where(missing, -np.inf, X), segments.starts, axis=1)
        return cls(segments.hashes, low.T.copy(), high.T.copy())

    def merge(self, other: GroupedExtremes) -> GroupedExtremes:
        hashes, (low,), at = united(self, other, "low", empty=np.inf)
        _, (high,), _ = united(self, other, "high", empty=-np.inf)
        low[at] = np.minimum(low[at], other.low)
        high[at] = np.maximum(high[at], other.high)
        return GroupedExtremes(hashes, low, high)
