"""Triangular factors of tall matrices, merged as in TSQR (Demmel, Grigori, Hoemmen and Langou 2012)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class Triangle(State):
    """R of the QR decomposition of rows: R'R are their products, but nothing was squared to get it.

    Attributes
    ----------
    rows : ndarray of shape (some, p) with the same products as all rows: themselves, as long as they are no
        more than the columns, which a factor would not make fewer; then their factor.
    done : whether they are the factor.
    """

    rows: np.ndarray
    done: bool = False

    @classmethod
    def of(cls, rows: np.ndarray) -> Triangle:
        """The factor of a dense matrix."""
        return cls(_factor(rows), done=True) if len(rows) > rows.shape[1] else cls(rows)

    def merge(self, other: Triangle) -> Triangle:
        return Triangle.of(np.vstack([self.rows, other.rows]))

    @property
    def factor(self) -> np.ndarray:
        """The factor, of shape (min(rows, p), p): upper triangular, with a diagonal of at least 0."""
        return self.rows if self.done else _factor(self.rows)


def _factor(rows: np.ndarray) -> np.ndarray:
    factor = np.linalg.qr(rows, mode="r") if len(rows) else rows
    return np.copysign(1.0, np.diag(factor))[:, None] * factor
