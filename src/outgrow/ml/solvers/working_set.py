"""Minima with an absolute penalty, of which most coefficients are zero: only some columns are worked on.

The columns whose coefficients are not zero, or should not be, are copied, and the minimum over them is found
by whatever is cheapest for so few. A pass over all columns then tells which others gain by leaving zero
(Johnson and Guestrin 2015; Massias, Gramfort and Salmon 2018).
"""

from __future__ import annotations

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.cost import by_newton, thinning
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.problem import Problem
from outgrow.ml.solvers.quasi_newton import quasi_newton

LEAST_COLUMNS = 256
"""With fewer columns, leaving some out saves less than finding them costs."""
_FIRST, _GROWTH = 128, 4
"""Columns to begin with, and how many times as many as have left zero there may be next."""
_ROUGH, _SHARE = 1e-5, 0.01
"""Of the objective: how near the minimum over thinned rows is looked for. And which share of what other
columns may gain is left to gain over the columns that are worked on."""
_NEAR = 1e-6
"""Of the objective: a minimum that is looked for no nearer than this takes few steps by any method."""
_NOTICED = 1e-9
"""Of the objective: gains below this share are not looked for, as each would take a pass or more."""
_ROUNDS = 50


def pays(view: MatrixView, objective: Objective) -> bool:
    """Whether a minimum is to be looked for among some columns, where Newton's method over all takes longer.

    Parameters
    ----------
    view : the rows that are fitted.
    objective : of one candidate.
    """
    return bool(objective.l1[0] > 0) and view.width >= LEAST_COLUMNS


def on_working_sets(problem: Problem, start: np.ndarray, *, tol: float, max_iter: int) -> Minima:
    """Minimise the loss over all rows plus the penalty, of one candidate.

    Parameters
    ----------
    problem : its rows, its objective with an absolute penalty, and about its curvature.
    start : ndarray of shape (size,), the parameters to begin with.
    tol : it ends where all columns together are expected to gain no more than this share of the objective;
        below 1e-9 it counts as 1e-9.
    max_iter : most steps over the columns that are worked on, each time.

    Returns
    -------
    The minimum, without a curvature.
    """
    objective = problem.objective
    tol, table, steps = max(tol, _NOTICED), start.reshape(objective.scores, -1).copy(), 0
    step = thinning(problem.rows.view.rows, objective.size)
    if step > 1:
        rough = on_working_sets(problem.thinned(step), start, tol=_ROUGH, max_iter=max_iter)
        table = rough.w.reshape(table.shape)
    found: Minima | None = None
    converged, total, chosen = False, np.inf, np.zeros(0, dtype=np.intp)
    for _ in range(_ROUNDS):
        total, gains = _looked_at(problem, table)
        active = np.flatnonzero((table[:, : objective.width] != 0).any(axis=0))
        waiting = np.setdiff1d(np.flatnonzero(gains > 0), chosen)
        gain = float(gains[waiting].sum())
        if found is not None and gain <= tol * abs(total):
            converged = bool(found.converged[0])
            break
        most = max(_FIRST, _GROWTH * len(active)) - len(active)
        best = waiting[np.argsort(-gains[waiting], kind="stable")[: max(most, _FIRST)]]
        chosen = np.union1d(active, best)
        near = max(tol, _SHARE * gain / max(abs(total), np.finfo(float).tiny))
        found = _over(problem, table, chosen, min(near, 1e-3), max_iter)
        steps += int(found.steps[0])
        table[:, : objective.width] = 0.0
        own = found.w.reshape(objective.scores, -1)
        table[:, chosen], table[:, objective.width :] = own[:, : len(chosen)], own[:, len(chosen) :]
    minima = Minima.start(table.reshape(1, -1), held=False)
    minima.objective[0], minima.steps[0], minima.converged[0] = total, steps, converged
    return minima


def _looked_at(problem: Problem, table: np.ndarray) -> tuple[float, np.ndarray]:
    """The objective, and what each column would gain by itself; one pass over all columns."""
    objective = problem.objective
    loss, gradient = objective.gradient(problem.rows, table.ravel())
    total = loss + float(objective.penalty(table.reshape(1, -1), np.zeros(1, dtype=np.intp))[0])
    coef = table[:, : objective.width]
    l1, l2 = float(objective.l1[0]), float(objective.l2[0])
    slope = gradient.reshape(table.shape)[:, : objective.width] + l2 * coef
    over = np.where(coef == 0, np.maximum(np.abs(slope) - l1, 0.0), np.abs(slope + l1 * np.sign(coef)))
    curve = problem.bend[:, None] * problem.spread + l2
    gains = np.divide(over**2, 2 * curve, out=np.zeros_like(over), where=curve > 0)
    return total, gains.sum(axis=0)


def _over(problem: Problem, table: np.ndarray, chosen: np.ndarray, tol: float, max_iter: int) -> Minima:
    """The minimum over some columns, the others being zero."""
    part = problem.over(chosen)
    rows, own = part.rows, part.objective
    coef, constants = problem.objective.unpack(table.ravel())
    if by_newton(rows.view, own, near=rows.view.sparse or tol > _NEAR):
        begin = (coef[:, chosen], constants)
        minima, offsets = newton(rows, own, tol=tol, max_iter=max_iter, begin=begin)
        back, shifted = own.unpack(minima.w[0])
        minima.w[0] = own.pack(back, offsets.restore(back, shifted))
    else:
        minima = quasi_newton(part, own.pack(coef[:, chosen], constants), tol=tol, max_iter=max_iter)
    rows.view.tiles.release()
    return minima
