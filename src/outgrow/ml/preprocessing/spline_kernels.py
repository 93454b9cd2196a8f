"""B-splines of many numbers, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, typed_kernel

_COLUMN = types.Array(types.float64, 1, "A", readonly=True)
_SIZE = types.int64


@typed_kernel(_COLUMN, GIVEN, _SIZE, _SIZE, _SIZE, _SIZE, types.Array(types.float64, 2, "A"))
def put_splines(x: Any, knots: Any, degree: Any, first: Any, splines: Any, kept: Any, made: Any) -> None:
    """Add the splines of numbers to what is made of them, by the recursion of Cox and de Boor.

    Parameters
    ----------
    x : of shape (rows,); nothing is added for NaN.
    knots : rising, with `degree` beyond each end.
    degree : of the polynomials.
    first : the column of the first spline.
    splines : how many there are: after the last comes the first again.
    kept : how many of them have a column.
    made : of shape (rows, columns), to be changed.
    """
    values = np.empty(degree + 1)
    at, last = degree, len(knots) - degree - 2
    for i in range(len(x)):
        number = x[i]
        if np.isnan(number):
            continue
        while at < last and number >= knots[at + 1]:
            at += 1
        while at > degree and number < knots[at]:
            at -= 1
        values[0] = 1.0
        for j in range(1, degree + 1):
            carried = 0.0
            for k in range(j):
                right, left = knots[at + k + 1] - number, number - knots[at + 1 - j + k]
                share = values[k] / (right + left)
                values[k] = carried + right * share
                carried = left * share
            values[j] = carried
        for k in range(degree + 1):
            place = (at - degree + k) % splines
            if place < kept:
                made[i, first + place] += values[k]
