"""What `kernels.py` does, of the rows of a CSR matrix: in double precision, as they have few numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.cluster.kernels import INTEGERS, PLACES, TABLE, bound, first_of_the_best
from outgrow.ml.core.compiled import GIVEN, TOGETHER, typed_kernel

_INDICES = types.Array(types.int32, 1, "C", readonly=True)
_ENDS = types.Array(types.int64, 1, "C", readonly=True)
_TURNED = TOGETHER((TABLE, GIVEN, GIVEN))


@typed_kernel(GIVEN, _INDICES, _ENDS, PLACES, GIVEN, _TURNED, INTEGERS, TABLE)
def nearest_sparse(
    data: Any, indices: Any, ends: Any, rows: Any, origin: Any, centers: Any, labels: Any, bounds: Any
) -> None:
    """As `nearest_dense`, of the rows of a CSR matrix.

    Parameters
    ----------
    data, indices, ends : the matrix.
    rows, origin, labels, bounds : as in `nearest_dense`.
    centers : what `Centers.turned_tables` gives.
    """
    turned, constants, sizes = centers
    least, largest, beside = sizes[0], sizes[3], sizes[4]
    width, clusters = turned.shape
    scores = np.empty(clusters)
    for place in range(len(rows)):
        r, square, best = rows[place], beside, -np.inf
        for c in range(clusters):
            scores[c] = -constants[c]
        for k in range(ends[r], ends[r + 1]):
            j, x = indices[k], data[k]
            square += x * (x - 2 * origin[j])
            for c in range(clusters):
                scores[c] += x * turned[j, c]
        for c in range(clusters):
            best = max(best, scores[c])
        label, other = first_of_the_best(scores, best, least)
        labels[r] = label
        bound(bounds, r, square, best, other, 0.0, largest, width)


@typed_kernel(GIVEN, _INDICES, _ENDS, INTEGERS, INTEGERS, GIVEN, GIVEN, TABLE)
def summed_sparse(
    data: Any, indices: Any, ends: Any, labels: Any, before: Any, weight: Any, upper: Any, sums: Any
) -> None:
    """As `summed_dense`, of the rows of a CSR matrix.

    Parameters
    ----------
    data, indices, ends : the matrix.
    labels, before, weight, upper, sums : as in `summed_dense`.
    """
    width = sums.shape[1] - 2
    for i in range(len(labels)):
        w = weight[i] if len(weight) else 1.0
        own = sums[labels[i]]
        own[width] += w
        own[width + 1] += w * upper[i] * upper[i]
        if len(before) and before[i] == labels[i]:
            continue
        for k in range(ends[i], ends[i + 1]):
            own[indices[k]] += w * data[k]
            if len(before):
                sums[before[i], indices[k]] -= w * data[k]


@typed_kernel(GIVEN, _INDICES, _ENDS, INTEGERS, TABLE, GIVEN, types.float64[::1])
def costs_sparse(
    data: Any, indices: Any, ends: Any, labels: Any, centers: Any, weight: Any, found: Any
) -> None:
    """As `costs_dense`, of the rows of a CSR matrix.

    Parameters
    ----------
    data, indices, ends : the matrix.
    labels, centers, weight, found : as in `costs_dense`.
    """
    squares = np.zeros(len(centers))
    for c in range(len(centers)):
        for j in range(centers.shape[1]):
            squares[c] += centers[c, j] * centers[c, j]
    for i in range(len(labels)):
        w = weight[i] if len(weight) else 1.0
        center, square = centers[labels[i]], squares[labels[i]]
        for k in range(ends[i], ends[i + 1]):
            square += data[k] * (data[k] - 2 * center[indices[k]])
        found[0] += w * max(square, 0.0)
        found[1 + labels[i]] += w > 0
