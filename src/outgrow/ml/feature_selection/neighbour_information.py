"""Mutual information of two columns by nearest neighbours: scikit-learn's estimators, on any thread.

Kraskov, Stögbauer and Grassberger 2004, "Estimating mutual information", for two columns of numbers; Ross
2014, "Mutual information between discrete and continuous data sets", for numbers and classes. scikit-learn's
own functions change the filters of warnings of the whole process while they run, which threads may not do.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma

from outgrow.errors import DataError

NEIGHBOURS = 3
_NOISE = 1e-10
_SMALL = 1e-14
"""A deviation below it may have lost digits, or all of them, to the squares that it is made of."""


def of_numbers(x: np.ndarray, y: np.ndarray) -> float:
    """What two columns of numbers tell about each other, in nats.

    Parameters
    ----------
    x, y : shape (rows,).

    Raises
    ------
    DataError
        When there are too few rows.
    """
    if len(x) <= NEIGHBOURS:
        raise DataError(
            f"Mutual information of numbers is estimated from the {NEIGHBOURS} nearest neighbours of each "
            f"row, and there are n_samples = {len(x)} rows. Give more."
        )
    noise = np.random.RandomState(0)
    x = _noisy(x, noise)
    y = _noisy(y, noise)
    both = np.column_stack([x, y])
    distances = np.asarray(cKDTree(both).query(both, k=[NEIGHBOURS + 1], p=np.inf)[0])
    radius = np.nextafter(distances[:, 0], 0)
    around = digamma(_within(x, radius)).mean() + digamma(_within(y, radius)).mean()
    return max(0.0, float(digamma(len(x)) + digamma(NEIGHBOURS) - around))


def of_numbers_and_classes(x: np.ndarray, classes: np.ndarray) -> float:
    """What a column of numbers and one of classes tell about each other, in nats.

    Parameters
    ----------
    x, classes : shape (rows,).
    """
    x = _noisy(x, np.random.RandomState(0))
    radius, neighbours, counts = np.zeros(len(x)), np.zeros(len(x)), np.zeros(len(x))
    for label in np.unique(classes):
        own = classes == label
        size = int(np.count_nonzero(own))
        counts[own] = size
        if size > 1:
            neighbours[own] = near = min(NEIGHBOURS, size - 1)
            radius[own] = np.nextafter(_distance(x[own], near), 0)
    there = counts > 1
    if not there.any():
        return 0.0
    x, total = x[there], np.count_nonzero(there)
    found = digamma(total) + digamma(neighbours[there]).mean() - digamma(counts[there]).mean()
    return max(0.0, float(found - digamma(_within(x, radius[there])).mean()))


def of_classes(first: np.ndarray, second: np.ndarray) -> float:
    """What two columns of classes tell about each other, in nats.

    Parameters
    ----------
    first, second : shape (rows,).
    """
    pairs, counts = np.unique(np.column_stack([first, second]), axis=0, return_counts=True)
    one, two = (_totals(pairs[:, j], counts) for j in range(2))
    logs = np.log(counts) + np.log(counts.sum()) - np.log(one) - np.log(two)
    return max(0.0, float(counts @ logs / counts.sum()))


def _totals(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """For each pair, how often its label is there in any pair."""
    _, codes = np.unique(labels, return_inverse=True)
    return np.bincount(codes.ravel(), counts)[codes.ravel()]


def _noisy(x: np.ndarray, noise: np.random.RandomState) -> np.ndarray:
    """Numbers of deviation 1, of which no two are the same."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(x.std())
    if not _SMALL < deviation < np.inf:
        x = x / (np.abs(x).max() or 1.0)
        deviation = float(x.std()) or 1.0
    scaled = x / deviation
    return np.asarray(
        scaled + _NOISE * max(1.0, float(np.abs(scaled).mean())) * noise.standard_normal(len(x))
    )


def _distance(x: np.ndarray, near: int) -> np.ndarray:
    """How far the so many nearest others of each number are: the narrowest of the spans that hold them."""
    order = np.argsort(x)
    ranked, n = x[order], len(x)
    least = np.full(n, np.inf)
    for below in range(near + 1):
        own = np.arange(below, n - near + below)
        span = np.maximum(ranked[own] - ranked[own - below], ranked[own - below + near] - ranked[own])
        least[own] = np.minimum(least[own], span)
    found = np.empty(n)
    found[order] = least
    return found


def _within(x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How many numbers are no further from each than its radius, itself among them."""
    ranked = np.sort(x)
    ends = np.searchsorted(ranked, x + radius, side="right")
    starts = np.searchsorted(ranked, x - radius, side="left")
    last = len(ranked) - 1
    for _ in range(2):  # for sums are rounded, and differences of near numbers are not
        ends -= (ends > 0) & (ranked[np.maximum(ends - 1, 0)] - x > radius)
        ends += (ends <= last) & (ranked[np.minimum(ends, last)] - x <= radius)
        starts += (starts <= last) & (x - ranked[np.minimum(starts, last)] > radius)
        starts -= (starts > 0) & (x - ranked[np.maximum(starts - 1, 0)] <= radius)
    return np.asarray(ends - starts)
