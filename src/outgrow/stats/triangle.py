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
    factor : ndarray of shape (min(rows, p), p), upper triangular, with a diagonal of at least 0.
    """

    factor: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Triangle:
        """The factor of a dense matrix."""
        return cls(_factor(rows))

    def merge(self, other: Triangle) -> Triangle:
        return Triangle(_factor(np.vstack([self.factor, other.factor])))


def _factor(rows: np.ndarray) -> np.ndarray:
    factor = np.linalg.qr(rows, mode="r") if len(rows) else rows
    return np.copysign(1.0, np.diag(factor))[:, None] * factor
