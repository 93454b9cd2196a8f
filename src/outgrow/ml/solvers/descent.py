"""Coordinate descent on a quadratic with an absolute penalty, held as small matrices."""

from __future__ import annotations

import numpy as np


def lasso_quadratic(
    H: np.ndarray,
    g: np.ndarray,
    penalty: np.ndarray,
    start: np.ndarray,
    *,
    tol: float,
    max_sweeps: int,
    positive: bool = False,
) -> tuple[np.ndarray, int]:
    """Minimise ½ w'Hw - g'w + sum(penalty * |w|) by cyclic coordinate descent (Friedman et al. 2010).

    Nothing is done where the gradient at the start is already within the tolerance. After each sweep over all
    coordinates, sweeps go over those that are not zero until they settle. When they have is judged in
    coordinates in which H has a diagonal of ones, so whatever the units of each are. With `positive`, no
    coordinate is below 0.

    Returns
    -------
    w : ndarray of shape (p,).
    sweeps : how many sweeps it took, 0 where the start is the minimum; `max_sweeps` when it did not settle.
    """
    size = np.sqrt(np.diag(H))
    size[size == 0] = 1.0
    H, g, penalty = H / size[:, None] / size, g / size, penalty / size
    w = start * size
    diagonal = np.diag(H).copy()
    residual = g - H @ w
    scale = max(float(np.abs(g).max(initial=0.0)), np.finfo(np.float64).tiny)
    everything = np.flatnonzero(diagonal > 0)
    w[diagonal <= 0] = 0.0
    active, sweeps = everything, 0
    if _violation(w, diagonal, residual, penalty, positive) <= tol * scale:
        return w / size, 0
    while sweeps < max_sweeps:
        moved = _sweep(H, diagonal, penalty, w, residual, active, positive)
        sweeps += 1
        if moved > tol * scale:
            active = everything if sweeps % 20 == 0 else _nonzero_or(everything, w)
        elif active is everything or len(active) == len(everything):
            break
        else:
            active = everything
            residual = g - H @ w
    return w / size, sweeps


def _violation(
    w: np.ndarray, diagonal: np.ndarray, residual: np.ndarray, penalty: np.ndarray, positive: bool
) -> float:
    """The largest change that a coordinate would make by itself, in units of the gradient."""
    rho = residual + diagonal * w
    size = np.maximum((rho if positive else np.abs(rho)) - penalty, 0.0)
    return float(np.abs(np.copysign(size, rho) - diagonal * w).max(initial=0.0))


def duality_gap(
    H: np.ndarray,
    g: np.ndarray,
    energy: float,
    w: np.ndarray,
    *,
    l1: float,
    l2: float,
    positive: bool = False,
) -> float:
    """How far ½ w'Hw - g'w + energy / 2 + l1 |w| + ½ l2 w'w may at most lie above its minimum.

    The gap is that of scikit-learn (Gap Safe rules; Fercoq, Gramfort and Salmon 2015; Massias et al. 2018).
    Without any penalty, where there is none, it is the squared gradient.

    Parameters
    ----------
    H, g, energy : X'X, X'y and y'y.
    """
    gradient = g - H @ w
    Ry = energy - float(g @ w)
    rest = max(Ry - float(w @ gradient), 0.0)
    if not l1:
        squares = float(gradient @ gradient)
        return rest + 0.5 * l2 * float(w @ w) - Ry + squares / (2 * l2) if l2 else squares
    correlated = gradient - l2 * w
    largest = float(correlated.max() if positive else np.abs(correlated).max())
    factor = min(1.0, l1 / largest) if largest > 0 else 1.0
    squares = rest + l2 * float(w @ w)
    return 0.5 * squares * (1 + factor**2) + l1 * float(np.abs(w).sum()) - factor * Ry


def lasso_quadratics(
    H: np.ndarray,
    g: np.ndarray,
    penalty: np.ndarray,
    start: np.ndarray,
    *,
    tol: float,
    max_sweeps: int,
    positive: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """`lasso_quadratic` for many problems at once: every argument has one more dimension, the first.

    Returns
    -------
    w : ndarray of shape (problems, p).
    sweeps : ndarray of shape (problems,).
    """
    size = np.sqrt(np.einsum("cjj->cj", H))
    w = size * start
    size[size == 0] = 1.0
    H, g, penalty = H / size[:, :, None] / size[:, None, :], g / size, penalty / size
    sweeps = np.full(len(w), max_sweeps)
    left = np.arange(len(w))
    residual = g - np.einsum("cij,cj->ci", H, w)
    slack = tol * np.maximum(np.abs(g).max(axis=1, initial=0.0), np.finfo(np.float64).tiny)
    for count in range(1, max_sweeps + 1):
        part = w[left]
        moved = _sweep_all(H, penalty[left], part, residual, positive)
        w[left] = part
        settled = moved <= slack[left]
        if settled.any():
            sweeps[left[settled]] = count
            left, residual, H = left[~settled], residual[~settled], H[~settled]
            if not len(left):
                break
    return w / size, sweeps


def _sweep_all(
    H: np.ndarray, penalty: np.ndarray, w: np.ndarray, residual: np.ndarray, positive: bool
) -> np.ndarray:
    """One update of each coordinate in each problem; the largest change of each."""
    largest = np.zeros(len(w))
    for j in range(w.shape[1]):
        diagonal = H[:, j, j]
        rho = residual[:, j] + diagonal * w[:, j]
        size = np.maximum((rho if positive else np.abs(rho)) - penalty[:, j], 0.0)
        new = np.where(diagonal > 0, np.copysign(size, rho) / np.where(diagonal > 0, diagonal, 1.0), 0.0)
        step = new - w[:, j]
        residual -= step[:, None] * H[:, j]
        w[:, j] = new
        np.maximum(largest, np.abs(step) * diagonal, out=largest)
    return largest


def _sweep(
    H: np.ndarray,
    diagonal: np.ndarray,
    penalty: np.ndarray,
    w: np.ndarray,
    residual: np.ndarray,
    active: np.ndarray,
    positive: bool,
) -> float:
    """One update of each active coordinate; the largest change, in units of the gradient."""
    largest = 0.0
    for j in active.tolist():
        rho = residual[j] + diagonal[j] * w[j]
        size = max((rho if positive else abs(rho)) - penalty[j], 0.0)
        new = np.copysign(size, rho) / diagonal[j]
        step = new - w[j]
        if step != 0.0:
            residual -= step * H[:, j]
            w[j] = new
            largest = max(largest, abs(step) * diagonal[j])
    return largest


def _nonzero_or(everything: np.ndarray, w: np.ndarray) -> np.ndarray:
    active = np.flatnonzero(w)
    return active if len(active) else everything
