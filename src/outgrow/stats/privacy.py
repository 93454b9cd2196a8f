"""How private numbers are to which normal noise was added."""

from __future__ import annotations

import math
import os

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

_BITS = 53


def secret_normals(size: int) -> np.ndarray:
    """Normal numbers that nobody can foretell: of the operating system's own bytes (Box and Muller 1958).

    Parameters
    ----------
    size : how many.
    """
    half = (size + 1) // 2
    whole = np.frombuffer(os.urandom(16 * half), dtype=np.uint64).reshape(2, half) >> np.uint64(64 - _BITS)
    uniform = (whole.astype(np.float64) + 1.0) * 2.0**-_BITS  # above 0, at most 1
    radius, angle = np.sqrt(-2.0 * np.log(uniform[0])), 2.0 * np.pi * uniform[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]


def gaussian_delta(epsilon: float, shift: float) -> float:
    """The least delta by which normal noise is (epsilon, delta)-private (Balle and Wang 2018, theorem 8).

    Parameters
    ----------
    epsilon : from 0.
    shift : by how many standard deviations of the noise one participant moves what is told.
    """
    low = log_ndtr(shift / 2 - epsilon / shift)
    high = epsilon + log_ndtr(-shift / 2 - epsilon / shift)
    return float(-math.exp(low) * math.expm1(min(high - low, 0.0)))


def gaussian_epsilon(noise: float, rounds: int, delta: float) -> float:
    """The least epsilon of several rounds of normal noise together.

    Rounds whose noise is independent, and which one participant each moves by one norm at most, are exactly
    as private as a single one that it moves by the square root of their number (Dong, Roth, Su 2022); so
    this is no bound, but what it is.

    Parameters
    ----------
    noise : standard deviations of the noise of a round, in norms by which one participant moves its sum.
    rounds : in how many it takes part.
    delta : above 0 and below 1.

    Examples
    --------
    >>> from outgrow.stats.privacy import gaussian_epsilon
    >>> round(gaussian_epsilon(noise=1.0, rounds=1, delta=1e-5), 3)
    4.377
    """
    if not rounds:
        return 0.0
    shift = math.sqrt(rounds) / noise
    if gaussian_delta(0.0, shift) <= delta:
        return 0.0
    most = shift * shift / 2 + shift * math.sqrt(2 * math.log(1 / delta))  # of Renyi's divergence
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, shift) - delta, 0.0, most, xtol=1e-9))


def shortened(change: np.ndarray, most: float) -> np.ndarray:
    """A change of at most a norm; none where it has numbers that are none.

    Parameters
    ----------
    change : of shape (size,).
    most : the largest norm.

    Returns
    -------
    Of shape (size,), float64.
    """
    change = change.astype(np.float64)
    norm = float(np.linalg.norm(change))
    if not math.isfinite(norm):
        return np.zeros_like(change)
    return change * min(1.0, most / norm) if norm else change
