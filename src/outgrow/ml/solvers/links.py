"""How a mean follows from a linear predictor: the links of generalized linear models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

_LARGEST = 30.0
"""Linear predictors past which the complement of exp(-exp(.)) is 1 in float64."""


class Link(Protocol):
    """A monotone function of the mean, which a linear model predicts.

    What is not promised: that a mean, or a predictor, is one that the link knows; those give NaN or infinity.
    """

    @property
    def name(self) -> str:
        """What it is called."""

    def apply(self, mean: np.ndarray) -> np.ndarray:
        """The linear predictors of means, of any shape."""

    def inverse(self, predictor: np.ndarray) -> np.ndarray:
        """The means of linear predictors, of any shape."""

    def slope(self, predictor: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """The derivatives of the means by the predictors.

        Parameters
        ----------
        predictor, mean : ndarrays of one shape, those that belong together.
        """

    def in_onnx(self, graph: Any, predictor: str) -> str | None:
        """The tensor of the means, as nodes of a graph; None where ONNX has no exact equal.

        Parameters
        ----------
        graph : gets the nodes.
        predictor : the tensor of the linear predictors.
        """


@dataclass(frozen=True)
class Power:
    """The mean to a power; the logarithm where that is 0."""

    name: str
    power: float

    def apply(self, mean: np.ndarray) -> np.ndarray:
        """See `Link.apply`."""
        with np.errstate(all="ignore"):
            return np.log(mean) if self.power == 0 else np.power(mean, self.power)

    def inverse(self, predictor: np.ndarray) -> np.ndarray:
        """See `Link.inverse`."""
        if self.power == 1:
            return predictor
        with np.errstate(all="ignore"):
            if self.power == 0:
                return np.exp(predictor)
            if self.power == -1:
                return 1.0 / predictor
            return np.where(predictor > 0, np.power(np.abs(predictor), 1.0 / self.power), np.nan)

    def slope(self, predictor: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Link.slope`.

        Parameters
        ----------
        predictor, mean : as there.
        """
        if self.power == 0:
            return mean
        if self.power == 1:
            return np.ones_like(mean)
        with np.errstate(all="ignore"):
            return mean / (self.power * predictor)

    def in_onnx(self, graph: Any, predictor: str) -> str | None:
        """See `Link.in_onnx`.

        Parameters
        ----------
        graph, predictor : as there.
        """
        if self.power == 1:
            return predictor
        if self.power == 0:
            return str(graph.node("Exp", predictor))
        if self.power == -1:
            return str(graph.node("Reciprocal", predictor))
        return str(graph.node("Pow", predictor, graph.constant(1.0 / self.power)))


@dataclass(frozen=True)
class Logit:
    """The logarithm of the odds."""

    name: str = "logit"

    def apply(self, mean: np.ndarray) -> np.ndarray:
        """See `Link.apply`."""
        return np.asarray(logit(mean))

    def inverse(self, predictor: np.ndarray) -> np.ndarray:
        """See `Link.inverse`."""
        return np.asarray(expit(predictor))

    def slope(self, predictor: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Link.slope`.

        Parameters
        ----------
        predictor, mean : as there.
        """
        return mean * np.asarray(expit(-predictor))

    def in_onnx(self, graph: Any, predictor: str) -> str | None:
        """See `Link.in_onnx`.

        Parameters
        ----------
        graph, predictor : as there.
        """
        odds = graph.node("Exp", graph.node("Neg", predictor))
        return str(graph.node("Reciprocal", graph.node("Add", odds, graph.constant(1.0))))


@dataclass(frozen=True)
class Probit:
    """The quantile of the normal distribution."""

    name: str = "probit"

    def apply(self, mean: np.ndarray) -> np.ndarray:
        """See `Link.apply`."""
        return np.asarray(ndtri(mean))

    def inverse(self, predictor: np.ndarray) -> np.ndarray:
        """See `Link.inverse`."""
        return np.asarray(ndtr(predictor))

    def slope(self, predictor: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Link.slope`.

        Parameters
        ----------
        predictor, mean : as there.
        """
        return np.exp(-0.5 * predictor**2) / np.sqrt(2 * np.pi)

    def in_onnx(self, graph: Any, predictor: str) -> str | None:
        """See `Link.in_onnx`.

        Parameters
        ----------
        graph, predictor : as there.
        """
        return None


@dataclass(frozen=True)
class CLogLog:
    """The logarithm of minus the logarithm of the complement."""

    name: str = "cloglog"

    def apply(self, mean: np.ndarray) -> np.ndarray:
        """See `Link.apply`."""
        with np.errstate(all="ignore"):
            return np.log(-np.log1p(-mean))

    def inverse(self, predictor: np.ndarray) -> np.ndarray:
        """See `Link.inverse`."""
        return -np.expm1(-np.exp(np.minimum(predictor, _LARGEST)))

    def slope(self, predictor: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """See `Link.slope`.

        Parameters
        ----------
        predictor, mean : as there.
        """
        bounded = np.minimum(predictor, _LARGEST)
        return np.exp(bounded - np.exp(bounded))

    def in_onnx(self, graph: Any, predictor: str) -> str | None:
        """See `Link.in_onnx`.

        Parameters
        ----------
        graph, predictor : as there.
        """
        rest = graph.node("Exp", graph.node("Neg", graph.node("Exp", predictor)))
        return str(graph.node("Sub", graph.constant(1.0), rest))


LINKS: dict[str, Link] = {
    "identity": Power("identity", 1),
    "log": Power("log", 0),
    "inverse": Power("inverse", -1),
    "inverse_squared": Power("inverse_squared", -2),
    "sqrt": Power("sqrt", 0.5),
    "logit": Logit(),
    "probit": Probit(),
    "cloglog": CLogLog(),
}
"""By name."""
