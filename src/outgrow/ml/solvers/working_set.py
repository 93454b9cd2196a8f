"""Minima with an absolute penalty, of which most coefficients are zero: only some columns are worked on.

The columns whose coefficients are not zero, or should not be, are copied, and the minimum over them is found
by whatever is cheapest for so few. A pass over all columns then tells which others gain by leaving zero
(Johnson and Guestrin 2015; Massias, Gramfort and Salmon 2018).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.cost import by_newton, thinning
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.quasi_newton import quasi_newton

LEAST_COLUMNS = 256
"""With fewer columns, leaving some out saves less than finding them costs."""
_FIRST, _GROWTH = 128, 2
"""Columns to begin with, and how many times as many as have left zero there may be next."""
_ROUGH, _SHARE = 1e-5, 0.01
"""Of the objective: how near the minimum over thinned rows is looked for. And which share of what other
columns may gain is left to gain over the columns that are worked on."""
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


def on_working_sets(
    rows: FoldedView,
    objective: Objective,
    *,
    spread: np.ndarray,
    bend: np.ndarray,
    tol: float,
    max_iter: int,
    start: np.ndarray,
) -> Minima:
    """Minimise the loss over all rows plus the penalty, of one candidate.

    Parameters
    ----------
    rows : the matrix, without offsets.
    objective : of one candidate with an absolute penalty.
    spread : ndarray of shape (width,), the mean square of each feature.
    bend : ndarray of shape (scores,), about how much the scores of all rows bend the loss.
    tol : it ends where all columns together are expected to gain no more than this share of the objective;
        below 1e-9 it counts as 1e-9.
    max_iter : most steps over the columns that are worked on, each time.
    start : ndarray of shape (size,), the parameters to begin with.

    Returns
    -------
    The minimum, without a curvature.
    """
    tol, table, steps = max(tol, _NOTICED), start.reshape(objective.scores, -1).copy(), 0
    step = thinning(rows.view.rows, objective.size)
    if step > 1:
        part, rough = rows.thinned(step), replace(objective, l1=objective.l1 / step, l2=objective.l2 / step)
        table = on_working_sets(
            part, rough, spread=spread, bend=bend / step, tol=_ROUGH, max_iter=max_iter, start=start
        ).w.reshape(table.shape)
    found: Minima | None = None
    converged, total, chosen = False, np.inf, np.zeros(0, dtype=np.intp)
    for _ in range(_ROUNDS):
        total, gains = _looked_at(rows, objective, table, spread, bend)
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
        found = _over(rows, objective, table, chosen, spread, bend, min(near, 1e-3), max_iter)
        steps += int(found.steps[0])
        table[:, : objective.width] = 0.0
        own = found.w.reshape(objective.scores, -1)
        table[:, chosen], table[:, objective.width :] = own[:, : len(chosen)], own[:, len(chosen) :]
    minima = Minima.start(table.reshape(1, -1), held=False)
    minima.objective[0], minima.steps[0], minima.converged[0] = total, steps, converged
    return minima


def _looked_at(
    rows: FoldedView, objective: Objective, table: np.ndarray, spread: np.ndarray, bend: np.ndarray
) -> tuple[float, np.ndarray]:
    """The objective, and what each column would gain by itself; one pass over all columns."""
    loss, gradient = objective.gradient(rows, table.ravel())
    total = loss + float(objective.penalty(table.reshape(1, -1), np.zeros(1, dtype=np.intp))[0])
    coef = table[:, : objective.width]
    l1, l2 = float(objective.l1[0]), float(objective.l2[0])
    slope = gradient.reshape(table.shape)[:, : objective.width] + l2 * coef
    over = np.where(coef == 0, np.maximum(np.abs(slope) - l1, 0.0), np.abs(slope + l1 * np.sign(coef)))
    curve = bend[:, None] * spread + l2
    gains = np.divide(over**2, 2 * curve, out=np.zeros_like(over), where=curve > 0)
    return total, gains.sum(axis=0)


def _over(
    rows: FoldedView,
    objective: Objective,
    table: np.ndarray,
    chosen: np.ndarray,
    spread: np.ndarray,
    bend: np.ndarray,
    tol: float,
    max_iter: int,
) -> Minima:
    """The minimum over some columns, the others being zero."""
    part = FoldedView.whole(rows.view.selected(chosen))
    own = replace(objective, width=len(chosen))
    coef, constants = objective.unpack(table.ravel())
    if by_newton(part.view, own):
        begin = (coef[:, chosen], constants)
        minima, offsets = newton(part, own, tol=tol, max_iter=max_iter, begin=begin)
        back, shifted = own.unpack(minima.w[0])
        minima.w[0] = own.pack(back, offsets.restore(back, shifted))
    else:
        start = own.pack(coef[:, chosen], constants)
        minima = quasi_newton(
            part, own, spread=spread[chosen], bend=bend, tol=tol, max_iter=max_iter, start=start
        )
    part.view.tiles.release()
    return minima
