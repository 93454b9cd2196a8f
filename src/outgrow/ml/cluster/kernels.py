"""The nearest centers of rows and the sums of clusters, compiled by Numba.

Distances come from products in single precision, many rows at a time; where these do not tell the best two
centers apart, double precision looks at the centers that may be the best.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.cluster.centers import ALIKE
from outgrow.ml.core.compiled import GIVEN, ROWS, TOGETHER, kernel, typed_kernel

_NUMBERS = 1 << 17
"""So many numbers of single precision, products and rows, are worked on at once."""
_SINGLE = 1.2e-7
"""What rounding to single precision changes at most, as a share."""
_SMALLEST, _LARGEST = 1.2e-38, 1e37
"""Products of single precision that are smaller are lost, and larger ones may be."""
_DOUBLE = 2.3e-16
"""What rounding in double precision changes at most, as a share."""

INTEGERS, PLACES, _NUMBER = types.int32[::1], types.int64[::1], types.float64
TABLE, _SINGLES = types.float64[:, ::1], types.float32[:, ::1]
_CENTERS = TOGETHER((TABLE, GIVEN, GIVEN, _SINGLES, types.float32[::1], GIVEN))
_LOOSE = ("reassoc", "contract")


@typed_kernel(INTEGERS, TABLE, GIVEN, GIVEN, _NUMBER, PLACES, returns=types.int64)
def doubtful(labels: Any, bounds: Any, moved: Any, away: Any, least: float, found: Any) -> int:
    """Loosen bounds by how far centers have gone, and write which rows may have another nearest center.

    Parameters
    ----------
    labels : the center of each row.
    bounds : of shape (3, rows): how far the row's center is at most, how far any other is at least, and the
        row's squared distance from the origin.
    moved : how far each center has gone.
    away : how far any center but this has gone, for each.
    least : as in `Centers`.
    found : where to write the rows.

    Returns
    -------
    How many there are.
    """
    upper, lower, squares = bounds[0], bounds[1], bounds[2]
    count = 0
    for i in range(len(labels)):
        upper[i] += moved[labels[i]]
        lower[i] -= away[labels[i]]
        apart, beside = upper[i] * upper[i], max(lower[i], 0.0) ** 2
        found[count] = i
        # the winner must be alone, and by more than what counts as equal
        if not beside - apart > ALIKE * (squares[i] + apart + 2 * least):
            count += 1
    return count


@kernel
def bound(
    bounds: Any, r: int, square: float, first: float, other: float, error: float, largest: float, width: int
) -> None:
    """Write the bounds of a row; see `doubtful`.

    Parameters
    ----------
    bounds : where to write them.
    r : the row.
    square : its squared distance from the origin.
    first, other : its best score, and the best of another center.
    error : how far these may be off.
    largest : what rounding is a share of, beside the row's own square.
    width : how many numbers a row has.
    """
    lost = (450 + width) * _DOUBLE * (square + largest) + 2 * error
    bounds[0, r] = np.sqrt(max(square - 2 * first, 0.0) + lost)
    bounds[1, r] = np.sqrt(max(square - 2 * other - lost, 0.0))
    bounds[2, r] = square


@kernel
def _best_two(products: Any, half: Any, best: Any, second: Any, label: Any) -> None:
    """The best score of each row and its center, and the best score of another."""
    for i in range(len(best)):
        best[i], second[i], label[i] = -np.inf, -np.inf, 0
    for c in range(len(products)):
        scores, own = products[c], half[c]
        for i in range(len(best)):
            score, first, other = scores[i] - own, best[i], second[i]
            lower = score if score < first else first
            second[i] = lower if lower > other else other
            label[i] = c if score > first else label[i]
            best[i] = score if score > first else first


@kernel
def first_of_the_best(scores: Any, best: float, least: float) -> Any:
    """The first center with the best score but for rounding, and the best score of another.

    Parameters
    ----------
    scores : of all centers.
    best : the best of them.
    least : as in `Centers`.
    """
    slack, label, second = ALIKE * (abs(best) + least), -1, -np.inf
    for c in range(len(scores)):
        if label < 0 and scores[c] >= best - slack:
            label = c
        elif scores[c] > second:
            second = scores[c]
    return max(label, 0), second


@kernel
def _exactly(row: Any, length: float, products: Any, centers: Any, share: float, scores: Any) -> Any:
    """The first of the centers with the best score, that score, and the best of another center.

    Only centers whose products of single precision are near the best are looked at.
    """
    apart, halves, norms, _, _, sizes = centers
    least, highest, farthest = sizes[0], sizes[1], sizes[2]
    lost = len(row) * _SMALLEST
    floor, doubt = -np.inf, 0.0
    for c in range(len(apart)):
        score, error = products[c] - halves[c], share * (length * norms[c] + halves[c]) + lost
        if abs(score) < np.inf and score - error > floor:
            floor, doubt = score - error, error
    if length * farthest + highest >= _LARGEST:
        floor = -np.inf
    floor -= 2 * ALIKE * (abs(floor) + 2 * doubt + least)
    best, beside = -np.inf, -np.inf
    for c in range(len(apart)):
        score, error = products[c] - halves[c], share * (length * norms[c] + halves[c]) + lost
        scores[c] = -np.inf
        if score + error < floor:
            beside = max(beside, score + error)
            continue
        product = 0.0
        for j in range(len(row)):
            product += row[j] * apart[c, j]
        scores[c] = product - halves[c]
        best = max(best, scores[c])
    label, second = first_of_the_best(scores, best, least)
    return label, best, max(beside, second)


@typed_kernel(ROWS, PLACES, GIVEN, _CENTERS, INTEGERS, TABLE, loose=_LOOSE)
def nearest_dense(X: Any, rows: Any, origin: Any, centers: Any, labels: Any, bounds: Any) -> None:
    """Find the nearest center of some rows, and bounds that hold whatever rounding does.

    Parameters
    ----------
    X : all rows.
    rows : which to look at.
    origin : of shape (width,), from which centers are apart.
    centers : what `Centers.tables` gives.
    labels, bounds : as in `doubtful`, to be written.
    """
    apart, _, _, single, half, sizes = centers
    least, highest, farthest, largest = sizes[0], sizes[1], sizes[2], sizes[3]
    clusters, width = apart.shape
    share = (width + 4) * _SINGLE
    # as many parts as the cache asks for, and none that is nearly empty
    step = max(16, min(4096, _NUMBERS // (clusters + width)))
    step = max(1, -(-len(rows) // max(1, -(-len(rows) // step))))
    near, products = np.zeros((step, width), np.float32), np.empty((clusters, step), np.float32)
    best, second, label = np.empty(step, np.float32), np.empty(step, np.float32), np.empty(step, np.int32)
    squares, row, scores = np.empty(step), np.empty(width), np.empty(clusters)
    for start in range(0, len(rows), step):
        count = min(step, len(rows) - start)
        for i in range(count):
            r, square = rows[start + i], 0.0
            for j in range(width):
                difference = X[r, j] - origin[j]
                square += difference * difference
                near[i, j] = difference
            squares[i] = square
        np.dot(single, near.T, products)
        _best_two(products, half, best, second, label)
        for i in range(count):
            r, length = rows[start + i], np.sqrt(squares[i])
            reach = length * farthest + highest
            error = share * reach + width * _SMALLEST
            first, other, own = np.float64(best[i]), np.float64(second[i]), np.int64(label[i])
            # what overflows in single precision is not told apart, either
            if not (first - other > ALIKE * (abs(first) + least) + 2 * error and reach < _LARGEST):
                for j in range(width):
                    row[j] = X[r, j] - origin[j]
                own, first, other = _exactly(row, length, products[:, i], centers, share, scores)
                error = 0.0
            labels[r] = own
            bound(bounds, r, squares[i], first, other, error, largest, width)


@typed_kernel(ROWS, INTEGERS, INTEGERS, GIVEN, GIVEN, TABLE)
def summed_dense(X: Any, labels: Any, before: Any, weight: Any, upper: Any, sums: Any) -> None:
    """Add rows to the sums of their clusters: all, or where labels were others before, those that changed.

    Parameters
    ----------
    X : the rows.
    labels : the cluster of each.
    before : which it was, from whose sums the row is then taken; empty where all rows are to be added.
    weight : what each weighs; empty where all weigh one.
    upper : how far each is from its center, at most.
    sums : of shape (clusters, width + 2): the rows of each cluster, their weight, and what they cost.
    """
    width = X.shape[1]
    for i in range(len(labels)):
        w = weight[i] if len(weight) else 1.0
        own = sums[labels[i]]
        own[width] += w
        own[width + 1] += w * upper[i] * upper[i]
        if len(before) and before[i] == labels[i]:
            continue
        for j in range(width):
            own[j] += w * X[i, j]
        if len(before):
            old = sums[before[i]]
            for j in range(width):
                old[j] -= w * X[i, j]


@typed_kernel(ROWS, INTEGERS, TABLE, GIVEN, types.float64[::1], loose=_LOOSE)
def costs_dense(X: Any, labels: Any, centers: Any, weight: Any, found: Any) -> None:
    """Add up the squared distances of rows from their centers, and how many rows that weigh something each
    center has.

    Parameters
    ----------
    X, labels, weight : as in `summed_dense`.
    centers : of shape (clusters, width).
    found : of shape (1 + clusters,), where to add them.
    """
    for i in range(len(labels)):
        w = weight[i] if len(weight) else 1.0
        center, square = centers[labels[i]], 0.0
        for j in range(len(center)):
            difference = X[i, j] - center[j]
            square += difference * difference
        found[0] += w * square
        found[1 + labels[i]] += w > 0
