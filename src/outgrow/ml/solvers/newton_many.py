"""Newton's method for many candidates at once: settings of one model, and folds of the rows.

The rows are thinned, and thinned again. The fewest are where Newton's method begins; a level up, where the
level below ended, with its curvature. So over all rows little is left to do: passes that compute the losses
and gradients of all candidates as matrix products, each of which gains about two digits. A candidate whose
curvature serves badly gets its own from the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.ml.solvers.descent import lasso_quadratics
from outgrow.ml.solvers.likelihoods import Likelihoods, Sums
from outgrow.ml.solvers.newton import definite
from outgrow.ml.solvers.offsets import Offsets

THIN = 16
THIN_ROWS = 4_000
_ROUGH = 1e-7
"""Of the objective: how near the minimum over thinned rows is looked for."""
_NEAR = 1e-3
"""Of the objective: a step that gains less ends near enough to the minimum to keep its curvature."""
_SLOW = 0.1
"""A step that gains more than this share of the one before it shows that the curvature serves badly."""
_LEFT = 1e-2
"""A step leaves no less of its gain than this share, for all that is assumed."""
SPEAKERS = 4
"""Candidates of a fold that get their curvature over all rows, for all of its candidates."""
_HALVINGS = 30


@dataclass(frozen=True, eq=False)
class Penalties:
    """For each candidate: l1 * sum |w| + ½ l2 * sum w², over the parameters where `mask` is 1."""

    l1: np.ndarray
    l2: np.ndarray
    mask: np.ndarray

    def value(self, w: np.ndarray, which: np.ndarray) -> np.ndarray:
        kept = w * self.mask
        return self.absolute(w, which) + 0.5 * self.l2[which] * (kept * kept).sum(axis=1)

    def absolute(self, w: np.ndarray, which: np.ndarray) -> np.ndarray:
        return self.l1[which] * np.abs(w * self.mask).sum(axis=1)


@dataclass(eq=False)
class Minima:
    """Where the minimisations stand: arrays with an entry for each candidate.

    Attributes
    ----------
    w : ndarray of shape (candidates, size).
    H : ndarray of shape (candidates, size, size), the last curvature, without the penalty.
    known : whether H is.
    """

    w: np.ndarray
    H: np.ndarray
    known: np.ndarray
    objective: np.ndarray
    steps: np.ndarray
    converged: np.ndarray

    @classmethod
    def start(cls, candidates: int, size: int) -> Minima:
        return cls(
            np.zeros((candidates, size)),
            np.zeros((candidates, size, size)),
            np.zeros(candidates, bool),
            np.full(candidates, np.inf),
            np.zeros(candidates, int),
            np.zeros(candidates, bool),
        )


def newton_many(
    rows: FoldedView,
    likelihoods: Likelihoods,
    penalties: Penalties,
    folds: np.ndarray,
    *,
    tol: float,
    max_iter: int,
) -> tuple[Minima, Offsets]:
    """Minimise the loss over each candidate's fold plus its penalty, starting from zero.

    Parameters
    ----------
    folds : the fold of each candidate.

    Returns
    -------
    minima : those of features without their offsets.
    offsets : what was subtracted from the features of all candidates.
    """
    some = rows.view.thinned(THIN) if _thins(rows, likelihoods) else rows.view
    offsets = Offsets.of(some, intercept=likelihoods.intercept)
    shifted = replace(rows, view=offsets.apply(rows.view))
    return _minima(shifted, likelihoods, penalties, folds, tol=tol, max_iter=max_iter), offsets


def _thins(rows: FoldedView, likelihoods: Likelihoods) -> bool:
    """Whether there are so many rows that a part of them tells where to begin."""
    return rows.view.rows // THIN >= max(THIN_ROWS, 20 * likelihoods.size)


def _minima(
    rows: FoldedView,
    likelihoods: Likelihoods,
    penalties: Penalties,
    folds: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    scale: float = 1.0,
) -> Minima:
    """The minima where each row stands for `scale` rows."""
    found = Minima.start(len(folds), likelihoods.size)
    if _thins(rows, likelihoods):
        thin = rows.thinned(THIN)
        rough = _minima(
            thin, likelihoods, penalties, folds, tol=_ROUGH, max_iter=max_iter, scale=scale * THIN
        )
        good = rough.converged
        found.w[good], found.H[good], found.known[good] = rough.w[good], rough.H[good], True
    descent = _Descent(rows, likelihoods, penalties, folds, scale, found)
    descent.run(tol, max_iter)
    if scale > 1:
        descent.curve()
    return found


class _Descent:
    """Steps of all candidates over the same rows."""

    def __init__(
        self,
        rows: FoldedView,
        likelihoods: Likelihoods,
        penalties: Penalties,
        folds: np.ndarray,
        scale: float,
        found: Minima,
    ) -> None:
        self.rows = rows
        self.likelihoods = likelihoods
        self.penalties = penalties
        self.folds = folds
        self.scale = scale
        self.found = found
        self.base = found.w.copy()
        self.step = np.zeros_like(found.w)
        self.gain = np.full(len(folds), np.inf)
        self.halvings = np.zeros(len(folds), int)

    def run(self, tol: float, max_iter: int) -> None:
        wanted = ~self.found.known
        left = np.arange(len(self.folds))
        neighbours = [] if wanted.any() else self._neighbours()  # told when near: in the second pass
        for count in range(1, max_iter + 1):
            losses, gradients = self._sums(left, wanted[left], neighbours if count == 2 else [])
            objective = losses + self.penalties.value(self.found.w[left], left)
            before = self.found.objective[left]
            fell = objective <= before + np.where(np.isfinite(before), 1e-9 * np.abs(before), 0.0)
            self._go_back(left[~fell])
            wanted[left[~fell]] = True
            going = left[fell]
            done = self._advance(going, objective[fell], gradients[fell], wanted, tol)
            self.rows.view.run.tell("step", count, loss=float(objective.min()))
            hopeless = self.halvings[left] > _HALVINGS
            left = left[~np.isin(left, done) & ~hopeless]
            if not len(left):
                return

    def curve(self) -> None:
        """The curvature where each has ended."""
        everyone = np.arange(len(self.folds))
        self._sums(everyone, np.ones(len(everyone), bool), [])

    def _neighbours(self) -> list[np.ndarray]:
        """In each fold the candidates with similar penalties, the first of each speaking for the others."""
        strength = self.penalties.l1 + self.penalties.l2
        found: list[np.ndarray] = []
        for k in np.unique(self.folds):
            own = np.flatnonzero(self.folds == k)
            parts = np.array_split(own[np.argsort(strength[own], kind="stable")], SPEAKERS)
            found += [np.roll(part, -(len(part) // 2)) for part in parts if len(part)]
        return found

    def _sums(
        self, which: np.ndarray, curved: np.ndarray, neighbours: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Losses and gradients of some candidates; curvatures of those `curved` are noted.

        Of neighbours, only the first gets its curvature; by how much the one it had was wrong about it, those
        of the others are about as wrong.
        """
        speakers = [part[0] for part in neighbours]
        curved = curved | np.isin(which, speakers)
        before = self.found.H[speakers]

        def fold(block: Block, table: np.ndarray, folds: np.ndarray, places: np.ndarray) -> Sums:
            return self.likelihoods.sums(self.rows, block, table, folds, places)

        places = np.flatnonzero(curved)
        losses, gradients, packed = self.rows.reduce(
            partial(fold, table=self.found.w[which], folds=self.folds[which], places=places)
        )
        if len(places):
            self.found.H[which[places]] = self.scale * self.likelihoods.unpacked(packed)
            self.found.known[which[places]] = True
        for (speaker, *others), old in zip(neighbours, before, strict=True):
            self.found.H[others] += self.found.H[speaker] - old
        return self.scale * losses, self.scale * gradients

    def _go_back(self, which: np.ndarray) -> None:
        """Shorter steps from where the objective last fell."""
        self.step[which] *= 0.25
        self.found.w[which] = self.base[which] + self.step[which]
        self.halvings[which] += 1
        self.gain[which] = np.inf

    def _advance(
        self, which: np.ndarray, objective: np.ndarray, gradients: np.ndarray, wanted: np.ndarray, tol: float
    ) -> np.ndarray:
        """Step on; the candidates that are done."""
        found = self.found
        fresh = wanted[which].copy()
        self.base[which] = found.w[which]
        step, gain = _steps(
            found.H[which], gradients, self.likelihoods.gauge(), self.penalties, found.w[which], which
        )
        lost = ~fresh & ~(gain >= 0)  # a curvature that was put together need not be one
        step[lost], gain[lost] = 0.0, np.inf
        self.step[which] = step
        found.w[which] += step
        found.steps[which] += 1
        found.objective[which] = objective
        share = gain / np.maximum(np.abs(objective), np.finfo(np.float64).tiny)
        before = self.gain[which]
        ratio = gain / before
        self.gain[which] = gain
        wanted[which] = np.where(fresh, share > _NEAR, lost | (ratio > _SLOW))
        # a step leaves about the share of its gain that the step before it left of its own
        left = np.where(np.isfinite(before) & (ratio <= _SLOW), np.maximum(ratio, _LEFT), 1.0)
        done = share * left <= tol
        finished = which[done]
        found.objective[finished] -= gain[done]
        found.converged[finished] = True
        return finished


def _steps(
    H: np.ndarray,
    gradients: np.ndarray,
    gauge: np.ndarray | None,
    penalties: Penalties,
    w: np.ndarray,
    which: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The steps to the minima of the quadratic models, and the gains they promise."""
    ridge = penalties.l2[which, None] * penalties.mask
    g, H = gradients + ridge * w, H.copy()
    diagonal = np.arange(H.shape[1])
    H[:, diagonal, diagonal] += ridge
    H = definite(H, gauge)
    size = np.sqrt(np.maximum(H[:, diagonal, diagonal], 0.0))
    size[size == 0] = 1.0
    scaled = H / size[:, :, None] / size[:, None, :]
    scaled[:, diagonal, diagonal] = 1.0
    steps = -_solve(scaled, g / size) / size
    gains = -0.5 * np.einsum("ci,ci->c", g, steps)
    lasso = penalties.l1[which] > 0
    if lasso.any():
        H, g, w, which = H[lasso], g[lasso], w[lasso], which[lasso]
        linear = np.einsum("cij,cj->ci", H, w) - g
        penalty = penalties.l1[which, None] * penalties.mask
        target, _ = lasso_quadratics(H, linear, penalty, w, tol=1e-13, max_sweeps=5_000)
        steps[lasso] = step = target - w
        model = np.einsum("ci,ci->c", g, step) + 0.5 * np.einsum("ci,cij,cj->c", step, H, step)
        gains[lasso] = penalties.absolute(w, which) - penalties.absolute(target, which) - model
    return steps, gains


def _solve(H: np.ndarray, g: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(H, g[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return (np.linalg.pinv(H, hermitian=True) @ g[..., None])[..., 0]
