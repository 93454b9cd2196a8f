"""The minimum of a penalised loss: by the method that is cheapest for rows, parameters and penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outgrow.engine.folded import FoldedView
from outgrow.ml.solvers.cost import by_newton
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets
from outgrow.ml.solvers.problem import Problem
from outgrow.ml.solvers.quasi_newton import quasi_newton
from outgrow.ml.solvers.working_set import on_working_sets, pays

Parameters = tuple[np.ndarray, np.ndarray]
"""Coefficients of shape (scores, features), and intercepts of shape (scores,)."""

PASSES = 50
"""Of Newton's method: where rows lie where the loss bends and where not by turns, L-BFGS goes on."""


def minimum(
    rows: FoldedView,
    objective: Objective,
    *,
    bend: np.ndarray,
    tol: float,
    max_iter: int,
    begin: Parameters | None = None,
    constants: np.ndarray | None = None,
) -> tuple[Minima, Offsets]:
    """Minimise the loss plus the penalty: of one candidate, or of several where `by_newton` says so.

    Parameters
    ----------
    rows : the matrix with its folds; a single candidate learns from all rows where `by_newton` says no.
    objective : the candidates.
    bend : ndarray of shape (scores,), about how much the scores of all rows bend the loss.
    tol : a share of the objective; each method says where it ends.
    max_iter : most steps.
    begin : where to begin; by default where the method finds best.
    constants : ndarray of shape (scores,), intercepts to begin with where `begin` says nothing; else 0.

    Returns
    -------
    The minima, and what was subtracted from the features to get there.
    """
    if by_newton(rows.view, objective):
        return newton(rows, objective, begin=begin, tol=tol, max_iter=max_iter)
    offsets = Offsets.of(rows.view, intercept=objective.intercept)
    shifted = replace(rows, view=offsets.apply(rows.view))
    if begin is None:
        none = np.zeros((objective.scores, objective.width))
        start = objective.pack(none, np.zeros(objective.scores) if constants is None else constants)
    else:
        start = objective.pack(begin[0], offsets.hide(*begin))
    method = on_working_sets if pays(rows.view, objective) else quasi_newton
    problem = Problem(shifted, objective, offsets.spread**2, bend)
    return method(problem, start, tol=tol, max_iter=max_iter), offsets


def settled(
    rows: FoldedView,
    objective: Objective,
    *,
    bend: np.ndarray,
    tol: float,
    max_iter: int,
    constants: np.ndarray | None = None,
) -> tuple[Minima, Offsets]:
    """The minimum of a loss that bends only where some rows are: if Newton's method does not end, by L-BFGS.

    Parameters
    ----------
    rows, objective, bend, tol, max_iter, constants : as for `minimum`.

    Returns
    -------
    The minima, and what was subtracted from the features to get there; those of several candidates are what
    Newton's method finds.
    """
    alone = len(objective.folds) == 1 and by_newton(rows.view, objective)
    few = min(max_iter, PASSES) if alone else max_iter
    minima, offsets = minimum(rows, objective, bend=bend, tol=tol, max_iter=few, constants=constants)
    if few == max_iter or minima.converged[0]:
        return minima, offsets
    shifted = replace(rows, view=offsets.apply(rows.view))
    problem = Problem(shifted, objective, offsets.spread**2, bend)
    return quasi_newton(problem, minima.w[0], tol=tol, max_iter=max_iter), offsets
