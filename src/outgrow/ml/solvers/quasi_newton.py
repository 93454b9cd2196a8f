"""L-BFGS for models with too many parameters for a matrix of second derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.likelihood import Likelihood
from outgrow.ml.solvers.newton import Minimum, Penalty


def quasi_newton(
    view: MatrixView,
    likelihood: Likelihood,
    penalty: Penalty,
    spread: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    start: np.ndarray,
) -> Minimum:
    """Minimise the loss over all rows plus the penalty.

    The parameters of features are counted in units of 1 / `spread`, of shape (features,), by which they all
    bend the loss about alike.

    An absolute penalty is handled by splitting each parameter into two of at least zero, whose difference it
    is: the penalty is then linear, and L-BFGS-B (Byrd et al. 1995) keeps the bounds.
    """
    size, steps = likelihood.size, 0
    unit = _units(likelihood, penalty, spread, view.rows)

    def objective(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal steps
        w = scaled * unit
        sums = view.reduce(lambda block: likelihood.gradient(block, w))
        steps += 1
        value = float(sums[0]) + 0.5 * penalty.l2 * float((w * penalty.mask) @ w)
        view.run.tell("step", steps, loss=value)
        return value / view.rows, (sums[1:] + penalty.l2 * penalty.mask * w) * unit / view.rows

    def split(pair: np.ndarray) -> tuple[float, np.ndarray]:
        up, down = pair[:size], pair[size:]
        value, gradient = objective(up - down)
        linear = penalty.l1 * penalty.mask * unit / view.rows
        return value + float(linear @ (up + down)), np.concatenate([gradient + linear, linear - gradient])

    options: Any = {
        "maxiter": max(max_iter, 1),
        "maxfun": 4 * max_iter,
        "gtol": max(tol, 1e-12) ** 0.5 * 1e-2,
        "ftol": max(tol, 1e-15),
        "maxcor": 20,
    }
    start = start / unit
    if penalty.l1:
        found = minimize(
            split,
            np.concatenate([np.maximum(start, 0), np.maximum(-start, 0)]),
            jac=True,
            method="L-BFGS-B",
            options=options,
            bounds=[(0, None)] * (2 * size),
        )
        w = found.x[:size] - found.x[size:]
    else:
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        w = found.x
    return Minimum(w * unit, float(found.fun) * view.rows, steps, bool(found.success))


def _units(likelihood: Likelihood, penalty: Penalty, spread: np.ndarray, rows: int) -> np.ndarray:
    """The unit of each parameter: the inverse root of about how much it bends the mean loss and penalty."""
    bend = np.ones(
        (likelihood.size // (len(spread) + likelihood.intercept), len(spread) + likelihood.intercept)
    )
    bend[:, : len(spread)] = spread**2
    bend = bend.ravel() + 4 * penalty.l2 * penalty.mask / rows
    return 1 / np.sqrt(np.where(bend > 0, bend, 1.0))
