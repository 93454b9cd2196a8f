"""How far two distributions are apart, from the counts of their cells: all distances at once.

Each distance has an interval by the delta method, and those with a known distribution under no change a
p-value: Kolmogorov and Smirnov's, and chi-square's, of which the population stability index and the
divergences are second-order equals: PSI ~ (1/n + 1/m) chi2(B - 1), so PSI of few rows is large without any
change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats

from outgrow.stats.grids import equal_parts, heaviest, summed

NUMBER_BINS, TEXT_BINS = 20, 50
"""Bins at most of numbers and of categories, for the distances that need bins."""
LEAST_EXPECTED = 5
"""Values that a bin holds in the mean at least."""
CONFIDENCE = 0.95
_Z = 1.959963984540054
_EXACT = 100
"""Up to this effective number of rows the distribution of D is exact, above it the limit's, corrected."""
_LOG2 = math.log(2)


@dataclass(frozen=True)
class Distance:
    """A distance with its interval.

    Attributes
    ----------
    value : of the two samples.
    low, high : the interval of 95 % for that of the populations.
    p : the chance of as much without any change; None where only the tests beside it have one.
    """

    value: float
    low: float
    high: float
    p: float | None = None


@dataclass(frozen=True)
class Distances:
    """All distances of a window from a reference.

    Attributes
    ----------
    measures : by name: 'ks' and 'wasserstein' of ordered values; 'psi', 'kl', 'js', 'l1', 'tv', 'linf' and
        'chi2' of all.
    p : the chance of as much without any change, by chi-square and, of ordered values, KS, with Bonferroni's
        correction for the two.
    divergence : Jensen and Shannon's in bits, which adds up over columns.
    n, m : values of the reference and of the window.
    bins : of the distances that need them.
    """

    measures: dict[str, Distance]
    p: float
    divergence: float
    n: int
    m: int
    bins: int


def distances(reference: np.ndarray, window: np.ndarray, positions: np.ndarray | None) -> Distances | None:
    """All distances of two vectors of counts.

    Parameters
    ----------
    reference, window : int64 of as many cells; of ordered values in their order, of categories the last cell
        is for what the reference has not.
    positions : where the values of each cell lie; None of categories.

    Returns
    -------
    None where one of them holds no value.
    """
    n, m = int(reference.sum()), int(window.sum())
    if not n or not m:
        return None
    parts = _parts(reference, window, ordered=positions is not None)
    a, b = summed(reference, parts), summed(window, parts)
    there = (a + b) > 0
    a, b = a[there], b[there]
    measures = _binned(a, b)
    divergence = measures.pop("divergence").value
    p = measures["chi2"].p
    assert p is not None
    if positions is not None:
        measures = {**_ordered(reference, window, positions), **measures}
        ks = measures["ks"].p
        assert ks is not None
        p = min(1.0, 2 * min(p, ks))
    return Distances(measures, p, divergence, n, m, len(a))


def _parts(reference: np.ndarray, window: np.ndarray, *, ordered: bool) -> np.ndarray:
    """To which bin each cell belongs: so few that each can be expected to hold some values of both."""
    fewest = int(min(reference.sum(), window.sum()))
    if ordered:
        return equal_parts(reference, max(2, min(NUMBER_BINS, fewest // LEAST_EXPECTED)))
    both = reference / reference.sum() + window / window.sum()
    share = both * fewest / 2
    keep = heaviest(both, TEXT_BINS - 1)
    keep = keep[share[keep] >= LEAST_EXPECTED]
    parts = np.full(len(reference), len(keep), dtype=np.intp)
    parts[keep] = np.arange(len(keep))
    return parts


def _ordered(reference: np.ndarray, window: np.ndarray, positions: np.ndarray) -> dict[str, Distance]:
    n, m = int(reference.sum()), int(window.sum())
    before, now = reference.cumsum(), window.cumsum()
    # whole numbers, so that equal functions are equal to the bit
    apart = before * m - now * n if n * m < 2**62 else before * float(m) - now * float(n)
    peak = int(np.abs(apart).argmax())
    scale = float(n) * float(m)
    d = abs(float(apart[peak])) / scale
    p, q = float(before[peak]) / n, float(now[peak]) / m
    half = _Z * math.sqrt(p * (1 - p) / n + q * (1 - q) / m)
    ks = Distance(d, max(0.0, d - half), min(1.0, d + half), kolmogorov(d, n * m / (n + m)))
    return {"ks": ks, "wasserstein": _moved(reference / n, window / m, apart[:-1] / scale, positions, n, m)}


def _moved(
    p: np.ndarray, q: np.ndarray, difference: np.ndarray, positions: np.ndarray, n: int, m: int
) -> Distance:
    """The distance of Wasserstein in standard deviations of the reference."""
    used = np.flatnonzero(p + q)
    p, q, at = p[used], q[used], positions[used]
    at = at / max(float(np.abs(at).max(initial=0.0)), 1e-300)  # squares of very large numbers have no float
    mean = float(p @ at)
    deviation = math.sqrt(float(p @ (at - mean) ** 2))
    steps = np.diff(at) * difference[used[:-1]]
    moved = float(np.abs(steps).sum())
    if not deviation > 0 or not math.isfinite(moved):
        far = 0.0 if moved == 0 else math.inf
        return Distance(far, far, far)
    signs = np.sign(difference[used[:-1]]) * np.diff(at) / deviation
    slope = np.append(signs[::-1].cumsum()[::-1], 0.0)
    return _interval(moved / deviation, slope, slope, p, q, n, m, None)


def _binned(a: np.ndarray, b: np.ndarray) -> dict[str, Distance]:
    n, m = int(a.sum()), int(b.sum())
    share_a, share_b = a / n, b / m
    # half a value where there is none: logarithms are finite then, and PSI stays of its distribution
    p, q = np.maximum(share_a, 0.5 / n), np.maximum(share_b, 0.5 / m)
    free, scale = len(a) - 1, 1 / n + 1 / m
    ratio = np.log(p / q)
    psi = float((p - q) @ ratio)
    kl = max(0.0, -float(share_b @ ratio))
    middle = (share_a + share_b) / 2
    left, right = _log_ratio(share_a, middle), _log_ratio(share_b, middle)
    js = max(0.0, float(share_a @ left) + float(share_b @ right)) / 2
    gap = share_a - share_b
    sizes, signs = np.abs(gap), np.sign(gap)
    chi2 = float((gap**2 / ((a + b) / (n + m))).sum()) / scale

    def chance(statistic: float) -> float:
        return float(scipy.special.chdtrc(free, statistic)) if free else 1.0

    def apart(value: float, up: np.ndarray, down: np.ndarray, p_value: float | None = None) -> Distance:
        return _interval(value, up, down, share_a, share_b, n, m, p_value)

    root = math.sqrt(js / _LOG2)
    slope = 4 * root * _LOG2 if root else math.inf
    peak = int(sizes.argmax())
    one = np.zeros(len(gap))
    one[peak] = 1.0
    l1 = apart(float(sizes.sum()), signs, signs)
    return {
        "psi": apart(psi, ratio + 1 - q / p, -ratio + 1 - p / q, chance(max(0.0, psi) / scale)),
        "kl": apart(kl, -q / p, 1 - ratio, chance(2 * kl / scale)),
        "js": apart(root, left / slope, right / slope, chance(8 * js / scale)),
        "l1": l1,
        "tv": Distance(l1.value / 2, l1.low / 2, l1.high / 2),
        "linf": apart(float(sizes[peak]), one, one),
        "chi2": Distance(chi2, chi2, chi2, chance(chi2)),
        "divergence": Distance(js / _LOG2, 0.0, 0.0),
    }


def _log_ratio(shares: np.ndarray, middle: np.ndarray) -> np.ndarray:
    return np.log(np.where(shares > 0, shares, middle) / middle)


def _interval(
    value: float,
    up: np.ndarray,
    down: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    n: int,
    m: int,
    p_value: float | None,
) -> Distance:
    """The interval by the delta method: `up` and `down` are the slopes with respect to `p` and `q`."""
    variance = _variance(up, p) / n + _variance(down, q) / m
    half = _Z * math.sqrt(max(0.0, variance))
    return Distance(value, max(0.0, value - half), value + half, p_value)


def _variance(slope: np.ndarray, shares: np.ndarray) -> float:
    weighted = shares * slope
    return float(weighted @ slope) - float(weighted.sum()) ** 2


def kolmogorov(d: float, effective: float) -> float:
    """The chance that D of two samples is at least as large without any change.

    Parameters
    ----------
    d : the largest distance of the distribution functions.
    effective : n m / (n + m).
    """
    if d <= 0:
        return 1.0
    if effective > _EXACT:  # the limit's with Vrbik's correction (2018), good to five digits
        x = math.sqrt(effective) * d
        return float(scipy.special.kolmogorov(x + 1 / (6 * math.sqrt(effective)) + (x - 1) / (4 * effective)))
    return float(scipy.stats.kstwo.sf(min(1.0, d), max(1, round(effective))))


def rate_difference(k: int, n: int, j: int, m: int) -> Distance:
    """How much more often something is the case in a window than in a reference.

    The interval is Newcombe's (1998, method 10); the p-value is Fisher's exact one for few cases, else
    chi-square's.

    Parameters
    ----------
    k, n : cases of the reference, and of how many.
    j, m : cases of the window, and of how many.

    Examples
    --------
    >>> missing = rate_difference(10, 1_000, 30, 1_000)
    >>> round(missing.value, 3), round(missing.low, 3), round(missing.high, 3), round(missing.p, 4)
    (0.02, 0.008, 0.033, 0.0014)
    """
    if not n or not m:
        return Distance(0.0, 0.0, 0.0, None)
    p, q = k / n, j / m
    (low_p, high_p), (low_q, high_q) = _wilson(p, n), _wilson(q, m)
    value = q - p
    low = value - float(math.sqrt((q - low_q) ** 2 + (high_p - p) ** 2))
    high = value + float(math.sqrt((high_q - q) ** 2 + (p - low_p) ** 2))
    pooled = (k + j) / (n + m)
    if min(pooled, 1 - pooled) * min(n, m) < LEAST_EXPECTED:
        chance = 1.0 if k * m == j * n else _fisher(k, n, j, m)
    else:
        chance = float(scipy.special.chdtrc(1, value**2 / (pooled * (1 - pooled) * (1 / n + 1 / m))))
    return Distance(value, max(-1.0, low), min(1.0, high), chance)


def _fisher(k: int, n: int, j: int, m: int) -> float:
    return float(scipy.stats.fisher_exact(np.array([[k, n - k], [j, m - j]])).pvalue)


def _wilson(share: float, n: int) -> tuple[float, float]:
    z2 = _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * float(math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)))
    return middle - half, middle + half
