"""The losses that boosting lowers: XGBoost's objective of each, or its derivatives where XGBoost has none.

Where trees begin, and what they add up to, is on the scale of `link`: the number itself, or its logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit, softmax

from outgrow.engine.blocks import Block
from outgrow.engine.collective import Communicator
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.trees.plan import Gradients, Loss

Link = Literal["identity", "log", "logit", "softmax"]
POISSON_STEP = 0.7
"""XGBoost's longest step of the logarithm of a Poisson mean, which makes second derivatives larger."""
_LEAST_STEEP = 1e-16
"""XGBoost's least second derivative of log losses."""
_LAST_BITS = 15
"""Float32 numbers without so many of their bits are of few enough kinds to be counted."""


@dataclass(frozen=True)
class LossKind:
    """One loss.

    Attributes
    ----------
    parameters : XGBoost's objective.
    link : of what trees add up to.
    value : the loss of each row, from its label and the sums of the trees; None where only lists have one.
    centred : y is centred and scaled before trees learn it.
    noted_power, power : with which power of its unit the noted loss grows, and the `value`.
    start : of which quantile of y trees begin; None for its mean.
    gradients : derivatives, where XGBoost has no such objective.
    leaves : of what is left in a leaf, which quantile the trees answer; None for XGBoost's leaves.
    excess : what XGBoost multiplies second derivatives by, which makes steps so much shorter.
    """

    parameters: Mapping[str, Any]
    link: Link
    value: Loss | None
    centred: bool = False
    noted_power: int = 1
    power: int = 1
    start: float | None = None
    gradients: Gradients | None = None
    leaves: float | None = None
    excess: float = 1.0


class Distance:
    """The absolute error, or the pinball loss of a quantile (Koenker and Bassett 1978).

    Parameters
    ----------
    below, above : by what a row counts that lies below the sums, and above them.
    """

    def __init__(self, below: float, above: float) -> None:
        self._below, self._above = below, above

    def __call__(
        self, y: np.ndarray, sums: np.ndarray, weight: np.ndarray, comm: Communicator
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.where(sums > y, self._below, np.where(sums < y, -self._above, 0.0)) * weight, weight

    def loss(self, y: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The loss of each row.

        Parameters
        ----------
        y : shape (rows,).
        sums : shape (rows,), what the trees add up to.
        """
        return np.where(sums > y, self._below, self._above) * np.abs(y - sums)


class Huber:
    """Squares up to the `alpha`-quantile of the distances, which each round finds anew (Friedman 2001).

    Beyond, the loss grows as the distance. The quantile is exact to 8 binary digits, on any cut of the rows.
    """

    def __init__(self, alpha: float) -> None:
        self._alpha, self._delta = alpha, np.float32(np.inf)

    def __call__(
        self, y: np.ndarray, sums: np.ndarray, weight: np.ndarray, comm: Communicator
    ) -> tuple[np.ndarray, np.ndarray]:
        rest = y - sums
        kinds = np.abs(rest).astype(np.float32).view(np.uint32) >> np.uint32(_LAST_BITS)
        counts = comm.allreduce(np.bincount(kinds, weight, 1 << (32 - _LAST_BITS)).astype(np.float64))
        reached = np.cumsum(counts)
        kind = int(np.searchsorted(reached, self._alpha * reached[-1]))
        self._delta = np.array([(kind + 1) << _LAST_BITS], dtype=np.uint32).view(np.float32)[0]
        return -np.clip(rest, -self._delta, self._delta) * weight, weight

    def loss(self, y: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The loss of each row, with the quantile that the last round found.

        Parameters
        ----------
        y : shape (rows,).
        sums : shape (rows,), what the trees add up to.
        """
        far = np.abs(y - sums)
        near = np.minimum(far, self._delta)
        return near * (far - 0.5 * near)


class Exponential:
    """AdaBoost's loss: the exponential of minus the signed sum (Freund and Schapire 1997)."""

    def __call__(
        self, y: np.ndarray, sums: np.ndarray, weight: np.ndarray, comm: Communicator
    ) -> tuple[np.ndarray, np.ndarray]:
        sign = 2 * y - 1
        steep = self.loss(y, sums) * weight
        return -sign * steep, np.maximum(steep, 1e-16)

    def loss(self, y: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The loss of each row, cut off at the exponential of 80.

        Parameters
        ----------
        y : shape (rows,), 0 or 1.
        sums : shape (rows,), what the trees add up to; half the log odds.
        """
        return np.exp(np.minimum(-(2 * y - 1) * sums, 80.0))


def _squared(y: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return (y - sums) ** 2


def _poisson(y: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(sums, 80.0)) - y * sums


def _gamma(y: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return y * np.exp(np.minimum(-sums, 80.0)) + sums


def _binary(y: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, sums) - y * sums


def _multinomial(y: np.ndarray, sums: np.ndarray) -> np.ndarray:
    highest = sums.max(axis=1)
    total = highest + np.log(np.exp(sums - highest[:, None]).sum(axis=1))
    own: np.ndarray = sums[np.arange(len(sums)), y.astype(np.intp)]
    return total - own


_OWN = {"objective": "reg:squarederror", "disable_default_eval_metric": 1}


def _huber(alpha: float) -> LossKind:
    huber = Huber(alpha)
    return LossKind(_OWN, "identity", huber.loss, True, 2, 2, 0.5, huber)


def _distance(share: float, below: float, above: float) -> LossKind:
    distance = Distance(below, above)
    return LossKind(_OWN, "identity", distance.loss, True, start=share, gradients=distance, leaves=share)


def _rising(y: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = np.exp(np.minimum(sums, 80.0))
    return mean - y, mean * np.exp(POISSON_STEP)


def _shrinking(y: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ratio = y * np.exp(np.minimum(-sums, 80.0))
    return 1.0 - ratio, ratio


def _uncertain(y: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = expit(sums)
    return share - y, np.maximum(share * (1.0 - share), _LEAST_STEEP)


def _uncertain_of_many(y: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shares = softmax(sums, axis=1)
    steep = np.maximum(2.0 * shares * (1.0 - shares), _LEAST_STEEP)
    shares[np.arange(len(y)), y.astype(np.intp)] -= 1.0
    return shares, steep


DERIVATIVES: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "reg:squarederror": lambda y, sums: (sums - y, np.ones_like(sums)),
    "binary:logistic": _uncertain,
    "multi:softprob": _uncertain_of_many,
    "count:poisson": _rising,
    "reg:gamma": _shrinking,
}
"""The first and second derivatives of XGBoost's objectives, from y and the sums of the trees."""
ANSWERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "reg:squarederror": lambda sums: sums,
    "binary:logistic": expit,
    "multi:softprob": lambda sums: softmax(sums, axis=1),
    "count:poisson": lambda sums: np.exp(np.minimum(sums, 80.0)),
    "reg:gamma": lambda sums: np.exp(np.minimum(sums, 80.0)),
}
"""What boosters with these objectives answer, from the sums of the trees."""
REGRESSION: dict[str, Callable[[float], LossKind]] = {
    "squared_error": lambda alpha: LossKind(
        {"objective": "reg:squarederror"}, "identity", _squared, True, power=2
    ),
    "absolute_error": lambda alpha: _distance(0.5, 1.0, 1.0),
    "huber": _huber,
    "quantile": lambda alpha: _distance(float(alpha), 1 - alpha, float(alpha)),
    "poisson": lambda alpha: LossKind({"objective": "count:poisson"}, "log", _poisson),
    "gamma": lambda alpha: LossKind({"objective": "reg:gamma"}, "log", _gamma),
}
"""The loss of each name, from the quantile that some of them have."""
LOGARITHMIC = ("poisson", "gamma")
"""Losses whose trees add up to the logarithm of what is predicted."""
CLASSIFICATION = ("log_loss", "exponential")


def classification(loss: str, shares: np.ndarray) -> tuple[LossKind, float]:
    """The loss for classes, and the mean second derivative where trees begin.

    Parameters
    ----------
    loss : 'log_loss' or 'exponential'.
    shares : shape (classes,), the share of the weight that each class has.

    Raises
    ------
    ParameterError
        When it is not for so many classes.
    """
    if loss == "exponential":
        if len(shares) != 2:
            raise ParameterError(
                f"loss='exponential' is only suitable for a binary classification problem, you have "
                "n_classes="
                f"{len(shares)}. Please use loss='log_loss' instead."
            )
        exponential = Exponential()
        own = {**_OWN, "base_score": 0.5 * float(np.log(shares[1] / shares[0]))}
        kind = LossKind(own, "identity", exponential.loss, gradients=exponential)
        return kind, float(2 * np.sqrt(shares[0] * shares[1]))
    spread = float((shares * (1 - shares)).mean())
    if len(shares) == 2:
        own = {"objective": "binary:logistic", "base_score": float(shares[1])}
        return LossKind(own, "logit", _binary), spread
    own = {"objective": "multi:softprob", "num_class": len(shares)}
    return LossKind(own, "softmax", _multinomial, excess=2.0), 2 * spread


def check_target(loss: str, view: MatrixView) -> bool:
    """Refuse what the logarithm of a mean cannot be fitted to; whether all y are whole numbers. One pass.

    Parameters
    ----------
    loss : its name; only 'gamma' and 'poisson' refuse anything.
    view : rows with y; all ranks raise the same.

    Raises
    ------
    DataError
        When y is negative, or 0 where it must not be.
    """

    def count(block: Block) -> np.ndarray:
        y = np.asarray(block.y)
        broken = np.count_nonzero(y != np.floor(y))
        return np.array([np.count_nonzero(y < 0), np.count_nonzero(y == 0), len(y), broken], dtype=np.float64)

    ends = view.reduce(count)
    if loss == "gamma" and ends[:2].any():
        raise DataError(
            f"loss='gamma' requires strictly positive y. {int(ends[:2].sum())} value(s) are 0 or below."
        )
    if loss == "poisson" and (ends[0] or ends[1] == ends[2]):
        raise DataError(
            "loss='poisson' requires non-negative y and sum(y) > 0. "
            f"{int(ends[0])} value(s) are negative, {int(ends[1])} of {int(ends[2])} are 0."
        )
    return not ends[3]
