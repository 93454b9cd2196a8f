"""L-BFGS for models with too many parameters for a matrix of second derivatives, one gradient a pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.linalg

from outgrow.ml.solvers.cost import THIN_ROWS, THIN_SIZES, shares_curvature
from outgrow.ml.solvers.losses import Squared
from outgrow.ml.solvers.newton import Minima
from outgrow.ml.solvers.problem import Problem

Solve = Callable[[np.ndarray], np.ndarray]

_PAIRS = 20
_HALVINGS = 20
_SLOW = 40
"""Steps after which products of features may still be taken, which at first did not seem to pay."""
_PATIENCE = 3
"""Steps in a row that gain hardly anything, until it ends."""
_TOLD = 1e-8
"""Of the objective: gains below this share are not looked for, as each would take a pass or more."""
_ONE = np.zeros(1, dtype=np.intp)


def quasi_newton(problem: Problem, start: np.ndarray, *, tol: float, max_iter: int) -> Minima:
    """Minimise the loss over all rows plus the penalty, of one candidate.

    With an absolute penalty no step changes the sign of a parameter (Andrew and Gao 2007).

    Parameters
    ----------
    problem : its rows, its objective, and about its curvature.
    start : ndarray of shape (size,), the parameters to begin with.
    tol : it ends where a step is expected to gain no more than this share of the objective, and is not made,
        or where three steps in a row have gained no more. Below 1e-8 it counts as 1e-8, as each smaller gain
        would take a pass or more.
    max_iter : most steps, each of a pass, or a few where it has to be shortened.

    Returns
    -------
    The minimum, without a curvature; it has converged also where no short step down the gradient gains.
    """
    rows, objective = problem.rows, problem.objective
    l1, l2, mask = float(objective.l1[0]) * objective.mask, float(objective.l2[0]), objective.mask

    def value(w: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = objective.gradient(rows, w)
        total = loss + 0.5 * l2 * float((w * mask) @ w) + float(l1 @ np.abs(w))
        return total, gradient + l2 * mask * w

    tol, rich = max(tol, _TOLD), shares_curvature(rows.view, objective)
    solve = _by_products(problem) if rich else _by_squares(problem)
    curvature = _Curvature(solve)
    minima, w, idle = Minima.start(start[None, :], held=False), start.copy(), 0
    count = 0  # where max_iter is
    total, gradient = value(w)
    for count in range(1, max_iter + 1):
        rows.view.run.tell("step", count, loss=total)
        if count == _SLOW and not rich and shares_curvature(rows.view, objective, count):
            curvature.solve = _by_products(problem)
        pull = _steepest(gradient, w, l1)
        step = -curvature.inverse(pull)
        if l1.any():
            step[step * pull >= 0] = 0.0
        gain = -0.5 * float(pull @ step)
        if not gain > tol * abs(total):
            minima.converged[0] = True
            break
        moved = _search(value, w, total, pull, step, l1)
        if moved is None:
            minima.converged[0] = not len(curvature)
            if not len(curvature):
                break
            curvature.forget()
            continue
        new, (below, after) = moved
        if float((new - w) @ (after - gradient)) > 0:
            curvature.learn(new - w, after - gradient)
        idle = idle + 1 if total - below <= tol * abs(total) else 0
        w, total, gradient = new, below, after
        if idle == _PATIENCE:
            minima.converged[0] = True
            break
    minima.w[0], minima.objective[0], minima.steps[0] = w, total, count
    return minima


def _steepest(gradient: np.ndarray, w: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """The gradient, where the absolute penalty has none the smallest of its subgradients."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0.0)
    return np.where(w != 0, gradient + l1 * np.sign(w), at_zero)


def _search(
    value: Callable[[np.ndarray], tuple[float, np.ndarray]],
    w: np.ndarray,
    total: float,
    pull: np.ndarray,
    step: np.ndarray,
    l1: np.ndarray,
) -> tuple[np.ndarray, tuple[float, np.ndarray]] | None:
    """The first of ever shorter steps that gains enough, and what is there."""
    signs, penalised = np.where(w != 0, np.sign(w), -np.sign(pull)), l1 > 0
    for halving in range(_HALVINGS):
        new = w + 0.5**halving * step
        new[penalised & (np.sign(new) != signs)] = 0.0
        found = value(new)
        if found[0] <= total + 1e-4 * float(pull @ (new - w)):
            return new, found
    return None


class _Curvature:
    """The inverse of the curvature: a guess of it, and what the last steps and changes of the gradient tell.

    Parameters
    ----------
    solve : the product of the guess with a vector; its size is scaled by the last step.
    """

    def __init__(self, solve: Solve) -> None:
        self.solve = solve
        self._pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_PAIRS)

    def __len__(self) -> int:
        return len(self._pairs)

    def forget(self) -> None:
        """All steps."""
        self._pairs.clear()

    def learn(self, step: np.ndarray, change: np.ndarray) -> None:
        """One more step, and how the gradient changed along it; the oldest is forgotten."""
        self._pairs.append((step, change))

    def inverse(self, gradient: np.ndarray) -> np.ndarray:
        """The product of the inverse with a gradient."""
        q, shares = gradient.copy(), []
        for s, y in reversed(self._pairs):
            shares.append(_product(s, q) / _product(s, y))
            q -= shares[-1] * y
        found = self.solve(q)
        if self._pairs:
            s, y = self._pairs[-1]
            found *= _product(s, y) / _product(y, self.solve(y))
        for (s, y), share in zip(self._pairs, reversed(shares), strict=True):
            found += (share - _product(y, found) / _product(s, y)) * s
        return found


def _product(a: np.ndarray, b: np.ndarray) -> float:
    """Of two vectors, without BLAS, whose threads take longer to wake than these take to multiply."""
    return float(np.einsum("i,i", a, b))


def _by_squares(problem: Problem) -> Solve:
    """The inverse of about the curvature, each parameter by itself."""
    objective, spread = problem.objective, problem.spread
    mask = objective.mask.reshape(objective.scores, -1)
    squares = np.append(spread, 1.0) if objective.intercept else spread
    curve = problem.bend[:, None] * squares + float(objective.l2[0]) * mask
    inverse = (1 / np.where(curve > 0, curve, 1.0)).ravel()
    return lambda v: v * inverse


def _by_products(problem: Problem) -> Solve:
    """The inverse of about the curvature, each score by itself: its share of the products of the features."""
    rows, objective, bend = problem.rows, problem.objective, problem.bend
    mask = objective.mask.reshape(objective.scores, -1)
    step = max(1, rows.view.rows // max(THIN_ROWS, THIN_SIZES * objective.side))
    some = rows.thinned(step) if step > 1 else rows
    plain = replace(objective, loss=Squared(), factors=None)
    zeros = np.zeros((1, plain.size))
    products = some.reduce(lambda block: plain.sums(some, block, zeros, _ONE, _ONE))[2][0, 0]
    products /= products[-1, -1] if objective.intercept else some.view.rows
    curve = products + np.diag((float(objective.l2[0]) / bend.mean() * mask[0]) + 1e-12)
    curve[np.diag_indices_from(curve)] *= 1 + 1e-10
    inverse = scipy.linalg.inv(curve, check_finite=False)  # a guess needs few digits, and is used often

    def solve(v: np.ndarray) -> np.ndarray:
        return (v.reshape(objective.scores, -1) @ inverse / bend[:, None]).ravel()

    return solve
