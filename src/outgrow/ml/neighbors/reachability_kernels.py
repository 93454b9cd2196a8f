"""The spanning tree of least mutual reachability distances, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, kernel, typed_kernel


@typed_kernel(GIVEN, GIVEN, returns=types.float64, loose=("reassoc", "contract"))
def _squares(x: Any, y: Any) -> Any:
    total = 0.0
    for k in range(len(x)):
        total += (x[k] - y[k]) ** 2
    return total


@kernel
def _length(x: Any, y: Any, power: Any) -> Any:
    """The distance of two rows."""
    total = 0.0
    if power == 2.0:
        return np.sqrt(_squares(x, y))
    if np.isinf(power):
        for k in range(len(x)):
            total = max(total, abs(x[k] - y[k]))
        return total
    for k in range(len(x)):
        total += abs(x[k] - y[k]) ** power
    return total ** (1.0 / power)


@typed_kernel(
    ROWS,
    GIVEN,
    types.float64,
    types.float64,
    types.boolean,
    GIVEN,
    GIVEN,
    types.int64[:, ::1],
    types.float64[::1],
)
def spanning_tree(
    rows: Any,
    core: Any,
    power: Any,
    alpha: Any,
    cosine: Any,
    extent: Any,
    inner: Any,
    ends: Any,
    sizes: Any,
) -> None:
    """Prim's algorithm; a distance is computed only where it can be less than what is known.

    Parameters
    ----------
    rows : of shape (n, width).
    core : of shape (n,), core distances.
    power, alpha, cosine : of the metric.
    extent, inner : of shape (n,), of bubbles; of shape (0,) of rows.
    ends : of shape (n - 1, 2), to be filled.
    sizes : of shape (n - 1,), to be filled.
    """
    n = len(rows)
    left = np.arange(1, n)
    best = np.full(n, np.inf)
    source = np.zeros(n, dtype=np.int64)
    at, bubbles = 0, len(extent) > 0
    for step in range(n - 1):
        least, where = np.inf, 0
        for j in range(n - 1 - step):
            i = left[j]
            known = best[i]
            if core[i] < known and core[at] < known:
                apart = _length(rows[i], rows[at], power)
                if bubbles:
                    gap = apart - extent[i] - extent[at]
                    apart = gap + inner[i] + inner[at] if gap >= 0 else max(inner[i], inner[at])
                if cosine:
                    apart = 0.5 * apart * apart
                apart = max(apart / alpha, core[i], core[at])
                if apart < known:
                    best[i], source[i] = apart, at
                    known = apart
            if known < least:
                least, where = known, j
        at = left[where]
        ends[step, 0], ends[step, 1], sizes[step] = source[at], at, least
        left[where] = left[n - 2 - step]
