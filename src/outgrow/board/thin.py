"""Curves with fewer points that look the same: of each column of pixels the lowest and the highest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def thinned(x: Points, y: Points, width: int) -> NDArray[np.intp]:
    """Which points to keep, in their order: at most four for each of `width` equal parts of the x axis.

    First, last, lowest and highest of each part are kept: lines through them cover the same pixels (Jugel
    et al., "M4: a visualization-oriented time series data aggregation", VLDB 2014). Points with a value
    that is not finite are left out.

    Parameters
    ----------
    x : in ascending order.
    y : as many.
    width : in pixels.

    Examples
    --------
    >>> x = np.arange(1_000.0)
    >>> kept = thinned(x, np.sin(x), 10)
    >>> len(kept) <= 40, int(kept[0]), int(kept[-1])
    (True, 0, 999)
    """
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(finite) <= 4 * width:
        return finite
    x, y = x[finite], y[finite]
    span = x[-1] - x[0]
    if span <= 0:
        return finite[np.unique([0, int(y.argmin()), int(y.argmax()), len(y) - 1])]
    edges = np.searchsorted(x, x[0] + span * np.arange(1, width) / width)
    starts = np.unique(np.concatenate([[0], edges]))
    starts = starts[starts < len(y)]
    ends = np.append(starts[1:], len(y))
    kept = [starts, ends - 1, _where(y, starts, ends, np.minimum), _where(y, starts, ends, np.maximum)]
    return finite[np.unique(np.concatenate(kept))]


def _where(
    y: Points, starts: NDArray[np.intp], ends: NDArray[np.intp], extreme: np.ufunc
) -> NDArray[np.intp]:
    """The first point of each part that has its extreme."""
    extremes = np.repeat(extreme.reduceat(y, starts), ends - starts)
    hits = np.flatnonzero(y == extremes)
    part = np.searchsorted(starts, hits, side="right")
    return hits[np.flatnonzero(np.diff(part, prepend=0))]
