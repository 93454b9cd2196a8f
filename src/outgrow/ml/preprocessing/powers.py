"""Box-Cox's and Yeo-Johnson's powers, and the exponents that make columns look most like normal ones.

Both are functions of logarithms u of the numbers: y = expm1(lambda * u) / lambda, and for negative numbers in
Yeo-Johnson's case the same mirrored, with 2 - lambda. The likelihood of lambda is concave (Kouider and Chen
1995; Marchand et al. 2022), so its maximum is the one root of its derivative. A histogram of the logarithms
gives it to about six digits, and one more pass, with the moments of y and of its derivatives, the rest.
Logarithms are counted from their mean where all have one sign: then nothing overflows, and nothing cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np

BINS_OF_ALL = 1 << 22
_MOST_BINS, _FEWEST_BINS = 2048, 64
_NEAR = 3e-5
"""Steps of lambda, times the largest logarithm, after which the next ones are about the square of them."""
_FARTHEST = 300.0
"""Lambda times the largest logarithm at most: its exponential, squared and summed, is a number."""
_SERIES = 0.3
"""Lambda times the largest logarithm below which derivatives are summed as series: they would cancel."""
_TERMS = 14
_INNER_STEPS = 80
_FLOAT = np.finfo(np.float64)


def logarithms(X: np.ndarray, method: str) -> np.ndarray:
    """The logarithms that powers are functions of; NaN stays NaN.

    Parameters
    ----------
    X : numbers, positive ones for Box-Cox.
    method : 'yeo-johnson' or 'box-cox'.
    """
    return np.log(X) if method == "box-cox" else np.copysign(np.log1p(np.abs(X)), X)


def numbers_of(u: np.ndarray, method: str) -> np.ndarray:
    """The numbers whose logarithms these are.

    Parameters
    ----------
    u : what `logarithms` gives.
    method : 'yeo-johnson' or 'box-cox'.
    """
    return np.exp(u) if method == "box-cox" else np.copysign(np.expm1(np.abs(u)), u)


def power(u: np.ndarray, exponent: float, center: float, method: str) -> np.ndarray:
    """y(u) - y(center), divided by the derivative of y at the center; with 0 as center, y itself.

    Parameters
    ----------
    u : logarithms.
    exponent : lambda.
    center : a logarithm.
    method : 'yeo-johnson' or 'box-cox'.
    """
    if method == "box-cox":
        return _rise(exponent, u - center)
    if center < 0:
        return -power(-u, 2 - exponent, -center, method)
    below = u < 0
    if not below.any():
        return _rise(exponent, u - center)
    y = np.empty(len(u))
    y[~below] = _rise(exponent, u[~below] - center)
    ahead = _rise(exponent, np.float64(center))
    y[below] = (-_rise(2 - exponent, -u[below]) - ahead) / slope_at(center, exponent, method)
    return y


def unpowered(y: np.ndarray, exponent: float, center: float, method: str) -> np.ndarray:
    """The logarithms of which `power` makes these numbers; NaN where there are none.

    Parameters
    ----------
    y : what `power` gives.
    exponent, center, method : as it was given them.
    """
    if method == "box-cox":
        return center + _fall(exponent, y)
    if center < 0:
        return -unpowered(-y, 2 - exponent, -center, method)
    below = y < _rise(exponent, np.float64(-center))
    u = np.maximum(center + _fall(exponent, y), 0.0)  # rounding may lead far beyond where powers hardly rise
    if below.any():
        whole = y[below] * slope_at(center, exponent, method) + _rise(exponent, np.float64(center))
        u[below] = -_fall(2 - exponent, -whole)
    return u


def slope_at(center: float, exponent: float, method: str) -> float:
    """The derivative of y by u at a logarithm.

    Parameters
    ----------
    center : the logarithm.
    exponent : lambda.
    method : 'yeo-johnson' or 'box-cox'.
    """
    mirrored = method != "box-cox" and center < 0
    return float(np.exp((2 - exponent) * -center if mirrored else exponent * center))


def _rise(exponent: float, a: Any) -> Any:
    """expm1(exponent * a) / exponent, which is a for no exponent."""
    return a if abs(exponent) < _FLOAT.eps else np.expm1(exponent * a) / exponent


def _fall(exponent: float, y: Any) -> Any:
    """The inverse of `_rise`."""
    return y + 0.0 if abs(exponent) < _FLOAT.eps else np.log1p(exponent * y) / exponent


def _derivatives(exponent: float, a: np.ndarray) -> np.ndarray:
    """`_rise` and its first two derivatives by the exponent, of shape (3, len(a))."""
    made = np.empty((3, len(a)))
    z = exponent * a
    if np.abs(z).max(initial=0.0) < _SERIES:
        for order in range(3):
            terms = [1 / (factorial(k) * (k + order + 1)) for k in range(_TERMS)]
            made[order] = a ** (order + 1) * np.polynomial.polynomial.polyval(z, terms)
        return made
    grown = np.expm1(z)
    made[0] = grown / exponent
    grown += 1.0
    grown *= a
    made[1] = (grown - made[0]) / exponent
    grown *= a
    made[2] = (grown - 2 * made[1]) / exponent
    return made


@dataclass(frozen=True)
class Outline:
    """What is known of the logarithms of a column before lambda is looked for.

    Attributes
    ----------
    n : how many there are.
    low, high, mean : of them.
    center : from where they are counted: their mean where all have one sign, else 0.
    mirrored : whether all are negative, so that -u and 2 - lambda stand for u and lambda.
    mixed : whether they have both signs, and the sign counts.
    least, most : between which the exponent lies.
    limited : whether numbers would overflow beyond these.
    """

    n: float
    low: float
    high: float
    mean: float
    center: float
    mirrored: bool
    mixed: bool
    least: float
    most: float
    limited: bool

    @classmethod
    def of(cls, known: Sequence[float], method: str) -> Outline:
        """The outline of a column that is not constant.

        Parameters
        ----------
        known : how many logarithms there are, and the least, the largest and the mean of them.
        method : 'yeo-johnson' or 'box-cox'.
        """
        n, low, high, mean = known
        mixed = method != "box-cox" and low < 0 <= high
        mirrored = method != "box-cox" and high < 0
        center = 0.0 if mixed else mean
        least, most = _limits(low, high) if method == "box-cox" else _limits_of_both_signs(low, high)
        if mirrored:
            least, most = 2 - most, 2 - least
        far = _FARTHEST / max(high - center, center - low)
        limited = least > -far or most < far
        return cls(n, low, high, mean, center, mirrored, mixed, max(least, -far), min(most, far), limited)

    @property
    def reach(self) -> float:
        """The largest number that is multiplied with the exponent."""
        return max(self.high - self.center, self.center - self.low)

    def derivatives(self, exponent: float, u: np.ndarray) -> np.ndarray:
        """The powers and their first two derivatives, of shape (3, len(u)).

        Parameters
        ----------
        exponent : lambda, or 2 - lambda where the column is mirrored.
        u : logarithms.
        """
        if not self.mixed:
            return _derivatives(exponent, self.center - u if self.mirrored else u - self.center)
        below = u < 0
        made = np.empty((3, len(u)))
        made[:, ~below] = _derivatives(exponent, u[~below])
        made[:, below] = _derivatives(2 - exponent, -u[below]) * np.array([[-1.0], [1.0], [-1.0]])
        return made

    def as_lambda(self, exponent: float) -> float:
        """The lambda of an exponent."""
        return 2 - exponent if self.mirrored else exponent


@dataclass
class Search:
    """The search for the exponent of a column: where it stands, and between which others the best one lies.

    Attributes
    ----------
    of : what is known of the column.
    exponent : where it stands.
    center : ndarray of shape (3,), about what the means of the power and of its derivatives are there; only
        where it moved far they are not known.
    done : whether the best one is found.
    mean, variance : of the power, once it is.
    """

    of: Outline
    exponent: float
    center: np.ndarray
    low: float
    high: float
    done: bool = False
    mean: float = 0.0
    variance: float = 0.0

    @classmethod
    def start(cls, outline: Outline, counts: np.ndarray, sums: np.ndarray) -> Search:
        """Where a histogram has its best exponent.

        Parameters
        ----------
        outline : of the column.
        counts, sums : of the logarithms in each bin.
        """
        there = counts > 0
        n, u = counts[there], sums[there] / counts[there]
        first = min(max(1.0 if outline.mixed else 0.0, outline.least), outline.most)
        search = cls(outline, first, np.zeros(3), outline.least, outline.most)
        for _ in range(_INNER_STEPS):
            made = outline.derivatives(search.exponent, u)
            search.center = made @ n / n.sum()
            made -= search.center[:, None]
            search.advance(np.column_stack([made * n @ made.T, made @ n]), n.sum())
            if search.done:
                break
        return cls(outline, search.exponent, search.center, outline.least, outline.most)

    def products(self, u: np.ndarray) -> np.ndarray:
        """What is summed over rows: products of the power and its derivatives about the center, and these.

        Parameters
        ----------
        u : logarithms.

        Returns
        -------
        ndarray of shape (3, 4).
        """
        made = self.of.derivatives(self.exponent, u)
        made -= self.center[:, None]
        return np.column_stack([made @ made.T, made.sum(axis=1)])

    def advance(self, products: np.ndarray, n: float) -> None:
        """Take one of Newton's steps, or half of what is left where that would lead astray.

        Parameters
        ----------
        products : summed over all rows, as `products` gives them.
        n : how many rows there are.
        """
        means = products[:, 3] / n
        spread = products[:, :3] / n - np.outer(means, means)
        if not spread[0, 0] > 0:
            self.done, self.mean, self.variance = True, self.center[0] + means[0], 0.0
            return
        ratio = spread[0, 1] / spread[0, 0]
        slope = ratio - (self.of.mean if self.of.mixed else 0.0)
        bend = (spread[1, 1] + spread[0, 2]) / spread[0, 0] - 2 * ratio**2
        if slope > 0:
            self.high = self.exponent
        else:
            self.low = self.exponent
        step = -slope / bend if bend > 0 else np.copysign(np.inf, -slope)
        self._move(self._allowed(step), self.center + means, spread)

    def _allowed(self, step: float) -> float:
        """A step within what is known: to a limit where it was not tried, else half of what is left."""
        ahead = self.exponent + step
        if ahead >= self.of.most and self.high == self.of.most:
            return self.of.most - self.exponent
        if ahead <= self.of.least and self.low == self.of.least:
            return self.of.least - self.exponent
        if abs(step) * self.of.reach < _NEAR or self.low < ahead < self.high:
            return step
        return (self.low + self.high) / 2 - self.exponent

    @np.errstate(over="ignore", invalid="ignore")  # columns whose squares are next to nothing take huge steps
    def _move(self, step: float, means: np.ndarray, spread: np.ndarray) -> None:
        """Move by a step, and say what the moments are there, by their series."""
        by_order = step ** np.arange(3) / np.array([1.0, 1.0, 2.0])
        self.done = abs(step) * self.of.reach < _NEAR
        self.exponent += step
        self.mean, self.variance = float(means @ by_order), float(by_order @ spread @ by_order)
        series = np.array([self.mean, means[1] + step * means[2], means[2]])
        self.center = series if abs(step) * self.of.reach < _SERIES else np.zeros(3)


def bin_count(columns: int) -> int:
    """How many bins a histogram of one of so many columns has."""
    return int(np.clip(BINS_OF_ALL // max(columns, 1), _FEWEST_BINS, _MOST_BINS))


def histogram(u: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """Counts and sums of logarithms in equal bins, of shape (2, bins).

    Parameters
    ----------
    u : logarithms.
    low, high : between which all of them lie.
    bins : how many there are.
    """
    places = ((u - low) * (bins / (high - low))).astype(np.intp)
    np.minimum(places, bins - 1, out=places)
    return np.stack([np.bincount(places, minlength=bins), np.bincount(places, u, minlength=bins)])


def _limits(low: float, high: float) -> tuple[float, float]:
    """Between which exponents Box-Cox's powers do not overflow, given the ends of the logarithms."""
    return (-_overflow(-low) if low < 0 else -np.inf), (_overflow(high) if high > 0 else np.inf)


def _overflow(u: float) -> float:
    """The exponent with which exp(exponent * u) / exponent nearly overflows."""
    most = np.log(_FLOAT.max / 10_000)
    exponent = most / u
    for _ in range(20):
        exponent = (most + np.log(exponent)) / u
    return float(exponent)


def _limits_of_both_signs(low: float, high: float) -> tuple[float, float]:
    """SciPy's limits of Yeo-Johnson's lambda: up to 20 times the largest number, nothing overflows.

    Parameters
    ----------
    low, high : the ends of the logarithms.
    """
    far = max(-low, high)
    largest = np.logaddexp(0.0, np.log(20) + far + np.log(-np.expm1(-far)))
    least = (np.log(_FLOAT.tiny) - np.log(_FLOAT.eps)) / 2 / largest
    most = (np.log(_FLOAT.max) + np.log(_FLOAT.eps)) / 2 / largest
    if high < 0:
        return 2 - most, 2 - least
    return (max(2 - most, least), min(2 - least, most)) if low < 0 else (least, most)
