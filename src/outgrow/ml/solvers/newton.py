"""Newton's method on sums over rows, for many candidates at once: settings of a model, and folds of the rows.

The rows are thinned, and thinned again. The fewest are where the method begins; a level up, where the level
below ended, with its curvature. So over all rows little is left to do. What each pass says of the curvature
along its step is added to it (BFGS), and it is computed anew where that costs less than the passes that it is
expected to save. With an absolute penalty the quadratic model of each step is minimised together with it
(proximal Newton; Lee, Sun and Saunders 2014).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from outgrow.engine.folded import FoldedView
from outgrow.ml.solvers.cost import Cost, thinning
from outgrow.ml.solvers.descent import lasso_quadratic
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets

_ROUGH = 1e-7
"""Of the objective: how near the minimum over thinned rows is looked for."""
_NEAR = 1e-3
"""Of the objective: a step that gains less ends where the curvature hardly changes any more."""
_FAR_RATIO, _NEAR_RATIO = 0.3, 0.05
"""What a step is expected to gain, as a share of what the one before it gained."""
_LEFT = 1e-2
"""A step leaves no less of its gain than this share, for all that is assumed."""
_ENOUGH = 2.0
"""Passes that are left with a curvature that is computed anew."""
_CHEAP = 0.1
"""Passes that a curvature costs where it is computed anew at each step, whatever that saves."""
_HALVINGS = 30


@dataclass(eq=False)
class Minima:
    """Where the minimisations stand: arrays with an entry for each candidate.

    Attributes
    ----------
    w : ndarray of shape (candidates, size).
    H : ndarray of shape (candidates, size, size), the curvature, without the penalty.
    known : ndarray of bool of shape (candidates,), whether H is.
    objective : what each has reached, penalty included; infinite before the first pass.
    steps : how many each has taken over these rows.
    converged : whether each has ended by its tolerance.
    """

    w: np.ndarray
    H: np.ndarray
    known: np.ndarray
    objective: np.ndarray
    steps: np.ndarray
    converged: np.ndarray

    @classmethod
    def start(cls, w: np.ndarray, *, held: bool = True) -> Minima:
        """Before the first pass: nothing is known of the objective.

        Parameters
        ----------
        w : ndarray of shape (candidates, size), the parameters to begin with, copied.
        held : whether there is room for the curvatures; without it H is empty.
        """
        count, size = w.shape
        return cls(
            w.copy(),
            np.zeros((count, size, size) if held else (0, 0, 0)),
            np.zeros(count, bool),
            np.full(count, np.inf),
            np.zeros(count, int),
            np.zeros(count, bool),
        )


def newton(
    rows: FoldedView,
    objective: Objective,
    *,
    tol: float,
    max_iter: int,
    begin: tuple[np.ndarray, np.ndarray] | None = None,
    constants: np.ndarray | None = None,
) -> tuple[Minima, Offsets]:
    """Minimise each candidate's loss over its fold plus its penalty.

    Steps and when they end do not depend on the units of the features, nor on the offsets, which are
    subtracted: the minima are those of features without them.

    Parameters
    ----------
    rows : the matrix with its folds.
    objective : the candidates.
    tol : a candidate ends when a step is expected to leave less to gain than this share of its objective;
        the step is still made. Over thinned rows it is 1e-7 instead.
    max_iter : most passes of the method over all rows, and as many over those of each thinning.
    begin : coefficients (scores, features) and intercepts to begin with; by default where the method ends
        over thinned rows, and there zeros.
    constants : intercepts of shape (candidates, scores) to begin with in place of zeros, where a loss knows
        no scores of zero.

    Returns
    -------
    The minima, and what was subtracted from the features to get there.
    """
    step = thinning(rows.view.rows, objective.size) if begin is None else 1
    offsets = Offsets.of(rows.view.thinned(step) if step > 1 else rows.view, intercept=objective.intercept)
    shifted = replace(rows, view=offsets.apply(rows.view))
    start = np.zeros((len(objective.folds), objective.size))
    if constants is not None and objective.intercept:
        start[:, objective.side - 1 :: objective.side] = constants
    if begin is not None:
        start[:] = objective.pack(begin[0], offsets.hide(*begin))
    return _minima(shifted, objective, Minima.start(start), tol, max_iter, thins=begin is None), offsets


def _minima(
    rows: FoldedView,
    objective: Objective,
    minima: Minima,
    tol: float,
    max_iter: int,
    scale: float = 1.0,
    *,
    thins: bool,
) -> Minima:
    """The minima where each row stands for `scale` rows."""
    step = thinning(rows.view.rows, objective.size) if thins else 1
    if step > 1:
        start = minima.w.copy()
        rough = _minima(rows.thinned(step), objective, minima, _ROUGH, max_iter, scale * step, thins=True)
        good = rough.converged
        minima = Minima.start(np.where(good[:, None], rough.w, start))
        minima.H[good], minima.known[good] = rough.H[good], True
    descent = _Descent(rows, objective, scale, minima)
    descent.run(tol, max_iter)
    if scale > 1 and descent.price < 2 * _ENOUGH:
        descent.curve()
    return minima


class _Descent:
    """Steps of all candidates over the same rows."""

    def __init__(self, rows: FoldedView, objective: Objective, scale: float, minima: Minima) -> None:
        cost = Cost.of(rows.view, objective)
        self.rows = rows
        self.objective = objective
        self.scale = scale
        self.minima = minima
        self.price = cost.curvature / cost.gradient
        self.base = minima.w.copy()
        self.gradient = np.zeros_like(minima.w)
        self.step = np.zeros_like(minima.w)
        self.gain = np.full(len(minima.w), np.inf)
        self.halvings = np.zeros(len(minima.w), int)

    def run(self, tol: float, max_iter: int) -> None:
        """Step until no candidate can gain more than `tol` of its objective."""
        minima, left, wanted = self.minima, np.arange(len(self.minima.w)), ~self.minima.known
        for count in range(1, max_iter + 1):
            fresh = wanted.copy()
            losses, gradients = self._sums(left, fresh[left])
            totals = losses + self.objective.penalty(minima.w[left], left)
            before, least = minima.objective[left], float(totals.min())
            fell = totals <= before + np.where(np.isfinite(before), 1e-9 * np.abs(before), 0.0)
            going = left
            if not fell.all():
                self._go_back(left[~fell])
                wanted[left[~fell]] = True
                going, gradients, totals = left[fell], gradients[fell], totals[fell]
            known = ~fresh[going]
            if count > 1 and known.any():
                self._learn(going[known], gradients[known])
            self.gradient[going] = gradients
            self._advance(going, totals, fresh, wanted, tol)
            self.rows.view.run.tell("step", count, loss=least)
            left = left[~minima.converged[left] & (self.halvings[left] <= _HALVINGS)]
            if not len(left):
                return

    def curve(self) -> None:
        """The curvature where each has ended."""
        everyone = np.arange(len(self.minima.w))
        self._sums(everyone, np.ones(len(everyone), bool))

    def _sums(self, which: np.ndarray, curved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and gradients of some candidates; curvatures of those `curved` are noted."""
        objective, rows, table = self.objective, self.rows, self.minima.w[which]
        places = np.flatnonzero(curved)
        losses, gradients, bends = rows.reduce(
            lambda block: objective.sums(rows, block, table, which, places)
        )
        if len(places):
            self.minima.H[which[places]] = self.scale * objective.unfolded(bends)
            self.minima.known[which[places]] = True
        return self.scale * losses, self.scale * gradients

    def _go_back(self, which: np.ndarray) -> None:
        """Shorter steps from where the objective last fell."""
        self.step[which] *= 0.25
        self.minima.w[which] = self.base[which] + self.step[which]
        self.halvings[which] += 1
        self.gain[which] = np.inf

    def _learn(self, which: np.ndarray, gradients: np.ndarray) -> None:
        """Let the curvature agree with how the gradient has changed along the last step."""
        s, y = self.step[which], gradients - self.gradient[which]
        Hs = np.einsum("cij,cj->ci", self.minima.H[which], s)
        bent, was = np.einsum("ci,ci->c", s, y), np.einsum("ci,ci->c", s, Hs)
        good = (bent > 1e-3 * was) & (was > 0)
        which, y, Hs, bent, was = which[good], y[good], Hs[good], bent[good], was[good]
        self.minima.H[which] += np.einsum("ci,cj->cij", y, y / bent[:, None])
        self.minima.H[which] -= np.einsum("ci,cj->cij", Hs, Hs / was[:, None])

    def _advance(
        self, which: np.ndarray, totals: np.ndarray, fresh: np.ndarray, wanted: np.ndarray, tol: float
    ) -> None:
        """Step on, and note which candidates are done."""
        minima, at = self.minima, self.minima.w[which]
        self.base[which] = at
        step, gain = _steps(self.objective, minima.H[which], self.gradient[which], at, which)
        lost = ~(fresh[which] | (gain >= 0))  # a curvature that was put together need not be one
        if lost.any():
            step[lost], gain[lost] = 0.0, np.inf
        self.step[which] = step
        minima.w[which] = at + step
        minima.steps[which] += 1
        share = gain / np.maximum(np.abs(totals), np.finfo(np.float64).tiny)
        before = self.gain[which]
        ratio, first = gain / before, ~np.isfinite(before)
        self.gain[which] = gain
        # a step leaves about the share of its gain that the step before it left of its own
        left = np.where(~first & (ratio <= 0.1), np.maximum(ratio, _LEFT), 1.0)
        done = share * left <= tol
        minima.objective[which] = totals - np.where(done, gain, 0.0)
        minima.converged[which] = done
        if not done.all():
            cheap = self.price < _CHEAP
            wanted[which] = cheap or lost | (self._passes(share, ratio, first, tol) - _ENOUGH > self.price)

    def _passes(self, share: np.ndarray, ratio: np.ndarray, first: np.ndarray, tol: float) -> np.ndarray:
        """How many more passes each candidate is expected to take with the curvature it has."""
        guess = np.where(share > _NEAR, _FAR_RATIO, _NEAR_RATIO)
        pace = np.where(first, guess, np.clip(ratio, _LEFT, 0.9))
        with np.errstate(divide="ignore", invalid="ignore"):
            passes = np.log(np.maximum(share, tol) / max(tol, 1e-16)) / -np.log(pace)
        passes[passes == np.inf] = 1e3
        passes[np.isnan(passes)] = 0.0
        return passes


def _steps(
    objective: Objective, H: np.ndarray, gradients: np.ndarray, w: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The steps to the minima of the quadratic models, and the gains they promise; `H` is overwritten."""
    ridge = objective.l2[which, None] * objective.mask
    g = gradients + ridge * w
    _diagonals(H)[...] += ridge
    lasso = objective.l1[which] > 0
    if not lasso.any():
        steps = _solve(_definite(H, objective.gauge()), g)
        return steps, -0.5 * (g * steps).sum(axis=1)
    steps, gains = np.empty_like(w), np.empty(len(w))
    if not lasso.all():
        steps[~lasso] = _solve(_definite(H[~lasso], objective.gauge()), g[~lasso])
        gains[~lasso] = -0.5 * (g[~lasso] * steps[~lasso]).sum(axis=1)
    for i in np.flatnonzero(lasso):
        penalty = objective.l1[which[i]] * objective.mask
        target, _ = lasso_quadratic(H[i], H[i] @ w[i] - g[i], penalty, w[i], tol=1e-13, max_sweeps=1_000)
        steps[i] = step = target - w[i]
        fall = penalty @ (np.abs(w[i]) - np.abs(target))
        gains[i] = fall - g[i] @ step - 0.5 * step @ H[i] @ step
    return steps, gains


def _solve(H: np.ndarray, g: np.ndarray) -> np.ndarray:
    """What Newton's method does in coordinates in which each matrix has a diagonal of ones."""
    size = np.sqrt(np.maximum(_diagonals(H), 0.0))
    size[size == 0] = 1.0
    scaled = H / size[:, :, None]
    scaled /= size[:, None, :]
    _diagonals(scaled)[...] = 1.0
    try:
        found = np.linalg.solve(scaled, (g / size)[..., None])[..., 0]
    except np.linalg.LinAlgError:
        found = (np.linalg.pinv(scaled, hermitian=True) @ (g / size)[..., None])[..., 0]
    return -found / size


def _definite(H: np.ndarray, gauge: np.ndarray | None) -> np.ndarray:
    """Matrices of second derivatives (some, size, size), changed to be positive definite but for rounding.

    What is added to each diagonal entry is a share of that entry, and along the gauge one of those that it
    connects, so the units of the parameters do not matter.
    """
    if gauge is not None:
        connected = gauge > 0
        mean = _diagonals(H) @ connected / connected.sum(axis=0)
        H += gauge * mean[:, None, :]
    _diagonals(H)[...] *= 1 + 1e-14
    return H


def _diagonals(H: np.ndarray) -> np.ndarray:
    """The diagonals of matrices that lie in memory one after the other, of shape (matrices, size): a view."""
    return H.reshape(len(H), H.shape[1] ** 2)[:, :: H.shape[1] + 1]
