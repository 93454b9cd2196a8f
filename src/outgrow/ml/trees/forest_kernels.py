"""Trees that learn apart from each other, compiled by Numba: rows in bins, each tree grown by one thread.

XGBoost takes histograms of all features and all bins at each node, whose cost does not fall with the rows
that a node has. Here a node costs what its rows cost: they are counted in the bins of the features that it
tries, a bit for each bin tells which are taken, and those alone are looked at.

All that is added up are whole numbers, which float64 holds exactly: weights, and products of weight and
target, in units that leave their sums below 2^53. So neither the order of the rows nor who had them changes
a tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.compiled import kernel
from outgrow.ml.trees.split_kernels import mixed, place_of, seek


@kernel
def in_bins(X: Any, cuts: Any, missing: int, codes: Any) -> None:
    """Write of each value how many cuts are at or below it.

    Parameters
    ----------
    X : float32 of shape (rows,).
    cuts : float32, ascending.
    missing : what is written for NaN.
    codes : where to, of shape (rows,).
    """
    for r in range(len(X)):
        x = X[r]
        low, high = 0, len(cuts)
        while low < high:
            middle = (low + high) >> 1
            if x < cuts[middle]:
                high = middle
            else:
                low = middle + 1
        codes[r] = missing if np.isnan(x) else low


@kernel
def _parted(
    codes: Any, rows: Any, beside: Any, begin: int, end: int, node: int, nodes: Any, missing: int
) -> Any:
    """Bring the rows that go left before the others, all in their order; where the others begin.

    Where no row lacks a value, new ones that do will go where most of these went.
    """
    order, weight, extra = rows
    later, later_weight, later_extra = beside
    values, (start, step) = codes.values, place_of(codes, nodes.feature[node], end - begin)
    last, missing_left = nodes.bin[node], nodes.missing_left[node]
    left, right, absent, balance = begin, 0, 0, 0.0
    for k in range(begin, end):
        row, w, e = order[k], weight[k], extra[k]
        b = values[start + step * row]
        lacks = b == missing
        goes = missing_left if lacks else b <= last
        absent += lacks
        balance += w if goes else -w
        order[left], weight[left], extra[left] = row, w, e
        later[right], later_weight[right], later_extra[right] = row, w, e
        left += goes
        right += not goes
    for k in range(right):
        order[left + k], weight[left + k], extra[left + k] = later[k], later_weight[k], later_extra[k]
    if not absent:
        nodes.missing_left[node] = balance >= 0
    return left


@kernel
def _summed(rows: Any, begin: int, end: int, sums: Any, classes: int) -> None:
    """Write the sums of rows."""
    _, weight, extra = rows
    for k in range(len(sums)):
        sums[k] = 0.0
    if classes:
        for k in range(begin, end):
            sums[np.uint64(np.int64(extra[k]))] += weight[k]
    else:
        for k in range(begin, end):
            sums[0] += weight[k]
            sums[1] += extra[k]


@kernel
def _next(waiting: Any, count: Any, nodes: Any, best_first: bool) -> int:
    """The place among the waiting nodes of the one that is split now: the last, or the best."""
    if not best_first:
        return count - 1
    best = 0
    for k in range(1, count):
        if nodes.gain[waiting[k]] > nodes.gain[waiting[best]]:
            best = k
    return best


def grow_space(rows: Any, classes: int, bins: int, width: int, most: int) -> Any:
    """Where `grow_tree` keeps what it needs on its way.

    Parameters
    ----------
    rows : as `grow_tree` takes them.
    classes : how many there are; 0 for numbers.
    bins : so many, that of missing values counted.
    width : features.
    most : nodes.
    """
    slots = classes or 2
    sums = np.zeros(slots), np.zeros(slots), np.zeros(slots)
    room = (
        np.zeros((bins, slots)),
        np.zeros((bins + 63) // 64, np.uint64),
        sums,
        np.zeros(len(rows[0]), np.uint16),
    )
    ranges = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    beside = tuple(map(np.empty_like, rows))
    return room, beside, np.arange(width, dtype=np.int32), np.zeros(most // 2 + 1, np.int64), ranges


@kernel
def grow_tree(
    codes: Any, target: Any, rows: Any, lows: Any, shape: Any, seed: Any, space: Any, nodes: Any
) -> int:
    """Grow one tree into `nodes`; how many it has. Children come in pairs, after their parents.

    Parameters
    ----------
    codes : the bin of each value; the last of `bins` holds those that are missing.
    target : of each row: a number, or its class.
    rows : of those that the tree sees: their places, weights, and weighted targets or classes. Changed.
    lows : the least value of each bin, of shape (width, bins - 1), where splits are drawn; else of no rows.
    shape : the limits of the tree.
    seed : uint64, of the choice of features.
    space : what `grow_space` gives: NumPy makes arrays, which Numba would compile code for.
    nodes : room for all.
    """
    room, beside, features, waiting, (begins, ends, depths) = space
    slots, classes = len(room[2][0]), shape.classes
    # numbers of one type: Numba would compile all that gets a 0 once for that alone, and again for others
    nodes.left[0], ends[0], root, queued = -1, len(rows[0]), begins[0], np.int64(1)
    _summed(rows, root, ends[0], nodes.sums[0], classes)
    random = seek(codes, rows, target, root, ends[0], root, shape, features, mixed(seed), room, nodes, lows)
    made, leaves = 1, 1
    while queued and leaves != shape.leaves:
        place = _next(waiting, queued, nodes, shape.leaves > 0)
        node = waiting[place]
        queued -= 1
        waiting[place] = waiting[queued]
        if nodes.feature[node] < 0:
            continue
        begin, end = begins[node], ends[node]
        middle = _parted(codes, rows, beside, begin, end, node, nodes, len(room[0]) - 1)
        left, right = made, made + 1
        nodes.left[node] = left
        begins[left], ends[left], begins[right], ends[right] = begin, middle, middle, end
        _summed(rows, begin, middle, nodes.sums[left], classes)
        for k in range(slots):
            nodes.sums[right, k] = nodes.sums[node, k] - nodes.sums[left, k]
        for child in (right, left):
            nodes.left[child], nodes.feature[child], depths[child] = -1, -1, depths[node] + 1
            if depths[child] < shape.depth:
                random = seek(
                    codes,
                    rows,
                    target,
                    begins[child],
                    ends[child],
                    child,
                    shape,
                    features,
                    random,
                    room,
                    nodes,
                    lows,
                )
            waiting[queued] = child
            queued += 1
        made += 2
        leaves += 1
    return made
