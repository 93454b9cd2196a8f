"""Counts of many columns of few rows each, compiled by Numba: NumPy would be called once for each column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_FARTHEST = 2.0**31


def _count_matrix(
    X: Any, factors: Any, firsts: Any, sizes: Any, starts: Any, columns: Any, out: Any, ends: Any
) -> None:
    for j in range(X.shape[1]):
        factor, first, size, start = factors[j], firsts[j], sizes[j], starts[j]
        low, high = np.inf, -np.inf
        for i in range(X.shape[0]):
            value = X[i, j]
            cell = np.floor(value * factor) - first
            if cell >= 0.0 and cell < size:
                out[start + 5 + np.int64(cell)] += 1
            elif cell < 0.0:
                out[start + 1] += 1
                out[start + 3] += np.int64(max(cell, -_FARTHEST))
            elif cell >= size:
                out[start + 2] += 1
                out[start + 4] += np.int64(min(cell - size, _FARTHEST))
            else:
                out[start] += 1
                continue
            low, high = min(low, value), max(high, value)
        ends[0, columns[j]] = min(ends[0, columns[j]], low)
        ends[1, columns[j]] = max(ends[1, columns[j]], high)


try:
    count_matrix: Any = njit(nogil=True, cache=True)(_count_matrix)
except RuntimeError:  # neither the package's folder nor the user's can be written
    count_matrix = njit(nogil=True)(_count_matrix)
count_matrix.__doc__ = """Add the counts of columns of a matrix to vectors; see `NumberGrid.count`.

Parameters
----------
X : float64 of shape (rows, columns).
factors, firsts, sizes : of the grids: 2**-level, the first cell, how many there are.
starts : where the vector of each begins in `out`.
columns : the place of each in `ends`.
out : int64, all vectors one after the other.
ends : float64 of shape (2, measures).
"""
