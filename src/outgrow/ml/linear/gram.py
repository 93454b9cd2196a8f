"""Least squares from one pass: joint moments of features and target, solved in small matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg

from outgrow.data.batch import is_sparse
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import Block, MatrixView
from outgrow.stats.moments import CoMoments


@dataclass(frozen=True, eq=False)
class Normal:
    """The normal equations of a regression: products about the means, or about zero without an intercept.

    Attributes
    ----------
    n : summed weight of the rows.
    products : ndarray of shape (p, p), X'WX.
    target : ndarray of shape (p,), X'Wy.
    energy : y'Wy.
    x_mean, y_mean : what was subtracted.
    """

    n: float
    products: np.ndarray
    target: np.ndarray
    energy: float
    x_mean: np.ndarray
    y_mean: float

    def intercept(self, coef: np.ndarray) -> float:
        return float(self.y_mean - self.x_mean @ coef)


def normal_equations(view: MatrixView, *, intercept: bool) -> Normal:
    """One pass over the rows."""
    return normal_of(view.reduce(_joint_moments), intercept=intercept)


def moments_of_folds(rows: FoldedView) -> list[CoMoments]:
    """The joint moments of features and target in each fold, from one pass."""
    return rows.each(_joint_moments)


def normal_of(moments: CoMoments, *, intercept: bool) -> Normal:
    """The normal equations of rows with these joint moments of features and target."""
    mean, products = moments.mean, moments.products
    if not intercept:
        products = products + moments.n * np.outer(mean, mean)
        mean = np.zeros_like(mean)
    return Normal(
        moments.n, products[:-1, :-1], products[:-1, -1], float(products[-1, -1]), mean[:-1], float(mean[-1])
    )


def solve_ridge(normal: Normal, penalty: float) -> np.ndarray:
    """Coefficients that minimise the squared error plus `penalty` times their squares.

    With `penalty` 0 the shortest of the minimisers, as least squares by singular values gives; products are
    scaled to a unit diagonal first, so columns of very different sizes do no harm.
    """
    scale = np.sqrt(np.diag(normal.products))
    scale[scale == 0] = 1.0
    if penalty > 0:
        return scipy.linalg.solve(
            normal.products + penalty * np.eye(len(scale)), normal.target, assume_a="pos"
        )
    values, vectors = scipy.linalg.eigh(normal.products / np.outer(scale, scale))
    keep = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    if keep.all():
        return vectors @ ((vectors.T @ (normal.target / scale)) / values) / scale
    values, vectors = scipy.linalg.eigh(normal.products)
    keep = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, keep] @ ((vectors[:, keep].T @ normal.target) / values[keep])


def refine(view: MatrixView, normal: Normal, coef: np.ndarray, penalty: float) -> np.ndarray:
    """One Newton step from the exact residuals: removes most of what the products lost to rounding."""
    intercept = normal.intercept(coef)

    def fold(block: Block) -> np.ndarray:
        residual = np.asarray(block.y) - block.X @ coef - intercept
        if block.weight is not None:
            residual = residual * block.weight
        return np.concatenate([block.X.T @ residual, [residual.sum()]])

    sums = view.reduce(fold)
    gradient = sums[:-1] - normal.x_mean * sums[-1] - penalty * coef
    fixed = Normal(normal.n, normal.products, gradient, 0.0, normal.x_mean, 0.0)
    return coef + solve_ridge(fixed, penalty)


def condition(normal: Normal) -> float:
    """How many digits the products may lose: the condition number of the scaled products."""
    scale = np.sqrt(np.diag(normal.products))
    scale[scale == 0] = 1.0
    values = np.linalg.eigvalsh(normal.products / np.outer(scale, scale))
    return float(values[-1] / max(values[0], np.finfo(np.float64).tiny))


def solve_wide(view: MatrixView, penalty: float, *, intercept: bool, tol: float) -> tuple[np.ndarray, float]:
    """Conjugate gradients on the normal equations, for matrices too wide to hold their products."""
    width = view.width
    sums = view.reduce(_sums)
    n = sums[-1]
    x_mean, y_mean = (sums[:width] / n, sums[width] / n) if intercept else (np.zeros(width), 0.0)

    def centred(function: Callable[[Block], np.ndarray]) -> np.ndarray:
        def fold(block: Block) -> np.ndarray:
            r = function(block)
            r = r if block.weight is None else r * block.weight
            return np.concatenate([block.X.T @ r, [r.sum()]])

        out = view.reduce(fold)
        return out[:-1] - x_mean * out[-1]

    def times(v: np.ndarray) -> np.ndarray:
        return centred(lambda block: block.X @ v - x_mean @ v) + penalty * v

    right = centred(lambda block: np.asarray(block.y) - y_mean)
    operator = LinearOperator((width, width), matvec=times, dtype=np.float64)
    coef, _ = cg(operator, right, rtol=tol, maxiter=10 * width)
    return coef, float(y_mean - x_mean @ coef)


def _sums(block: Block) -> np.ndarray:
    w = np.ones(len(block)) if block.weight is None else block.weight
    return np.concatenate([block.X.T @ w, [w @ np.asarray(block.y), w.sum()]])


def _joint_moments(block: Block) -> CoMoments | None:
    X, y = block.X, np.asarray(block.y)[:, None]
    both: Any = [X, y]
    joined = sp.hstack(both, format="csr") if is_sparse(X) else np.hstack(both)
    return CoMoments.of(joined, block.weight)
