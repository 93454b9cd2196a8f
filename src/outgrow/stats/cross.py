"""How columns vary with one other: means, squares about them, and products of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.stats.moments import Moments
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class CrossMoments(State):
    """The `Moments` of columns and of a number beside them, both without missing values.

    Attributes
    ----------
    columns, other : of the columns, and of the number, whose arrays have one entry.
    products : ndarray of shape (columns,), the sums of products about the means.
    """

    columns: Moments
    other: Moments
    products: np.ndarray

    @classmethod
    def of(cls, X: Any, y: np.ndarray) -> CrossMoments:
        """The moments of a matrix beside a number.

        Parameters
        ----------
        X : shape (rows, columns), dense or CSR, without NaN.
        y : shape (rows,), without NaN.
        """
        columns, other = Moments.of(X), Moments.of(y[:, None])
        centred = y - other.mean
        with np.errstate(over="ignore", invalid="ignore"):
            products = centred @ (X if bool(sp.issparse(X)) else X - columns.mean)
        return cls(columns, other, np.asarray(products, dtype=np.float64))

    def merge(self, other: CrossMoments) -> CrossMoments:
        n, m = self.columns.n, other.columns.n
        share = n * m / np.where(n + m > 0, n + m, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            step = (other.columns.mean - self.columns.mean) * (other.other.mean - self.other.mean)
            products = self.products + other.products + step * share
        return CrossMoments(self.columns.merge(other.columns), self.other.merge(other.other), products)
