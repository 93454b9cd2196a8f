"""Newton's method for many problems of one or two numbers each, in passes that they share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView

STEPS, _TOLERANCE, _ROUNDING, _SHORTEST = 100, 1e-12, 1e-13, 1e-10
"""Most passes; which share of the loss a last step may gain; what sums may be off; the shortest step."""


def sums_of_folds(rows: FoldedView, sums: Callable[[int, Block], np.ndarray]) -> np.ndarray:
    """Sums over the rows that each fold learns from, of shape (folds, ...); one pass.

    Parameters
    ----------
    rows : the rows and their folds.
    sums : of the rows of a block in a fold.
    """
    folds = np.arange(rows.folds)

    def fold(block: Block) -> np.ndarray | None:
        total: np.ndarray | None = None
        for place, part in rows.parts(block):
            for k in rows.learners(place, folds):
                added = sums(int(k), part)
                if total is None:
                    total = np.zeros((len(folds), *added.shape))
                total[k] += added
        return total

    return rows.reduce(fold)


def smallest(evaluated: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """Where convex functions are smallest, by Newton's method with steps that are halved where they fail.

    Parameters
    ----------
    evaluated : at points of shape (folds, problems, p) the value, the gradient and the second derivatives of
        each function, of shape (folds, problems, 1 + p + p * p); one pass.
    start : the points to begin at.
    """
    w, length = start.copy(), np.ones(start.shape[:2])
    at = evaluated(w)
    step, gain = _step(at, w.shape[2])
    running = np.ones(length.shape, dtype=bool)
    for _ in range(STEPS):
        running &= (gain > _TOLERANCE * np.abs(at[..., 0])) & (length > _SHORTEST)
        if not running.any():
            break
        trial = np.where(running[..., None], w + length[..., None] * step, w)
        new = evaluated(trial)
        most = at[..., 0] * (1 + _ROUNDING) - 1e-4 * length * gain
        better = running & (new[..., 0] <= most)
        w[better], at[better] = trial[better], new[better]
        step, gain = _step(at, w.shape[2])
        length = np.where(better, 1.0, np.where(running, length / 2, length))
    ended = gain <= _TOLERANCE * np.abs(at[..., 0])
    return np.where(ended[..., None], w + step, w)


def _step(at: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Newton's step of each function, and twice what it is expected to gain."""
    gradient, second = at[..., 1 : 1 + count], at[..., 1 + count :].reshape(*at.shape[:2], count, count)
    step = -(np.linalg.pinv(second, hermitian=True) @ gradient[..., None])[..., 0]
    return step, -(step * gradient).sum(axis=2)
