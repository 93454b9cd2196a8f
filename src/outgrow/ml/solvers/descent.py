"""A quadratic with an absolute penalty, held as small matrices, minimised over sets of coordinates."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from types import ModuleType

import numpy as np
import scipy.linalg
from scipy.linalg.lapack import dposv, dpotrs

from outgrow._optional import optional
from outgrow.engine.context import one_blas_thread
from outgrow.errors import MissingExtraError

COMPILED = 128
"""Up to so many coordinates, compiled code that changes one after the other takes less time than calls do."""
_EPS = float(np.finfo(np.float64).eps)
_FIRM = 1e-11
"""What is added to a diagonal of ones, so that columns that depend on each other can be told apart."""
_FEW = 16
"""So many coordinates may leave zero at once, or as many as have left it."""
_ALONE = range(64, 1_025)
"""Of so many coordinates, one thread solves the equations; fewer are solved before another could be waked."""
_PATIENCE = 2
"""Guesses of all signs in a row that gain nothing, until steps follow that never lead away."""
_MOST_GRADIENTS, _A_LOOK = 400, 20
"""Steps by the gradient before the first by equations, and after how many the signs are looked at."""


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
    """Minimise ½ w'Hw - g'w + sum(penalty * |w|) by steps over sets of coordinates whose signs are guessed.

    This is feature-sign search (Lee, Battle, Raina and Ng 2007), with all coordinates that should leave zero
    entering at once. Which signs they take at first is guessed for all together, and where no guess gains,
    accelerated steps by the gradient tell (FISTA; Beck and Teboulle 2009), each of which costs a product.
    Nothing is done where the gradient at the start is already within the tolerance, which is judged in
    coordinates in which H has a diagonal of ones, so whatever the units of each are.

    Parameters
    ----------
    H : ndarray of shape (p, p), positive semi-definite; where its diagonal is 0, so is the solution.
    g : ndarray of shape (p,).
    penalty : ndarray of shape (p,), what each coordinate's absolute value costs, at least 0.
    start : ndarray of shape (p,), where to begin; where H is singular, the solution depends on it.
    tol : how far the gradient may be off at the end, as a share of the largest entry of g.
    max_sweeps : most steps.
    positive : no coordinate may be below 0.

    Returns
    -------
    w : ndarray of shape (p,).
    steps : how many steps it took, 0 where the start is the minimum; `max_sweeps` when it did not settle.
    """
    if len(g) <= COMPILED and (kernels := _kernels()) is not None:
        found = np.empty(len(g))
        room = np.empty((2 * len(g) + 5, len(g)))
        count = kernels.descend(np.ascontiguousarray(H), g, penalty, start, tol, positive, room, found)
        if 0 <= count < max_sweeps:
            return found, count
    # the threads of BLAS take longer to wake than small equations take to solve
    with one_blas_thread() if len(g) in _ALONE else nullcontext():
        return _minimum(H, g, penalty, start, tol, max_sweeps, positive)


@lru_cache(1)
def _kernels() -> ModuleType | None:
    """Compiled code for few coordinates, where Numba is installed."""
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return None
    from outgrow.ml.solvers import descent_kernels

    return descent_kernels


def _minimum(
    H: np.ndarray,
    g: np.ndarray,
    penalty: np.ndarray,
    start: np.ndarray,
    tol: float,
    max_sweeps: int,
    positive: bool,
) -> tuple[np.ndarray, int]:
    size = np.sqrt(np.diag(H))
    live = size > 0
    size[~live] = 1.0
    H, g, penalty = H / size[:, None] / size, g / size, penalty / size
    w = np.where(live, np.maximum(start, 0.0 if positive else -np.inf) * size, 0.0)
    slack = tol * max(float(np.abs(g).max(initial=0.0)), np.finfo(np.float64).tiny)
    for count in range(max_sweeps):
        rest, pull, off = _apart(H, g, penalty, w, positive)
        if off <= slack + 4 * _EPS * len(w) * float(np.abs(w).max(initial=0.0)):
            return w / size, count
        if not count:
            nearer = _by_signs(H, g, penalty, w, rest, positive=positive)
            w = _by_gradients(H, g, penalty, w, positive=positive) if nearer is None else nearer
            continue
        outside = np.where(live & (w == 0) & (pull > slack), pull, 0.0)
        most = min(max(_FEW, int(np.count_nonzero(w))), int(np.count_nonzero(outside)))
        entering = np.zeros(len(w), bool)
        entering[np.argpartition(-outside, most - 1)[:most] if most else []] = True
        w = _step(H, g, penalty, w, rest, entering, positive)
    return w / size, max_sweeps


def _apart(
    H: np.ndarray, g: np.ndarray, penalty: np.ndarray, w: np.ndarray, positive: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """The gradient downwards without the penalty, what pulls zeros off, and how far w is from a minimum."""
    rest = g - H @ w
    pull = np.maximum((rest if positive else np.abs(rest)) - penalty, 0.0)
    off = np.where(w != 0, np.abs(rest - penalty * np.sign(w)), pull)
    return rest, pull, float(off.max(initial=0.0))


@np.errstate(over="ignore", invalid="ignore")
def _by_signs(
    H: np.ndarray, g: np.ndarray, penalty: np.ndarray, w: np.ndarray, rest: np.ndarray, *, positive: bool
) -> np.ndarray | None:
    """The best end of steps that each solve for all coordinates with the signs the one before tells.

    None where none of them gains. This is the primal-dual active set method (Hintermüller, Ito and Kunisch
    2002); it may go in circles, so it ends when it no longer gains.
    """
    best, least, before, idle = None, _value(g, penalty, w, rest), None, 0
    rounding = 4 * _EPS * len(w) * abs(least)
    while idle < _PATIENCE:
        aim = w + rest
        signs = (aim > penalty).astype(float) - (0.0 if positive else aim < -penalty)
        if before is not None and np.array_equal(signs, before):
            break
        before, active = signs, np.flatnonzero(signs)
        right = g[active] - penalty[active] * signs[active]
        new = np.zeros_like(w)
        new[active] = _solved(H[active[:, None], active], right, w[active])
        w = np.maximum(new, 0.0) if positive else new
        rest = g - H @ w
        value = _value(g, penalty, w, rest)
        gains = value <= least + rounding if best is None else value < least
        best, least, idle = (w, value, 0) if gains else (best, least, idle + 1)
    return best


@np.errstate(over="ignore", invalid="ignore")
def _by_gradients(
    H: np.ndarray, g: np.ndarray, penalty: np.ndarray, start: np.ndarray, *, positive: bool
) -> np.ndarray:
    """A point whose coordinates have had their signs for a while, most of them those of the minimum."""
    # in no special direction: a quadratic may be flat along many of those
    largest, bend = np.random.default_rng(0).standard_normal(len(g)), 0.0
    for _ in range(12):
        largest = H @ largest
        bend = float(np.sqrt(largest @ largest))
        if not bend > 0:
            return start
        largest /= bend
    pace = 1 / (1.2 * bend)
    least, cost = (0.0 if positive else -np.inf), pace * penalty
    w = ahead = start
    signs, momentum = np.sign(w), 1.0
    for count in range(1, _MOST_GRADIENTS + 1):
        moved = ahead - pace * (H @ ahead - g)
        new = np.maximum(moved - cost, 0.0) + np.minimum(moved + cost, 0.0)
        new = np.maximum(new, least) if positive else new
        change = new - w
        if (ahead - new) @ change > 0:  # past the minimum along its way: start anew (O'Donoghue, Candès 2015)
            momentum = 1.0
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / after * change
        w, momentum = new, after
        if count % _A_LOOK == 0:
            before, signs = signs, np.sign(w)
            if np.array_equal(before, signs):
                break
    # too long a pace, where the largest bend was not found, leads away
    value, before = (_value(g, penalty, at, g - H @ at) for at in (w, start))
    return w if value <= before else start


def _value(g: np.ndarray, penalty: np.ndarray, w: np.ndarray, rest: np.ndarray) -> float:
    """What is minimised, where `rest` is g - Hw."""
    return float(penalty @ np.abs(w) - 0.5 * (w @ (g + rest)))


def _step(
    H: np.ndarray,
    g: np.ndarray,
    penalty: np.ndarray,
    w: np.ndarray,
    rest: np.ndarray,
    entering: np.ndarray,
    positive: bool,
) -> np.ndarray:
    """To the minimum where signs stay as they are, or to the best point where one of them changes."""
    active = np.flatnonzero((w != 0) | entering)
    while True:
        signs = np.where(w[active] != 0, np.sign(w[active]), np.sign(rest[active]))
        linear = g[active] - penalty[active] * signs
        target = _solved(H[np.ix_(active, active)], linear, w[active])
        astray = (w[active] == 0) & (target * signs <= 0)
        if not astray.any():
            break
        active = active[~astray]
    best = w.copy()
    step = target - w[active]
    share, zero = _along(H, penalty, w, rest, active, step, positive)
    best[active] += share * step
    best[active[zero]] = 0.0
    return best


def _solved(H: np.ndarray, right: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The solution of equations; where there are several, one not far from a point."""
    firm = H.copy()
    firm.flat[:: len(H) + 1] += _FIRM
    factor, moved, failed = dposv(firm, right - H @ near, overwrite_a=True)
    if failed:
        raise scipy.linalg.LinAlgError("The curvature of a quadratic is not positive.")
    found = near + moved
    return found + np.asarray(
        dpotrs(factor, right - H @ found)[0]
    )  # what was added to the diagonal is undone


def _along(
    H: np.ndarray,
    penalty: np.ndarray,
    w: np.ndarray,
    rest: np.ndarray,
    active: np.ndarray,
    step: np.ndarray,
    positive: bool,
) -> tuple[float, np.ndarray]:
    """Which share of a step is best, and which of the active coordinates are then zero."""
    at = w[active]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where((at != 0) & (at * (at + step) <= 0), -at / step, np.inf)
    order = np.argsort(crossing)[: int((crossing <= 1).sum())]
    if not len(order):
        return 1.0, np.zeros(0, dtype=np.intp)
    if positive:
        return float(crossing[order[0]]), order[crossing[order] == crossing[order[0]]]
    cost = penalty[active]
    signs = np.where(at != 0, np.sign(at), np.sign(step))
    slope = float((cost * signs - rest[active]) @ step)
    bend = float(step @ H[np.ix_(active, active)] @ step)
    shares = crossing[order]
    jumps = np.cumsum(2 * cost[order] * np.abs(step[order]))
    after = slope + bend * shares + jumps
    before = after - 2 * cost[order] * np.abs(step[order])
    stop = np.flatnonzero(after >= 0)
    if not len(stop):
        end = (slope + jumps[-1]) / -bend if bend > 0 else 1.0
        return min(max(end, float(shares[-1])), 1.0), order[shares >= 1.0]
    first = int(stop[0])
    if before[first] <= 0:  # the slope changes its sign where this coordinate is zero
        return float(shares[first]), order[shares == shares[first]]
    jump = jumps[first - 1] if first else 0.0
    return float((slope + jump) / -bend), np.zeros(0, dtype=np.intp)


def duality_gap(
    gradient: np.ndarray, error: float, w: np.ndarray, *, l1: float, l2: float, positive: bool = False
) -> float:
    """How far half the squared error + l1 |w| + ½ l2 w'w may at most lie above its minimum.

    The gap is that of scikit-learn (Gap Safe rules; Fercoq, Gramfort and Salmon 2015; Massias et al. 2018).
    Without any penalty, where there is none, it is the squared gradient.

    Parameters
    ----------
    gradient, error : X'(y - Xw) of shape (p,), and the squared error; both of them sums, or both means.
    w : ndarray of shape (p,), where the gap is asked for.
    l1, l2 : what the absolute and half the squared coordinates cost.
    positive : the minimum is that over coordinates of at least 0.
    """
    Ry = error + float(w @ gradient)
    if not l1:
        squares = float(gradient @ gradient)
        return error + 0.5 * l2 * float(w @ w) - Ry + squares / (2 * l2) if l2 else squares
    correlated = gradient - l2 * w
    largest = float(correlated.max() if positive else np.abs(correlated).max())
    factor = min(1.0, l1 / largest) if largest > 0 else 1.0
    squares = error + l2 * float(w @ w)
    return 0.5 * squares * (1 + factor**2) + l1 * float(np.abs(w).sum()) - factor * Ry
