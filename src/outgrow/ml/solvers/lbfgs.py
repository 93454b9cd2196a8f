"""L-BFGS of SciPy, on sums over the rows: each value is a pass, and all ranks take the same steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError

PAIRS = 10
"""Of steps and changes of the gradient that are kept."""


def lbfgs(
    view: MatrixView,
    fold: Callable[[np.ndarray], Callable[[Block], np.ndarray]],
    penalty: Callable[[np.ndarray, float], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    limits: dict[str, Any],
    owner: str,
) -> tuple[np.ndarray, float, int]:
    """Minimise the mean loss of rows plus a penalty.

    Parameters
    ----------
    view : the rows.
    fold : of parameters, what sums the loss, the weight and the gradient over the rows of a block, one behind
        the other.
    penalty : of parameters and the weight of all rows, what they cost, and its gradient.
    start : the parameters to begin with, of shape (size,).
    limits : SciPy's: `maxiter`, `maxfun`, `gtol`, `ftol`, `maxcor`.
    owner : the class, for messages.

    Returns
    -------
    The parameters, the objective there, and how many steps were taken.

    Raises
    ------
    DataError
        When the loss is no finite number.
    """
    passes = 0

    def value(w: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal passes
        with np.errstate(over="ignore", invalid="ignore"):
            sums = view.reduce(fold(w))
            cost, bent = penalty(w, float(sums[1]))
            total, gradient = float(sums[0] / sums[1] + cost), sums[2:] / sums[1] + bent
        passes += 1
        if not (np.isfinite(total) and np.isfinite(gradient).all()):
            raise DataError(
                f"{owner}: the loss of the rows is no number any more. Columns, or y, are far from 0: put a "
                "StandardScaler before it."
            )
        view.run.tell("step", passes, loss=total)
        return total, gradient

    options: Any = {"maxcor": PAIRS, **limits}
    found = minimize(value, start, method="L-BFGS-B", jac=True, options=options)
    if found.status == 1:
        warnings.warn(
            f"{owner}: L-BFGS ended after {found.nit} steps and {found.nfev} passes before it converged. "
            f"Raise {'max_iter or max_fun' if 'maxfun' in limits else 'max_iter'}, scale the columns, or "
            "raise tol.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return found.x, float(found.fun), int(found.nit)
