"""Newton's method on sums over rows: each step is one pass that returns loss, gradient and curvature.

With an absolute penalty the quadratic model of each step is minimised together with it (proximal Newton; Lee,
Sun and Saunders 2014). The first steps are made on a thin, evenly spaced part of the rows: they only choose
where the steps over all rows begin. Near the minimum, where the curvature hardly changes, each serves two
steps, and every other pass computes the gradient alone (Shamanskii 1967).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.linalg

from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.descent import lasso_quadratic
from outgrow.ml.solvers.likelihood import Likelihood
from outgrow.ml.solvers.offsets import Offsets

THIN = 32
THIN_ROWS = 2_000
_NEAR = 1e-3
"""Of the objective: a step that gains less ends near enough to the minimum to keep its curvature."""
_BACKTRACK = 0.5 ** np.arange(1, 13)


@dataclass(frozen=True)
class Penalty:
    """l1 * sum |w| + ½ l2 * sum w², over the parameters where `mask` is 1."""

    l1: float
    l2: float
    mask: np.ndarray

    def value(self, w: np.ndarray) -> float:
        kept = w * self.mask
        return self.absolute(w) + 0.5 * self.l2 * float(kept @ kept)

    def absolute(self, w: np.ndarray) -> float:
        return float(self.l1 * np.abs(w * self.mask).sum())

    def scaled(self, factor: float) -> Penalty:
        return Penalty(self.l1 * factor, self.l2 * factor, self.mask)


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended; `curvature` is the last matrix of second derivatives, without penalty."""

    parameters: np.ndarray
    objective: float
    steps: int
    converged: bool
    curvature: np.ndarray | None = None


def newton(
    view: MatrixView,
    likelihood: Likelihood,
    penalty: Penalty,
    *,
    tol: float,
    max_iter: int,
    begin: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Minimum, Offsets]:
    """Minimise the loss over all rows plus the penalty, from coefficients and intercepts or from zero.

    Steps and when they end do not depend on the units of the features, nor on the offsets, which are
    subtracted: the minimum is that of features without them.
    """
    start, held = np.zeros(likelihood.size), None
    many = begin is None and view.rows // THIN >= max(THIN_ROWS, 20 * likelihood.size)
    some = view.thinned(THIN) if many else view
    offsets = Offsets.of(some, intercept=likelihood.intercept)
    if begin is not None:
        start = likelihood.pack(begin[0], offsets.hide(*begin))
    if many:
        rough = _descend(
            offsets.apply(some),
            likelihood,
            penalty.scaled(1 / THIN),
            start,
            None,
            tol=1e-6,
            max_iter=max_iter,
        )
        start = rough.parameters
        if rough.converged and rough.curvature is not None:
            held = THIN * rough.curvature
    found = _descend(offsets.apply(view), likelihood, penalty, start, held, tol=tol, max_iter=max_iter)
    return found, offsets


def _descend(
    view: MatrixView,
    likelihood: Likelihood,
    penalty: Penalty,
    w: np.ndarray,
    held: np.ndarray | None,
    *,
    tol: float,
    max_iter: int,
) -> Minimum:
    """Steps from `w`; `held` is the curvature near there, if known."""
    previous, step, H = np.inf, np.zeros_like(w), held
    for count in range(1, max_iter + 1):
        fresh = held is None
        if fresh:
            sums, H = view.reduce(partial(likelihood.curvature, parameters=w))
        else:
            sums = view.reduce(partial(likelihood.gradient, parameters=w))
        assert H is not None
        objective = float(sums[0]) + penalty.value(w)
        if objective > previous + 1e-9 * abs(previous):
            w = _shorten(view, likelihood, penalty, w - step, step)
            previous, step, held = np.inf, np.zeros_like(w), None
            continue
        step, gain = _step(H, sums[1:], likelihood.gauge(), penalty, w)
        previous = objective
        w = w + step
        share = gain / max(abs(objective), np.finfo(np.float64).tiny)
        held = H if fresh and share <= _NEAR else None
        view.run.tell("step", count, loss=objective)
        if share <= tol:
            return Minimum(w, objective - gain, count, True, H)
    return Minimum(w, previous, max_iter, False, H)


def _step(
    H: np.ndarray, gradient: np.ndarray, gauge: np.ndarray | None, penalty: Penalty, w: np.ndarray
) -> tuple[np.ndarray, float]:
    """The step to the minimum of the quadratic model, and the gain it promises."""
    g = gradient + penalty.l2 * penalty.mask * w
    H = definite(H + np.diag(penalty.l2 * penalty.mask), gauge)
    if penalty.l1:
        target, _ = lasso_quadratic(H, H @ w - g, penalty.l1 * penalty.mask, w, tol=1e-13, max_sweeps=5_000)
        step = target - w
        model = g @ step + 0.5 * step @ H @ step
        return step, float(penalty.absolute(w) - penalty.absolute(target) - model)
    size = np.sqrt(np.diag(H))
    size[size == 0] = 1.0
    H, g = H / size[:, None] / size, g / size
    H[np.diag_indices_from(H)] = 1.0
    try:
        step = -scipy.linalg.cho_solve((scipy.linalg.cholesky(H), False), g)
    except scipy.linalg.LinAlgError:
        step = -np.linalg.pinv(H, hermitian=True) @ g
    return step / size, float(-0.5 * g @ step)


def definite(H: np.ndarray, gauge: np.ndarray | None) -> np.ndarray:
    """Matrices of second derivatives (..., size, size) made positive definite, but for rounding.

    What is added to each diagonal entry is a share of that entry, and along the gauge one of those that it
    connects, so the units of the parameters do not matter.
    """
    H = H.copy()
    diagonal = np.arange(H.shape[-1])
    if gauge is not None:
        connected = gauge > 0
        mean = np.einsum("...jj->...j", H) @ connected / connected.sum(axis=0)
        H += gauge * mean[..., None, :]
    H[..., diagonal, diagonal] *= 1 + 1e-14
    return H


def _shorten(
    view: MatrixView, likelihood: Likelihood, penalty: Penalty, w: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """The best of some shorter steps, all tried in one pass."""
    candidates = w + _BACKTRACK[:, None] * step
    losses = view.reduce(lambda block: likelihood.losses(block, candidates))
    totals = losses + [penalty.value(candidate) for candidate in candidates]
    return candidates[int(np.argmin(totals))]
