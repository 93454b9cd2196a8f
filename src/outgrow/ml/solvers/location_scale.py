"""Newton's method for a linear predictor and a scale at once, where the loss is convex in both.

Each pass looks at the full step with all derivatives, and at a few shorter ones: where the full one does not
do, the best of those is known already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.weighing import weighed

_SHARES = np.array([1.0, 0.5, 0.2, 0.05])
"""Of a step, that each pass looks at."""
_SMALLER, _FALL = 0.01, 0.25
"""Where none of them does, they are this much shorter the next time; and to how much a scale may fall in a
step, so that the predictor keeps up with it."""
_TRIES = 6
_SUFFICIENT = 1e-4
"""Of what the slope promises, a full step must gain."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of each row: the loss; its derivatives by the predictor, and by the scale; twice by the predictor, by both,
and twice by the scale."""


class ScaledLoss(Protocol):
    """The loss of rows as a convex function of their linear predictors and of one positive scale."""

    def losses(self, predictor: np.ndarray, scale: float, block: Block) -> np.ndarray:
        """The loss of each row.

        Parameters
        ----------
        predictor : ndarray of shape (rows,).
        scale : greater than 0.
        block : the rows, with y, and roles if there are any.
        """

    def derivatives(self, predictor: np.ndarray, scale: float, block: Block) -> Rows:
        """The loss of each row and its derivatives, arrays of shape (rows,).

        Parameters
        ----------
        predictor, scale, block : as for `losses`.
        """


@dataclass(eq=False)
class Fitted:
    """Where the minimisation ended.

    Attributes
    ----------
    w : ndarray of shape (size,): coefficients, the intercept if there is one, the scale.
    H : ndarray of shape (size, size), the second derivatives at the last point but one, or at w.
    value : the objective there.
    steps : how many were made.
    converged : whether the last one was expected to gain no more than the tolerance.
    """

    w: np.ndarray
    H: np.ndarray
    value: float
    steps: int
    converged: bool


@dataclass(frozen=True, eq=False)
class ScaledObjective:
    """The summed loss of all rows plus ½ l2 times the squared coefficients.

    Attributes
    ----------
    view : the rows, without offsets of their columns.
    intercept : whether the parameter before the scale is a constant.
    free : whether the scale is learned; without that it stays as it is.
    """

    view: MatrixView
    loss: ScaledLoss
    intercept: bool
    l2: float
    free: bool = True

    def look(self, w: np.ndarray, step: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, ...]:
        """From one pass: the objective after shares of a step, and after the first of them its derivatives.

        Parameters
        ----------
        w, step : ndarrays of shape (size,).
        shares : ndarray of shape (some,).

        Returns
        -------
        Values (some,), gradient (size,) and second derivatives (size, size).
        """
        values, gradient, H = self.view.reduce(lambda block: self._sums(block, w, step, shares))
        at, width = w + shares[0] * step, self.view.width
        ends = w[:width] + shares[:, None] * step[:width]
        values = values + 0.5 * self.l2 * (ends**2).sum(axis=1)
        gradient[:width] += self.l2 * at[:width]
        H[np.arange(width), np.arange(width)] += self.l2
        if not self.free:
            gradient[-1] = H[-1] = H[:, -1] = 0.0
            H[-1, -1] = 1.0
        return values, gradient, H

    def _sums(
        self, block: Block, w: np.ndarray, step: np.ndarray, shares: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        begin, along = self._predictor(block, w), self._predictor(block, step)
        scales = w[-1] + shares * step[-1]
        with np.errstate(all="ignore"):
            first = self.loss.derivatives(begin + shares[0] * along, scales[0], block)
            loss, by_predictor, by_scale, bend, cross, by_scale_twice = (
                weighed(each, block.weight) for each in first
            )
            others = [
                weighed(self.loss.losses(begin + share * along, scale, block), block.weight).sum()
                for share, scale in zip(shares[1:], scales[1:], strict=True)
            ]
        gradient = np.append(self._times(block.X, by_predictor), by_scale.sum())
        H = np.empty((len(w), len(w)))
        H[:-1, :-1] = self._products(block.X, bend)
        H[:-1, -1] = H[-1, :-1] = self._times(block.X, cross)
        H[-1, -1] = by_scale_twice.sum()
        return np.array([loss.sum(), *others]), gradient, H

    def _predictor(self, block: Block, w: np.ndarray) -> np.ndarray:
        width = block.X.shape[1]
        found = np.asarray(block.X @ w[:width])
        return found + w[width] if self.intercept else found

    def _times(self, X: Any, rows: np.ndarray) -> np.ndarray:
        found = np.asarray(X.T @ rows)
        return np.append(found, rows.sum()) if self.intercept else found

    def _products(self, X: Any, rows: np.ndarray) -> np.ndarray:
        dense = X.toarray(order="F") if is_sparse(X) else X
        columns = dense.T
        plain = (columns * rows) @ columns.T
        if not self.intercept:
            return np.asarray(plain)
        side = self._times(X, rows)
        return np.block([[plain, side[:-1, None]], [side[None, :]]])


def scaled_minimum(objective: ScaledObjective, start: np.ndarray, *, tol: float, max_iter: int) -> Fitted:
    """Minimise by Newton's method.

    Parameters
    ----------
    objective : what is minimised.
    start : ndarray of shape (size,), where to begin; the scale, its last entry, is greater than 0.
    tol : it ends with the step that is expected to gain no more than this share of the objective.
    max_iter : most passes.
    """
    w, step, shares = start.copy(), np.zeros_like(start), np.ones(1)
    value, slope, tries = np.inf, 0.0, 0
    state = Fitted(w, np.zeros((len(w), len(w))), np.inf, 0, False)
    for count in range(1, max_iter + 1):
        values, gradient, H = objective.look(w, step, shares)
        values = np.where(np.isfinite(values), values, np.inf)
        enough = values[0] <= value + _SUFFICIENT * shares[0] * slope + 1e-12 * abs(value)
        if count > 1 and not enough:
            best = int(np.argmin(values))
            if values[best] < value:
                step, shares, slope = shares[best] * step, np.ones(1), 0.0  # whose derivatives are next
            elif tries == _TRIES:
                break
            else:
                shares, tries = shares * _SMALLER, tries + 1
            continue
        w = w + shares[0] * step
        value, tries = float(values[0]), 0
        step, slope = _step(H, gradient, w)
        state = Fitted(w, H, value, count, -slope / 2 <= tol * abs(value))
        shares = _SHARES
        if state.converged:
            state.w = w + step
            break
    return state


def _step(H: np.ndarray, gradient: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, float]:
    """Newton's step, shortened where the scale would fall to nothing, and its slope."""
    size = np.sqrt(np.maximum(np.diag(H), 0.0))
    size = np.where(size > 0, size, 1.0)
    scaled = H / size[:, None] / size
    scaled[np.diag_indices(len(w))] = 1 + 1e-14
    try:
        step = np.linalg.solve(scaled, -gradient / size) / size
    except np.linalg.LinAlgError:
        step = np.linalg.pinv(scaled, hermitian=True) @ (-gradient / size) / size
    if gradient @ step > 0:  # rounding, where nearly nothing bends
        step = -gradient / size**2
    least = (_FALL - 1) * w[-1]
    if step[-1] < least:
        step = step * (least / step[-1])
    return step, float(gradient @ step)
