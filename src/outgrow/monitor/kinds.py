"""Which kind of drift a series of windows shows: sudden, gradual, periodic or temporary.

The series are the distances of consecutive windows to the reference. Each kind has its test, and what no test
can decide yet is called so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kruskal, norm, wilcoxon

from outgrow.errors import DataError, ParameterError

MOST_WINDOWS = 1000
"""The tests of a change look at so many windows, the latest ones: they compare each with each."""
LEAST_WINDOWS = 8
"""Fewer say nothing of a trend: a Mann-Kendall test of 4 windows cannot fall below p = 0.04."""


@dataclass(frozen=True)
class Kind:
    """What a series of windows shows.

    Attributes
    ----------
    name : "none", "sudden", "gradual", "periodic", "temporary" or "cannot say".
    since : the first window of the change, as an index; None where there is none.
    p : of the test that decided; NaN where none could.
    because : the facts, in words.
    """

    name: str
    since: int | None
    p: float
    because: str


def kind_of(
    distances: Sequence[float] | np.ndarray,
    *,
    threshold: float,
    period: int | None = None,
    to_earlier: Sequence[float] | np.ndarray | None = None,
    drifting: Sequence[bool] | np.ndarray | None = None,
    within: int = 3,
    level: float = 0.01,
) -> Kind:
    """The kind of drift in a series of windows.

    Periodic comes first (a season is no reason to train anew), then temporary, then the tests of a change:
    Pettitt's for whether there is one, Mann-Kendall's within the parts before and after it for whether it is
    a jump or a slope.

    Parameters
    ----------
    distances : of each window to the reference, in order of time; NaN for windows that have no rows.
    threshold : the distance from which on a window drifts.
    period : how many windows make a season, such as 24 hours or 7 days; None where none is expected.
    to_earlier : the distance of each window to the window of the same phase one period before it; NaN where
        there is none. Without it the phases of the distances themselves are compared.
    drifting : which windows drift, where more than the distance decides it; by default those at `threshold`.
    within : a change that is over after at most so many windows is temporary.
    level : of the tests.

    Examples
    --------
    >>> from outgrow.monitor.kinds import kind_of
    >>> kind_of([0.02, 0.01] * 5 + [0.3, 0.31] * 5, threshold=0.1).name
    'sudden'
    """
    series = np.asarray(distances, dtype=np.float64)
    if series.ndim != 1 or within < 1 or not threshold > 0:
        raise ParameterError(
            f"kind_of takes a series of distances, a threshold above 0 and within of at least 1, not shape "
            f"{series.shape}, threshold={threshold!r} and within={within!r}."
        )
    if (series < 0).any():
        raise DataError("A distance is negative. Give distances to the reference, of which 0 is none.")
    (seen,) = np.nonzero(np.isfinite(series))
    drifts = series >= threshold if drifting is None else np.asarray(drifting, dtype=bool)
    if drifts.shape != series.shape:
        raise ParameterError(f"drifting has {len(drifts)} values for {len(series)} windows.")
    above = seen[drifts[seen]]
    if len(above) == 0:
        return Kind("none", None, math.nan, "No window drifts from the reference.")
    if period is not None:
        season = _periodic(series, above, period, to_earlier, threshold, level)
        if season is not None:
            return season
    return _temporary(seen, above, within) or _lasting(series, seen, above, level)


def _periodic(
    series: np.ndarray,
    above: np.ndarray,
    period: int,
    to_earlier: Sequence[float] | np.ndarray | None,
    threshold: float,
    level: float,
) -> Kind | None:
    if period < 2:
        raise ParameterError(f"period={period!r} is no season. Give the number of windows in it, 2 or more.")
    if to_earlier is None:
        return _phases(series, above, period, level)
    earlier = np.asarray(to_earlier, dtype=np.float64)
    if earlier.shape != series.shape:
        raise ParameterError(f"{len(earlier)} distances to earlier windows for {len(series)} windows.")
    pairs = above[np.isfinite(earlier[above])]
    if len(pairs) == 0:
        return None
    middle = float(np.median(earlier[pairs]))
    # few rows are some way apart by chance alone: half the way to the reference is near, too
    near = max(threshold, float(np.median(series[pairs])) / 2)
    if middle >= near or (earlier[pairs] == series[pairs]).all():
        return None
    p = float(wilcoxon(earlier[pairs], series[pairs], alternative="less").pvalue)
    if p > level:
        return None
    return Kind(
        "periodic",
        int(above[0]),
        p,
        f"{len(pairs)} windows that drift from the reference are within {middle:.3g} of the window one "
        f"period ({period} windows) before.",
    )


def _phases(series: np.ndarray, above: np.ndarray, period: int, level: float) -> Kind | None:
    """Do windows of one phase resemble each other? Kruskal and Wallis's test, of two periods or more."""
    phases = [series[phase::period] for phase in range(period)]
    phases = [values[np.isfinite(values)] for values in phases]
    if len(series) < 2 * period or any(len(values) < 2 for values in phases):
        return None
    if np.ptp(np.concatenate(phases)) == 0:
        return None
    p = float(kruskal(*phases).pvalue)
    if p > level:
        return None
    return Kind(
        "periodic",
        int(above[0]),
        p,
        f"The distance depends on the phase of a period of {period} windows (Kruskal-Wallis, p = {p:.1g}).",
    )


def _temporary(seen: np.ndarray, above: np.ndarray, within: int) -> Kind | None:
    """The last run of windows that drift is over, and was short."""
    last = int(above[-1])
    position = int(np.searchsorted(seen, last))
    if position == len(seen) - 1:
        return None  # it drifts still
    start = position
    while start > 0 and seen[start - 1] in above:
        start -= 1
    length = position - start + 1
    after = len(seen) - 1 - position
    if length > within:
        return None
    # of all orders of the windows from the run on, those that have the run first
    p = 1 / math.comb(length + after, length)
    return Kind(
        "temporary",
        int(seen[start]),
        p,
        f"{length} window{'s' if length > 1 else ''} drifted, and {after} since then do not.",
    )


def _lasting(series: np.ndarray, seen: np.ndarray, above: np.ndarray, level: float) -> Kind:
    above = above[np.isin(above, seen[-MOST_WINDOWS:])]
    seen = seen[-MOST_WINDOWS:]
    values = series[seen]
    if len(above) == 0:
        return Kind("none", None, math.nan, f"None of the last {len(values)} windows drifts.")
    if len(values) < LEAST_WINDOWS:
        return Kind(
            "cannot say",
            int(above[0]),
            math.nan,
            f"{len(above)} of {len(values)} windows drift; the kinds are told apart from {LEAST_WINDOWS} on.",
        )
    if len(above) == len(values) and mann_kendall([values])[1] > level:
        return Kind(
            "sudden", int(seen[0]), math.nan, "All windows drift from the first one on, without a trend."
        )
    cut = change_point(values)
    p_change = pettitt(values)
    if p_change > level:
        return Kind(
            "cannot say",
            int(above[0]),
            p_change,
            f"{len(above)} of {len(values)} windows drift, at no one time (Pettitt, p = {p_change:.2g}).",
        )
    trend, p_trend = mann_kendall([values[:cut], values[cut:]])
    if trend > 0 and p_trend <= level:
        return Kind(
            "gradual",
            int(above[0]),
            p_trend,
            f"The distance grows from window to window (Mann-Kendall, p = {p_trend:.1g}).",
        )
    return Kind(
        "sudden",
        int(seen[cut]),
        p_change,
        f"The distance went from {np.median(values[:cut]):.3g} to {np.median(values[cut:]):.3g} at once "
        f"(Pettitt, p = {p_change:.1g}).",
    )


def mann_kendall(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Whether values grow or fall, over several series: the sum S of the signs of all differences, and p.

    Ties are corrected for; series are summed as Hirsch and Slack (1984) sum seasons.

    Parameters
    ----------
    parts : the series, each in order of time.
    """
    total, variance = 0.0, 0.0
    for values in parts:
        n = len(values)
        upper = np.triu_indices(n, 1)
        total += float(np.sign(values[upper[1]] - values[upper[0]]).sum())
        _, ties = np.unique(values, return_counts=True)
        variance += (n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    if variance <= 0:
        return total, 1.0
    return total, float(2 * norm.sf(max(abs(total) - 1, 0.0) / math.sqrt(variance)))


def pettitt(values: np.ndarray) -> float:
    """p of no change in the values, at a time that is not known (Pettitt, 1979), by its approximation."""
    n = len(values)
    signs = np.sign(values[:, None] - values[None, :])
    steps = np.abs([signs[:cut, cut:].sum() for cut in range(1, n)])
    highest = float(steps.max())
    return min(1.0, 2 * math.exp(-6 * highest**2 / (n**3 + n**2)))


def change_point(values: np.ndarray) -> int:
    """Where two means fit best by least squares: the first index of the second part."""
    n = len(values)
    sums = np.cumsum(values)[:-1]
    before = np.arange(1, n)
    gain = sums**2 / before + (values.sum() - sums) ** 2 / (n - before)
    return int(np.argmax(gain)) + 1
