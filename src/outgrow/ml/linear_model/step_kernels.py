"""Steps of stochastic gradient descent, row by row, compiled by Numba."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from outgrow.ml.core.compiled import kernel, typed_kernel

LOSSES = {
    "log_loss": 0,
    "squared_hinge": 1,
    "modified_huber": 2,
    "squared_error": 3,
    "huber": 4,
    "squared_epsilon_insensitive": 5,
    "hinge": 6,
    "epsilon_insensitive": 7,
}
RATES = {"optimal": 0, "invscaling": 1, "constant": 2, "adaptive": 2}
"""How long steps are; 'adaptive' shortens them between passes over the same rows, of which there is one."""
_STEEPEST = 1e12
"""A slope beyond it, as of a row far away, counts as this."""
_SMALLEST = 1e-9
"""Below it, the factor of sparse coefficients is multiplied into them."""
_VECTOR = types.Array(types.float64, 1, "C", readonly=True)


class Plan(NamedTuple):
    """What the steps depend on beside the rows.

    Attributes
    ----------
    loss, rate : codes of `LOSSES` and of `RATES`.
    epsilon : of the loss.
    eta0, power_t, optimal : of the learning rates; `optimal` is the time at which that rate begins.
    alpha, l1, l2 : strength of the penalty, and of its absolute and squared parts.
    intercept : 1.0 where a constant is learned, else 0.0.
    average : the time from which on coefficients are averaged; 0 for never.
    """

    loss: int
    rate: int
    epsilon: float
    eta0: float
    power_t: float
    optimal: float
    alpha: float
    l1: float
    l2: float
    intercept: float
    average: float


@kernel
def _slope(plan: Any, p: float, y: float) -> float:
    """The derivative of the loss of a row, whose class is 1 or -1, by what is predicted."""
    loss, epsilon = plan.loss, plan.epsilon
    if loss == 0:
        return -y / (1.0 + np.exp(y * p))
    if loss == 1:
        return -2.0 * y * max(1.0 - y * p, 0.0)
    if loss == 2:
        return -2.0 * y * min(max(1.0 - y * p, 0.0), 2.0)
    if loss == 6:
        return -y if y * p <= 1.0 else 0.0
    r = p - y
    if loss == 3:
        return r
    if loss == 7:
        return np.sign(r) if abs(r) > epsilon else 0.0
    near = min(max(r, -epsilon), epsilon)
    return near if loss == 4 else 2.0 * (r - near)


@kernel
def _rate(plan: Any, t: float) -> float:
    if plan.rate == 0:
        return 1.0 / (plan.alpha * (plan.optimal + t - 1.0))
    return plan.eta0 / t**plan.power_t if plan.rate == 1 else plan.eta0


@kernel
def _step(plan: Any, p: float, y: float, weight: float, eta: float) -> float:
    return -eta * weight * min(max(_slope(plan, p, y), -_STEEPEST), _STEEPEST)


@typed_kernel(_VECTOR, _VECTOR, returns=types.float64, loose=("reassoc", "contract"))
def _product(x: Any, w: Any) -> float:
    total = 0.0
    for j in range(len(x)):
        total += x[j] * w[j]
    return total


@kernel
def _truncated(w: float, taken: float, total: float) -> float:
    """A coefficient without what the absolute penalty has taken of it yet to take (Tsuruoka 2009)."""
    if w > 0.0:
        return max(0.0, w - (total + taken))
    return min(0.0, w + (total - taken)) if w < 0.0 else w


@kernel
def dense_steps(
    plan: Any, X: Any, order: Any, y: Any, weight: Any, w: Any, mean: Any, ends: Any, t: float
) -> None:
    """Take a step for each row, in their order; `w`, `mean` and `ends` are changed.

    Parameters
    ----------
    plan : what steps depend on.
    X : float64 of shape (rows, width), row by row.
    order : of the rows.
    y : of shape (rows,), numbers, or 1 and -1.
    weight : of shape (rows,).
    w, mean : coefficients of shape (width,), the last ones and their mean.
    ends : the last intercept, and the mean of intercepts.
    t : how many steps there were, and one.
    """
    taken, total = np.zeros(X.shape[1]), 0.0
    for i in order:
        x, eta = X[i], _rate(plan, t)
        step = _step(plan, _product(x, w) + ends[0], y[i], weight[i], eta)
        shrink = max(0.0, 1.0 - eta * plan.l2)
        for j in range(len(x)):
            w[j] = w[j] * shrink + step * x[j]
        ends[0] += plan.intercept * step
        count = t - plan.average + 1.0
        if plan.average > 0.0 and count >= 1.0:
            for j in range(len(x)):
                mean[j] += (w[j] - mean[j]) / count
            ends[1] += (ends[0] - ends[1]) / count
        if plan.l1 > 0.0:
            total += eta * plan.l1
            for j in range(len(x)):
                before = w[j]
                w[j] = _truncated(before, taken[j], total)
                taken[j] += w[j] - before
        t += 1.0


@kernel
def sparse_steps(
    plan: Any, X: Any, order: Any, y: Any, weight: Any, w: Any, mean: Any, ends: Any, t: float
) -> None:
    """The same for sparse rows, each in the time of what it stores: coefficients have a factor in common.

    The mean is (mean + share * w) / parts with the w that is stored (Xu 2011).

    Parameters
    ----------
    plan : what steps depend on.
    X : values, columns and bounds of rows of a CSR array.
    order, y, weight, w, mean, ends, t : as for `dense_steps`.
    """
    values, columns, bounds = X
    taken, total, factor = np.zeros(len(w)), 0.0, 1.0
    share, parts = 0.0, 1.0
    for i in order:
        eta, p = _rate(plan, t), 0.0
        for k in range(bounds[i], bounds[i + 1]):
            if plan.l1 > 0.0:  # what the rows since the last one with this column have left to take
                _truncate(w, mean, taken, columns[k], total, factor, share)
            p += values[k] * w[columns[k]]
        step = _step(plan, p * factor + ends[0], y[i], weight[i], eta)
        factor *= max(0.0, 1.0 - eta * plan.l2)
        if factor < _SMALLEST:
            _settle(w, mean, factor, share, parts)
            share, parts, factor = 0.0, 1.0, 1.0
        for k in range(bounds[i], bounds[i + 1]):
            change = step * values[k] / factor
            w[columns[k]] += change
            mean[columns[k]] -= share * change
        ends[0] += plan.intercept * step
        count = t - plan.average + 1.0
        if plan.average > 0.0 and count >= 1.0:
            if count == 1.0:
                mean[:] = 0.0
                share, parts = factor, 1.0
            else:
                parts *= count / (count - 1.0)
                share += parts * factor / count
            ends[1] += (ends[0] - ends[1]) / count
        if plan.l1 > 0.0:
            total += eta * plan.l1
            for k in range(bounds[i], bounds[i + 1]):
                j = columns[k]
                _truncate(w, mean, taken, j, total, factor, share)
        t += 1.0
    if plan.l1 > 0.0:
        for j in range(len(w)):
            _truncate(w, mean, taken, j, total, factor, share)
    _settle(w, mean, factor, share, parts)


@kernel
def _truncate(w: Any, mean: Any, taken: Any, j: int, total: float, factor: float, share: float) -> None:
    """What `_truncated` says of a coefficient with a factor; the mean stays what it is."""
    before = w[j]
    held = before * factor
    left = _truncated(held, taken[j], total)
    taken[j] += left - held
    w[j] = left / factor
    mean[j] -= share * (w[j] - before)


@kernel
def _settle(w: Any, mean: Any, factor: float, share: float, parts: float) -> None:
    """Multiply the factor into the coefficients, and make the mean what it stands for."""
    for j in range(len(w)):
        mean[j] = (mean[j] + share * w[j]) / parts
        w[j] *= factor
