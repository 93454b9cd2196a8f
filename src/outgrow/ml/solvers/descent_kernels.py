"""Coordinate descent on a quadratic of few variables with an absolute penalty, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, typed_kernel

SWEEPS = 60
"""So many sweeps at most: where signs have not settled by then, others steps than these do better."""
_EPS = float(np.finfo(np.float64).eps)
_FLAT = 1e-10
"""A pivot below this, of a matrix whose diagonal is one, means that a variable depends on others."""
_VECTOR = types.Array(types.float64, 1, "C")
_TABLE = types.Array(types.float64, 2, "C")


@typed_kernel(_VECTOR, _VECTOR, _VECTOR, types.boolean, returns=types.float64)
def _off(rest: Any, cost: Any, w: Any, positive: bool) -> float:
    """How far the gradient is from that of a minimum."""
    off = 0.0
    for j in range(len(w)):
        if w[j] != 0:
            off = max(off, abs(rest[j] - (cost[j] if w[j] > 0 else -cost[j])))
        else:
            off = max(off, (rest[j] if positive else abs(rest[j])) - cost[j])
    return off


@typed_kernel(_VECTOR, returns=types.float64)
def _most(w: Any) -> float:
    most = 0.0
    for j in range(len(w)):
        most = max(most, abs(w[j]))
    return most


@typed_kernel(_VECTOR, _VECTOR)
def _unscale(w: Any, size: Any) -> None:
    for j in range(len(w)):
        if size[j] > 0:
            w[j] /= size[j]


@typed_kernel(_TABLE, _VECTOR, _VECTOR, _VECTOR, _VECTOR, _VECTOR, types.boolean, returns=types.boolean)
def _sweep(scaled: Any, rest: Any, cost: Any, w: Any, size: Any, signs: Any, positive: bool) -> bool:
    """Change each variable in its turn; whether all signs stayed those that are noted."""
    same = True
    for j in range(len(w)):
        if size[j] == 0:
            continue
        aim = w[j] + rest[j]
        new = aim - cost[j] if aim > cost[j] else 0.0
        if aim < -cost[j] and not positive:
            new = aim + cost[j]
        change = new - w[j]
        if change != 0:
            w[j] = new
            for k in range(len(w)):
                rest[k] -= change * scaled[j, k]
        sign = float(np.sign(new))
        same = same and sign == signs[j]
        signs[j] = sign
    return same


@typed_kernel(_TABLE, _VECTOR, _VECTOR, _VECTOR, _VECTOR, _TABLE, _VECTOR, returns=types.boolean)
def _solved(scaled: Any, rest: Any, cost: Any, w: Any, signs: Any, factor: Any, found: Any) -> bool:
    """By how much the variables that are not zero miss the minimum with these signs; False if it is not one.

    `factor` gets the triangular factor of their equations, a row for each (Cholesky), and `found` the answer.
    """
    p, n = len(w), 0
    for j in range(p):
        if signs[j] != 0:
            m = 0
            for k in range(j, p):
                if signs[k] != 0:
                    factor[n, n + m] = scaled[j, k]
                    m += 1
            found[n] = rest[j] - cost[j] * signs[j]
            n += 1
    for i in range(n):
        if not factor[i, i] > _FLAT:
            return False
        root = np.sqrt(factor[i, i])
        for k in range(i, n):
            factor[i, k] /= root
        found[i] /= root
        for m in range(i + 1, n):
            share = factor[i, m]
            for k in range(m, n):
                factor[m, k] -= share * factor[i, k]
            found[m] -= share * found[i]
    for i in range(n - 1, -1, -1):
        total = found[i]
        for k in range(i + 1, n):
            total -= factor[i, k] * found[k]
        found[i] = total / factor[i, i]
    return True


@typed_kernel(
    *(_TABLE, _VECTOR, _VECTOR, _VECTOR, _VECTOR, _VECTOR, types.boolean, types.float64),
    returns=types.boolean,
)
def _holds(
    scaled: Any, rest: Any, cost: Any, w: Any, signs: Any, found: Any, positive: bool, slack: float
) -> bool:
    """Take the step that equations gave, and tell whether it led to the minimum; else it is not taken."""
    p, n = len(w), 0
    for j in range(p):
        if signs[j] != 0:
            if not (w[j] + found[n]) * signs[j] > 0:
                return False
            n += 1
    for j in range(p):
        n, total = 0, rest[j]
        for k in range(p):
            if signs[k] != 0:
                total -= scaled[j, k] * found[n]
                n += 1
        pull = total if positive else abs(total)
        if signs[j] == 0 and pull > cost[j] + slack:
            return False
        if signs[j] != 0 and abs(total - cost[j] * signs[j]) > slack + 4 * _EPS * p * _most(w):
            return False
    n = 0
    for j in range(p):
        if signs[j] != 0:
            w[j] += found[n]
            n += 1
    return True


@typed_kernel(ROWS, GIVEN, GIVEN, GIVEN, types.float64, types.boolean, _TABLE, _VECTOR, returns=types.int64)
def descend(H: Any, g: Any, penalty: Any, start: Any, tol: float, positive: bool, room: Any, w: Any) -> int:
    """Minimise ½ w'Hw - g'w + sum(penalty * |w|): see `lasso_quadratic`, which explains the parameters.

    Variables are changed one by one, and the gradient with them (Friedman, Hastie and Tibshirani 2010). When
    a sweep leaves the signs as they were, equations say where the minimum with these signs is.

    Parameters
    ----------
    H, g, penalty, start, tol, positive : as there.
    room : of shape (2 p + 5, p), to work in.
    w : of shape (p,), where the result is put.

    Returns
    -------
    The sweeps it took, 0 where the start is the minimum; -1 where it found none.
    """
    p = len(g)
    size, rest, cost, signs, found = room[0], room[1], room[2], room[3], room[4]
    scaled, factor = room[5 : 5 + p], room[5 + p :]
    largest = 0.0
    for j in range(p):
        size[j] = np.sqrt(H[j, j]) if H[j, j] > 0 else 0.0
    for j in range(p):
        flat = size[j] == 0
        inverse = 0.0 if flat else 1 / size[j]
        rest[j], cost[j] = g[j] * inverse, penalty[j] * inverse
        largest = max(largest, abs(rest[j]))
        w[j] = 0.0 if flat or (positive and start[j] < 0) else start[j] * size[j]
        signs[j] = 0.0
        for k in range(p):
            scaled[j, k] = 0.0 if flat or size[k] == 0 else H[j, k] * inverse / size[k]
    for j in range(p):
        for k in range(p):
            rest[j] -= scaled[j, k] * w[k]
    slack = tol * max(largest, 1e-300)
    if _off(rest, cost, w, positive) <= slack + 4 * _EPS * p * _most(w):
        _unscale(w, size)
        return 0
    tried = False
    for count in range(1, SWEEPS + 1):
        same = _sweep(scaled, rest, cost, w, size, signs, positive)
        tried = tried and same
        if not same or tried:
            continue
        tried = True
        if not _solved(scaled, rest, cost, w, signs, factor, found):
            return -1
        if _holds(scaled, rest, cost, w, signs, found, positive, slack):
            _unscale(w, size)
            return count
    return -1
