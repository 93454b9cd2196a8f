"""Exponential dispersion models: what a generalized linear model takes the distribution of y to be.

A family is its variance function and its deviance (Jørgensen 1987; McCullagh and Nelder 1989).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from outgrow.ml.solvers.links import Link, Power


class Family(Protocol):
    """A distribution of y with a given mean, as far as a model of the mean needs it.

    What is not promised: that methods are asked only for y and means that can be; `takes` and `has` tell.
    """

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def link(self) -> str:
        """The name of the link that is used if nothing is said."""

    @property
    def y_must_be(self) -> str:
        """Which y it takes, in words behind 'must be'."""

    @property
    def free(self) -> bool:
        """Whether the dispersion is estimated; it is 1 otherwise."""

    def takes(self, y: np.ndarray) -> np.ndarray:
        """Which y there can be, as booleans."""

    def has(self, mean: np.ndarray) -> np.ndarray:
        """Which means there can be, as booleans."""

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """The variance at means, without the dispersion."""

    def half_deviance(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Half the deviance of y from means: at least 0, and 0 where they are equal.

        Parameters
        ----------
        y, mean : ndarrays that go together.
        """

    def curvature(self, y: np.ndarray, mean: np.ndarray, link: Link) -> np.ndarray | None:
        """The second derivative of half the deviance by the linear predictor where it is never negative.

        Parameters
        ----------
        y, mean : ndarrays that go together.
        link : how the mean follows from the linear predictor.

        Returns
        -------
        None where the expected one has to do.
        """

    def rounding(self, y: np.ndarray) -> np.ndarray:
        """How large the numbers are that cancel in the deviance."""

    def terms(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """What each row adds to the sum that `doubled` takes.

        Parameters
        ----------
        y, mean : ndarrays that go together.
        """

    def doubled(self, weight: float, deviance: float, terms: float) -> float:
        """Minus twice the log likelihood, plus 2 where the dispersion is estimated, as R counts it in AIC.

        Parameters
        ----------
        weight : of all rows.
        deviance : summed.
        terms : summed.
        """


@dataclass(frozen=True)
class Tweedie:
    """The variance is the mean to a power: 0 is the normal, 1 Poisson, 2 gamma, 3 the inverse Gaussian."""

    power: float
    name: str = "tweedie"
    link: str = "log"
    free: bool = True

    @property
    def y_must_be(self) -> str:
        """See `Family`."""
        if self.power <= 0:
            return "a number"
        return "at least 0" if self.power < 2 else "greater than 0"

    def takes(self, y: np.ndarray) -> np.ndarray:
        """See `Family.takes`."""
        if self.power <= 0:
            return np.ones(y.shape, bool)
        return y >= 0 if self.power < 2 else y > 0

    def has(self, mean: np.ndarray) -> np.ndarray:
        """See `Family.has`."""
        finite = np.abs(mean) < np.inf
        return finite if self.power == 0 else finite & (mean > 0)

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """See `Family.variance`."""
        return mean**self.power

    def half_deviance(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Family.half_deviance`.

        Parameters
        ----------
        y, mean : as there.
        """
        p = self.power
        if p == 0:
            return 0.5 * (y - mean) ** 2
        if p == 1:
            return np.asarray(xlogy(y, y / mean)) - (y - mean)
        if p == 2:
            return y / mean - 1.0 - np.log(y / mean)
        if p == 3:
            return 0.5 * (y - mean) ** 2 / (y * mean**2)
        own = np.maximum(y, 0.0) ** (2 - p) / ((1 - p) * (2 - p))
        return own - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)

    def curvature(self, y: np.ndarray, mean: np.ndarray, link: Link) -> np.ndarray | None:
        """See `Family.curvature`.

        Parameters
        ----------
        y, mean, link : as there.
        """
        if link.name != "log" or not 1 <= self.power <= 2:
            return None
        if self.power == 1:
            return mean
        if self.power == 2:
            return y / mean
        scale = mean ** (1 - self.power)
        return ((2 - self.power) * mean + (self.power - 1) * y) * scale

    def at_log(self, score: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half the deviance and its derivatives by the logarithm of the mean, with few powers.

        Parameters
        ----------
        score : the logarithms of means.
        y : what they are means of.
        """
        p = self.power
        scale, mean = np.exp((1 - p) * score), np.exp(score)
        own = np.maximum(y, 0.0) ** (2 - p) / ((1 - p) * (2 - p))
        losses = own + (mean / (2 - p) - y / (1 - p)) * scale
        second = (2 - p) * mean + (p - 1) * y if 1 <= p <= 2 else mean
        return losses, (mean - y) * scale, second * scale

    def rounding(self, y: np.ndarray) -> np.ndarray:
        """See `Family.rounding`."""
        if self.power == 0:
            return 1e-14 * y**2
        return np.abs(y) ** (2 - self.power) if self.power < 2 else np.ones_like(y)

    def terms(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Family.terms`.

        Parameters
        ----------
        y, mean : as there.
        """
        if self.power == 1:
            return np.asarray(xlogy(y, mean) - mean - gammaln(y + 1))
        return np.log(y) if self.power >= 2 else np.zeros_like(y)

    def doubled(self, weight: float, deviance: float, terms: float) -> float:
        """See `Family.doubled`.

        Parameters
        ----------
        weight, deviance, terms : as there.
        """
        if self.power == 1:
            return -2 * terms if self.name == "poisson" else float("nan")
        dispersion = deviance / weight
        with np.errstate(all="ignore"):
            if self.power == 0:
                return float(weight * (np.log(2 * np.pi * dispersion) + 1) + 2)
            if self.power == 3:
                return float(weight * (np.log(2 * np.pi * dispersion) + 1) + 3 * terms + 2)
            if self.power == 2:
                shape = 1 / np.float64(dispersion)
                each = shape * np.log(shape) - shape - gammaln(shape)
                return float(-2 * (weight * each - shape * deviance / 2 - terms) + 2)
        return float("nan")


@dataclass(frozen=True)
class Binomial:
    """Shares between 0 and 1, of one trial a row, or of as many as it weighs."""

    name: str = "binomial"
    link: str = "logit"
    y_must_be: str = "between 0 and 1"
    free: bool = False

    def takes(self, y: np.ndarray) -> np.ndarray:
        """See `Family.takes`."""
        return (y >= 0) & (y <= 1)

    def has(self, mean: np.ndarray) -> np.ndarray:
        """See `Family.has`."""
        return (mean >= 0) & (mean <= 1)

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """See `Family.variance`."""
        rest = np.maximum(1 - mean, np.finfo(np.float64).epsneg)  # a mean that rounds to 1 leaves something
        return np.maximum(mean * rest, np.finfo(np.float64).tiny)

    def half_deviance(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Family.half_deviance`.

        Parameters
        ----------
        y, mean : as there.
        """
        own = xlogy(y, y) + xlog1py(1 - y, -y)
        return np.asarray(own - xlogy(y, mean) - xlog1py(1 - y, -mean))

    def curvature(self, y: np.ndarray, mean: np.ndarray, link: Link) -> np.ndarray | None:
        """See `Family.curvature`.

        Parameters
        ----------
        y, mean, link : as there.
        """
        return None

    def rounding(self, y: np.ndarray) -> np.ndarray:
        """See `Family.rounding`."""
        return np.ones_like(y)

    def terms(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Family.terms`.

        Parameters
        ----------
        y, mean : as there.
        """
        return np.asarray(xlogy(y, mean) + xlog1py(1 - y, -mean))

    def doubled(self, weight: float, deviance: float, terms: float) -> float:
        """See `Family.doubled`.

        Parameters
        ----------
        weight, deviance, terms : as there.
        """
        return -2 * terms


@dataclass(frozen=True)
class NegativeBinomial:
    """Counts whose variance is mean + overdispersion * mean²."""

    overdispersion: float
    name: str = "negative_binomial"
    link: str = "log"
    y_must_be: str = "at least 0"
    free: bool = False

    def takes(self, y: np.ndarray) -> np.ndarray:
        """See `Family.takes`."""
        return y >= 0

    def has(self, mean: np.ndarray) -> np.ndarray:
        """See `Family.has`."""
        return (mean > 0) & (mean < np.inf)

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """See `Family.variance`."""
        return mean + self.overdispersion * mean**2

    def half_deviance(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Family.half_deviance`.

        Parameters
        ----------
        y, mean : as there.
        """
        size = 1 / self.overdispersion
        return np.asarray(xlogy(y, y / mean) - (y + size) * np.log((y + size) / (mean + size)))

    def curvature(self, y: np.ndarray, mean: np.ndarray, link: Link) -> np.ndarray | None:
        """See `Family.curvature`.

        Parameters
        ----------
        y, mean, link : as there.
        """
        if link.name != "log":
            return None
        return mean * (1 + self.overdispersion * y) / (1 + self.overdispersion * mean) ** 2

    def rounding(self, y: np.ndarray) -> np.ndarray:
        """See `Family.rounding`."""
        return y

    def terms(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Family.terms`.

        Parameters
        ----------
        y, mean : as there.
        """
        size = 1 / self.overdispersion
        counts = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
        return np.asarray(counts + xlogy(y, mean / (mean + size)) - size * np.log1p(mean / size))

    def doubled(self, weight: float, deviance: float, terms: float) -> float:
        """See `Family.doubled`.

        Parameters
        ----------
        weight, deviance, terms : as there.
        """
        return -2 * terms


NAMES = ("gaussian", "binomial", "poisson", "gamma", "tweedie", "negative_binomial", "inverse_gaussian")


def family_of(name: str, *, power: float = 1.5, overdispersion: float = 1.0) -> Family:
    """The family of a name.

    Parameters
    ----------
    name : one of `NAMES`.
    power : of the mean that the variance of 'tweedie' is.
    overdispersion : of 'negative_binomial'.
    """
    if name == "binomial":
        return Binomial()
    if name == "negative_binomial":
        return NegativeBinomial(overdispersion)
    if name == "tweedie":
        return Tweedie(power)
    power, link, free = _NAMED[name]
    return Tweedie(power, name, link, free)


_NAMED = {
    "gaussian": (0.0, "identity", True),
    "poisson": (1.0, "log", False),
    "gamma": (2.0, "inverse", True),
    "inverse_gaussian": (3.0, "inverse_squared", True),
}


def is_newton(family: Family, link: Link) -> bool:
    """Whether the second derivatives of `MeanLoss` are those of the deviance, not only expected ones.

    Parameters
    ----------
    family, link : the distribution of y, and how its mean follows from the score.
    """
    if isinstance(family, Tweedie) and isinstance(link, Power) and link.power == 1 - family.power:
        return True
    one = np.ones(1)
    return (family.name, link.name) == ("binomial", "logit") or family.curvature(one, one, link) is not None


class MeanLoss:
    """Half the deviance of y from the mean that a score stands for.

    Parameters
    ----------
    family, link : the distribution of y, and how its mean follows from the score.
    expected : second derivatives are those that are expected, not those of the y there are.
    """

    scores = 1

    def __init__(self, family: Family, link: Link, *, expected: bool = False) -> None:
        self.family = family
        self.link = link
        self.expected = expected

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half the deviances, infinite where there is no such mean; their derivatives once and twice.

        What rounding hides of the deviances is added to them, which changes no minimum: it says when no
        step can be told from another.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), linear predictors.
        y : ndarray of shape (rows,).
        """
        with np.errstate(all="ignore"):
            losses, first, second = self._plain(margins, y)
            losses = losses + _HIDDEN * self.family.rounding(y)
            good = np.isfinite(losses) & np.isfinite(first) & np.isfinite(second)
        if not good.all():
            losses = np.where(good, losses, np.inf)
            first, second = np.where(good, first, 0.0), np.where(good, second, 0.0)
        return losses[:, 0], first, second

    def _plain(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        family, link = self.family, self.link
        odd = isinstance(family, Tweedie) and family.power not in (0, 1, 2, 3)
        if odd and link.name == "log" and not self.expected:
            return family.at_log(margins, y)  # type: ignore[attr-defined]
        mean = link.inverse(margins)
        slope = link.slope(margins, mean)
        losses = np.where(family.has(mean), family.half_deviance(y, mean), np.inf)
        pull = slope / family.variance(mean)
        bend = None if self.expected else family.curvature(y, mean, link)
        return losses, (mean - y) * pull, slope * pull if bend is None else bend

    def second(self, shared: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """What `derivatives` gave.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the second derivatives.
        pairs : without effect.
        """
        return shared


_HIDDEN = 1e-6
"""Of numbers that cancel in a deviance: 1e-9 of the objective counts as no rise, and must exceed rounding."""
