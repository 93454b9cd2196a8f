"""Half a step of alternating least squares, row by row, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, typed_kernel

_COUNTS = types.Array(types.int32, 1, "C", readonly=True)
_FACTORS = types.float64[:, ::1]
_GIVEN_ROWS = (_COUNTS, _COUNTS, GIVEN, GIVEN, types.int64, types.int64)


@typed_kernel(*_GIVEN_ROWS, ROWS, ROWS, GIVEN, _FACTORS, returns=types.int64, loose=("reassoc", "contract"))
def exactly(
    ends: Any,
    columns: Any,
    quadratic: Any,
    linear: Any,
    start: Any,
    stop: Any,
    fixed: Any,
    base: Any,
    weights: Any,
    made: Any,
) -> Any:
    """Solve the normal equations of some rows by Cholesky factors.

    Parameters
    ----------
    ends : of shape (rows + 1,), where the entries of each row begin.
    columns, quadratic, linear : of shape (entries,).
    start, stop : which rows.
    fixed : of shape (columns, k).
    base : of shape (k, k), what all rows share.
    weights : of shape (rows,), of the squared factors.
    made : of shape (rows, k), to be filled.

    Returns
    -------
    A row whose equations have no unique solution in floating point, or -1.
    """
    k = fixed.shape[1]
    products, right = np.empty((k, k)), np.empty(k)
    for row in range(start, stop):
        for p in range(k):  # Numba compiles assignments of whole arrays for seconds
            right[p] = 0.0
            for q in range(p + 1):
                products[p, q] = base[p, q]
            products[p, p] += weights[row]
        for at in range(ends[row], ends[row + 1]):
            near, square, side = fixed[columns[at]], quadratic[at], linear[at]
            for p in range(k):
                right[p] += side * near[p]
                share = square * near[p]
                for q in range(p + 1):
                    products[p, q] += share * near[q]
        for p in range(k):
            for q in range(p):
                total = products[p, q]
                for j in range(q):
                    total -= products[p, j] * products[q, j]
                products[p, q] = total / products[q, q]
            total = products[p, p]
            for j in range(p):
                total -= products[p, j] * products[p, j]
            if not total > 0:
                return row
            products[p, p] = np.sqrt(total)
        for p in range(k):
            total = right[p]
            for j in range(p):
                total -= products[p, j] * right[j]
            right[p] = total / products[p, p]
        for p in range(k - 1, -1, -1):
            total = right[p] / products[p, p]
            right[p] = total
            for j in range(p):
                right[j] -= products[p, j] * total
        for p in range(k):
            made[row, p] = right[p]
    return -1


@typed_kernel(
    *_GIVEN_ROWS,
    ROWS,
    ROWS,
    GIVEN,
    ROWS,
    types.int64,
    types.boolean,
    _FACTORS,
    loose=("reassoc", "contract"),
)
def by_gradients(
    ends: Any,
    columns: Any,
    quadratic: Any,
    linear: Any,
    start: Any,
    stop: Any,
    fixed: Any,
    base: Any,
    weights: Any,
    before: Any,
    steps: Any,
    shared: Any,
    made: Any,
) -> None:
    """Take a few steps of conjugate gradients for each of some rows.

    Parameters
    ----------
    ends, columns, quadratic, linear, start, stop, fixed, base, weights, made : as for `exactly`.
    before : of shape (rows, k), where they begin.
    steps : how many.
    shared : whether `base` is anything but zeros.
    """
    k = fixed.shape[1]
    x, residual, direction, product = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    for row in range(start, stop):
        for p in range(k):
            x[p] = direction[p] = before[row, p]
            residual[p] = 0.0
        size = 0.0
        for step in range(steps + 1):
            for p in range(k):
                product[p] = weights[row] * direction[p]
            if shared:
                for p in range(k):
                    along = direction[p]
                    for q in range(k):
                        product[q] += along * base[p, q]
            for at in range(ends[row], ends[row + 1]):
                near = fixed[columns[at]]
                answer = 0.0
                for p in range(k):
                    answer += near[p] * direction[p]
                answer *= quadratic[at]
                if step == 0:
                    answer -= linear[at]
                for p in range(k):
                    product[p] += answer * near[p]
            if step == 0:
                for p in range(k):
                    residual[p] = -product[p]
                    direction[p] = residual[p]
                    size += residual[p] * residual[p]
                continue
            curve = 0.0
            for p in range(k):
                curve += direction[p] * product[p]
            if not curve > 0:
                break
            length, after = size / curve, 0.0
            for p in range(k):
                x[p] += length * direction[p]
                residual[p] -= length * product[p]
                after += residual[p] * residual[p]
            ratio, size = after / size, after
            for p in range(k):
                direction[p] = residual[p] + ratio * direction[p]
        for p in range(k):
            made[row, p] = x[p]
