"""Least squares for matrices too wide to hold their products."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.gram import Normal
from outgrow.ml.solvers.least_squares import System, by_triangle, lengths
from outgrow.stats.moments import Moments, check_squares, squares_about_zero

FEW_CELLS = 50_000_000
"""A matrix of no more numbers than this, and of fewer rows than columns, is solved directly."""


def solve_wide(view: MatrixView, penalty: float, *, intercept: bool, tol: float) -> tuple[np.ndarray, float]:
    """Coefficients and intercept: by a triangular factor where rows are few, else by conjugate gradients.

    Parameters
    ----------
    view : rows with one target.
    penalty : what each squared coefficient costs beside the summed squared error.
    intercept : whether there is one; otherwise it is 0.
    tol : conjugate gradients end when what is left of the equations is this share of their right side, or
        after ten passes a column, with a warning; a triangular factor does not look at it.

    Raises
    ------
    DataError
        When squares overflow.
    """
    system = _system(view, penalty, intercept=intercept)
    if view.rows <= view.width and view.rows * view.width <= FEW_CELLS:
        return by_triangle(view, system)
    coef = _by_gradients(view, system, tol) / system.scale
    return coef, system.normal.intercept(coef)


def _system(view: MatrixView, penalty: float, *, intercept: bool) -> System:
    """The scaled system without its products."""
    features, target = view.reduce(
        lambda block: (
            Moments.of(block.X, block.weight),
            Moments.of(np.asarray(block.y, dtype=np.float64)[:, None], block.weight),
        )
    )
    n, energy, y_mean = float(target.n[0]), float(target.m2[0]), float(target.mean[0])
    squares, mean = features.m2, features.mean
    check_squares(np.append(squares, energy), [*map(str, range(len(squares))), "the target"], small=False)
    if not intercept:
        squares, energy = squares_about_zero(n, mean, squares), energy + n * y_mean**2
        mean, y_mean = np.zeros_like(mean), 0.0
    check_squares(squares)
    normal = Normal(n, np.diag([]), np.zeros(0), energy, mean, y_mean, intercept)
    return System(normal, penalty, lengths(normal, squares, penalty), normal.products)


def _by_gradients(view: MatrixView, system: System, tol: float) -> np.ndarray:
    """Conjugate gradients on the normal equations of the scaled columns."""
    normal, width = system.normal, view.width
    inverse = 1.0 / system.scale
    shift = normal.x_mean * inverse

    def centred(function: Callable[[Block], np.ndarray]) -> np.ndarray:
        def fold(block: Block) -> np.ndarray:
            r = function(block)
            r = r if block.weight is None else r * block.weight
            return np.concatenate([block.X.T @ r, [r.sum()]])

        out = view.reduce(fold)
        return out[:-1] * inverse - shift * out[-1]

    def times(v: np.ndarray) -> np.ndarray:
        return centred(lambda block: block.X @ (v * inverse) - shift @ v) + system.penalty * inverse**2 * v

    right = centred(lambda block: np.asarray(block.y) - normal.y_mean)
    operator = LinearOperator((width, width), matvec=times, dtype=np.float64)
    found, unfinished = cg(operator, right, rtol=tol, maxiter=10 * width)
    if unfinished:
        warnings.warn(
            f"Conjugate gradients did not converge in {unfinished} passes. Penalise more (a larger alpha of "
            "Ridge), or leave out columns that depend on others.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found
