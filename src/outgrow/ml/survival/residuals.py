"""Distributions of the error of the logarithm of a time: what models of failure times take it to be."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import expit, log_ndtr, logit, ndtri

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of each row: minus the log likelihood of its error, and the derivatives of that, once and twice."""

_HALF_LOG_2_PI = 0.5 * np.log(2 * np.pi)


class Residual(Protocol):
    """A distribution of errors in scales; the logarithms of its density and survival are concave."""

    def parts(self, z: np.ndarray, event: np.ndarray) -> Parts:
        """Minus the log likelihood, and its derivatives by z.

        Parameters
        ----------
        z : ndarray of shape (rows,), errors.
        event : ndarray of shape (rows,): 1 where the error is this one, 0 where it is larger.
        """

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """Below which errors these shares of them lie."""


class Gumbel:
    """Of the logarithm of a Weibull, or an exponential, time."""

    def parts(self, z: np.ndarray, event: np.ndarray) -> Parts:
        """See `Residual.parts`.

        Parameters
        ----------
        z, event : as there.
        """
        hazard = np.exp(z)
        return hazard - event * z, hazard - event, hazard

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """See `Residual.quantile`."""
        return np.log(-np.log1p(-share))


class Normal:
    """Of the logarithm of a log-normal time."""

    def parts(self, z: np.ndarray, event: np.ndarray) -> Parts:
        """See `Residual.parts`.

        Parameters
        ----------
        z, event : as there.
        """
        density, survival = -0.5 * z**2 - _HALF_LOG_2_PI, log_ndtr(-z)
        hazard = np.exp(density - survival)
        seen = event > 0
        return (
            -np.where(seen, density, survival),
            np.where(seen, z, hazard),
            np.where(seen, 1.0, np.maximum(hazard * (hazard - z), 0.0)),
        )

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """See `Residual.quantile`."""
        return np.asarray(ndtri(share))


class Logistic:
    """Of the logarithm of a log-logistic time."""

    def parts(self, z: np.ndarray, event: np.ndarray) -> Parts:
        """See `Residual.parts`.

        Parameters
        ----------
        z, event : as there.
        """
        share, times = expit(z), 1 + event
        return times * np.logaddexp(0.0, z) - event * z, times * share - event, times * share * expit(-z)

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """See `Residual.quantile`."""
        return np.asarray(logit(share))


RESIDUALS: dict[str, Residual] = {
    "weibull": Gumbel(),
    "exponential": Gumbel(),
    "lognormal": Normal(),
    "loglogistic": Logistic(),
}
"""By the name of the distribution of the times."""
