"""L-BFGS for models with too many parameters for a matrix of second derivatives, one gradient a pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.linalg

from outgrow.ml.solvers.cost import THIN_ROWS, THIN_SIZES, shares_curvature
from outgrow.ml.solvers.losses import Squared
from outgrow.ml.solvers.newton import Minima
from outgrow.ml.solvers.objective import Objective
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
_SMALL = 1 << 18
"""Numbers that are multiplied by one thread."""
_ONE = np.zeros(1, dtype=np.intp)


def quasi_newton(problem: Problem, start: np.ndarray, *, tol: float, max_iter: int) -> Minima:
    """Minimise the loss over all rows plus the penalty, of one candidate.

    With an absolute penalty no step changes the sign of a parameter (Andrew and Gao 2007). Only zeros have to
    leave along the steepest way: others may turn (Gong and Ye 2015), else steps among features that depend on
    each other are too long, and are shortened again and again.

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
        shrunk = w * mask
        shrunk *= l2
        total = loss + 0.5 * float(shrunk @ w) + (float(l1 @ np.abs(w)) if absolute else 0.0)
        return total, np.add(gradient, shrunk, out=shrunk)

    absolute = bool(l1.any())
    tol, rich = max(tol, _TOLD), shares_curvature(rows.view, objective)
    balanced = _balanced(objective)
    solve = _by_products(problem) if rich else _by_squares(problem)
    curvature = _Curvature(_within(solve, balanced), len(start))
    minima, w, idle = Minima.start(start[None, :], held=False), balanced(start.copy()), 0
    count = 0  # where max_iter is
    total, gradient = value(w)
    for count in range(1, max_iter + 1):
        rows.view.run.tell("step", count, loss=total)
        if count == _SLOW and not rich and shares_curvature(rows.view, objective, count):
            curvature.guess(_within(_by_products(problem), balanced))
        pull = _steepest(gradient, w, l1) if absolute else gradient
        free = (w != 0) | (pull != 0)
        step = -(curvature if free.all() else curvature.over(free)).inverse(pull)
        if absolute:
            step[(w == 0) & (step * pull >= 0)] = 0.0
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
        taken, change = new - w, after - gradient
        if float(taken @ change) > 0:
            curvature.learn(taken, change)
        idle = idle + 1 if total - below <= tol * abs(total) else 0
        w, total, gradient = new, below, after
        if idle == _PATIENCE:
            minima.converged[0] = True
            break
    minima.w[0], minima.objective[0], minima.steps[0] = w, total, count
    return minima


def _balanced(objective: Objective) -> Solve:
    """Takes from the scores of each feature what they have in common, which the loss does not see.

    A squared penalty has its minimum where there is none, and bends so little along it that steps, which look
    for the minimum along all ways, would take hundreds of passes to find that.
    """
    if objective.scores == 1 or objective.l1.any():
        return lambda v: v

    def balance(v: np.ndarray) -> np.ndarray:
        table = v.reshape(objective.scores, -1)
        return (table - table.mean(axis=0)).ravel()

    return balance


def _within(solve: Solve, balanced: Solve) -> Solve:
    """About the inverse of the curvature, between vectors that are balanced: of many classes the exact one.

    Where each class has its own share p of a curvature diag(p) - pp', that is the pseudo-inverse of it.
    """
    return lambda v: balanced(solve(balanced(v)))


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
    penalised = l1 > 0
    signs = np.where(w != 0, np.sign(w), -np.sign(pull)) if penalised.any() else None
    for halving in range(_HALVINGS):
        new = w + 0.5**halving * step
        if signs is not None:
            new[penalised & (np.sign(new) != signs)] = 0.0
        found = value(new)
        if found[0] <= total + 1e-4 * float(pull @ (new - w)):
            return new, found
    return None


class _Curvature:
    """The inverse of the curvature: a guess of it, and what the last steps and changes of the gradient tell.

    Steps and changes are rows of two matrices, and an inverse a few products with these (the compact form of
    Byrd, Nocedal and Schnabel 1994), which reads them half as often as one pair after the other would.

    Parameters
    ----------
    solve : the product of the guess with a vector; its size is scaled by the last step.
    size : of vectors.
    """

    def __init__(self, solve: Solve, size: int) -> None:
        self._solve = solve
        self._steps, self._changes = np.empty((2, _PAIRS, size))
        self._order: list[int] = []
        self._mixed = np.zeros((_PAIRS, _PAIRS))
        """Products of steps and changes that are not older."""
        self._squares = np.zeros((_PAIRS, _PAIRS))
        """Products of changes, the guess between them."""

    def __len__(self) -> int:
        return len(self._order)

    def forget(self) -> None:
        """All steps."""
        self._order.clear()

    def guess(self, solve: Solve) -> None:
        """Take another guess, and keep the steps."""
        self._solve = solve
        for row in self._order:
            self._square(row)

    def learn(self, step: np.ndarray, change: np.ndarray) -> None:
        """One more step, and how the gradient changed along it; the oldest is forgotten."""
        row = self._order.pop(0) if len(self._order) == _PAIRS else len(self._order)
        self._order.append(row)
        self._steps[row], self._changes[row] = step, change
        known = len(self._order)
        self._mixed[:known, row] = _products(self._steps[:known], change)
        self._square(row)

    def over(self, free: np.ndarray) -> _Curvature:
        """The same where only some coordinates may move; an inverse goes too far, as if the others followed.

        Parameters
        ----------
        free : ndarray of bool of shape (size,).
        """
        part = _Curvature(self._solve, len(free))
        for row in self._order:
            step, change = self._steps[row] * free, self._changes[row] * free
            if float(step @ change) > 0:
                part.learn(step, change)
        return part

    def _square(self, row: int) -> None:
        known = len(self._order)
        products = _products(self._changes[:known], self._solve(self._changes[row]))
        self._squares[:known, row] = self._squares[row, :known] = products

    def inverse(self, gradient: np.ndarray) -> np.ndarray:
        """The product of the inverse with a gradient."""
        guessed = self._solve(gradient)
        if not self._order:
            return guessed
        order, known = self._order, len(self._order)
        steps, changes = self._steps[:known], self._changes[:known]
        mixed, squares = self._mixed[np.ix_(order, order)], self._squares[np.ix_(order, order)]
        scale = mixed[-1, -1] / squares[-1, -1]
        of_changes = np.empty(known)
        of_changes[order] = -_solved(mixed, _products(steps, gradient)[order])
        inner = np.diag(mixed) * of_changes[order] + scale * (squares @ of_changes[order])
        of_steps = np.empty(known)
        of_steps[order] = -_solved(mixed, inner + scale * _products(changes, guessed)[order], transposed=True)
        found = guessed + self._solve(_products(changes.T, of_changes))
        found *= scale
        found += _products(steps.T, of_steps)
        return found


def _solved(upper: np.ndarray, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    """What an upper triangle, or its transpose, multiplied to the right side; below it nothing counts."""
    return scipy.linalg.solve_triangular(upper, right, trans=1 if transposed else 0, check_finite=False)


def _products(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Of a matrix and a vector, without BLAS, whose threads take longer to wake than few take to multiply."""
    return np.einsum("ij,j", matrix, vector) if matrix.size < _SMALL else matrix @ vector


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
