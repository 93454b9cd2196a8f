"""Rows that models are measured on."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

ROWS, WIDTH = 500_000, 30


class Sample(NamedTuple):
    """Rows to learn from."""

    X: np.ndarray
    y: np.ndarray


@lru_cache(1)
def features(rows: int = ROWS, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Numbers, what a linear model makes of them, and a generator for what depends on it."""
    random = np.random.default_rng([rows, width])
    X = random.standard_normal((rows, width))
    return X, 0.3 * X @ (random.standard_normal(width) / np.sqrt(width) * 2), random


def counts() -> Sample:
    X, score, random = features()
    return Sample(X, random.poisson(np.exp(score)).astype(np.float64))


def positives() -> Sample:
    X, score, random = features()
    return Sample(X, np.exp(score) * random.gamma(2.0, 0.5, len(X)))


def claims() -> Sample:
    """Sums of a Poisson number of gamma ones, many of them zero."""
    X, score, random = features()
    number = random.poisson(np.exp(score) / 2)
    return Sample(X, np.where(number > 0, random.gamma(np.maximum(number, 1) * 2.0, 1.0), 0.0))


def heavy_tails() -> Sample:
    X, score, random = features()
    return Sample(X, score + random.standard_t(2, len(X)))


def lifetimes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, times, and whether each is an end, not just the last that was seen."""
    X, score, random = features(100_000, 10)
    ends, seen = np.exp(score) * random.weibull(1.5, len(X)), random.exponential(2.0, len(X))
    return X, np.maximum(np.minimum(ends, seen), 1e-3), (ends <= seen).astype(np.float64)


def classes(count: int = 2, rows: int = ROWS, width: int = WIDTH) -> Sample:
    X, score, random = features(rows, width)
    noisy = score + 0.5 * random.logistic(size=rows)
    edges = np.quantile(noisy, np.arange(1, count) / count)
    return Sample(X, np.digitize(noisy, edges))
