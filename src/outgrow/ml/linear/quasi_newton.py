"""L-BFGS for models with too many parameters for a matrix of second derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from outgrow.engine.matrix import MatrixView
from outgrow.ml.linear.likelihood import Likelihood
from outgrow.ml.linear.newton import Minimum, Penalty


def quasi_newton(
    view: MatrixView, likelihood: Likelihood, penalty: Penalty, *, tol: float, max_iter: int
) -> Minimum:
    """Minimise the loss over all rows plus the penalty, starting from zero.

    An absolute penalty is handled by splitting each parameter into two of at least zero, whose difference it
    is: the penalty is then linear, and L-BFGS-B (Byrd et al. 1995) keeps the bounds.
    """
    size, steps = likelihood.size, 0

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal steps
        sums = view.reduce(lambda block: likelihood.gradient(block, w))
        steps += 1
        value = float(sums[0]) + 0.5 * penalty.l2 * float((w * penalty.mask) @ w)
        view.run.tell("step", steps, loss=value)
        return value / view.rows, (sums[1:] + penalty.l2 * penalty.mask * w) / view.rows

    def split(pair: np.ndarray) -> tuple[float, np.ndarray]:
        up, down = pair[:size], pair[size:]
        value, gradient = objective(up - down)
        linear = penalty.l1 * penalty.mask / view.rows
        return value + float(linear @ (up + down)), np.concatenate([gradient + linear, linear - gradient])

    options: Any = {
        "maxiter": max(max_iter, 1),
        "maxfun": 4 * max_iter,
        "gtol": max(tol, 1e-12) ** 0.5 * 1e-2,
        "ftol": max(tol, 1e-15),
        "maxcor": 20,
    }
    if penalty.l1:
        found = minimize(
            split,
            np.zeros(2 * size),
            jac=True,
            method="L-BFGS-B",
            options=options,
            bounds=[(0, None)] * (2 * size),
        )
        w = found.x[:size] - found.x[size:]
    else:
        found = minimize(objective, np.zeros(size), jac=True, method="L-BFGS-B", options=options)
        w = found.x
    return Minimum(w, float(found.fun) * view.rows, steps, bool(found.success))
