"""Which of two centers is nearer, for rows each of which has its own two, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.cluster.centers import ALIKE
from outgrow.ml.cluster.kernels import INTEGERS, TABLE
from outgrow.ml.core.compiled import GIVEN, ROWS, typed_kernel

_LOOSE = ("reassoc", "contract")


@typed_kernel(ROWS, INTEGERS, INTEGERS, TABLE, loose=_LOOSE)
def descended(X: Any, nodes: Any, left: Any, centers: Any) -> None:
    """Let rows go down a tree to its leaves.

    Parameters
    ----------
    X : the rows.
    nodes : where each is; is changed.
    left : the first child of each node, behind which the second is; -1 for leaves.
    centers : of shape (nodes, width).
    """
    for i in range(len(nodes)):
        node = nodes[i]
        while left[node] >= 0:
            first = left[node]
            near, far = 0.0, 0.0
            for j in range(X.shape[1]):
                near += (X[i, j] - centers[first, j]) ** 2
                far += (X[i, j] - centers[first + 1, j]) ** 2
            node = first + (near - far > ALIKE * (near + far))
        nodes[i] = node


@typed_kernel(ROWS, INTEGERS, TABLE, GIVEN, TABLE, loose=_LOOSE)
def halved(X: Any, pair: Any, centers: Any, weight: Any, sums: Any) -> None:
    """Add rows to the sums of the nearer of their two centers.

    Parameters
    ----------
    X : the rows.
    pair : which two centers each has, counted in pairs; -1 for none.
    centers : of shape (2 pairs, width).
    weight : what each row weighs; empty where all weigh one.
    sums : of shape (2 pairs, width + 3): summed rows, weight, cost, and rows that weigh something.
    """
    width = X.shape[1]
    for i in range(len(pair)):
        if pair[i] < 0:
            continue
        first = 2 * pair[i]
        near, far = 0.0, 0.0
        for j in range(width):
            near += (X[i, j] - centers[first, j]) ** 2
            far += (X[i, j] - centers[first + 1, j]) ** 2
        w = weight[i] if len(weight) else 1.0
        second = near - far > ALIKE * (near + far)
        own = sums[first + second]
        for j in range(width):
            own[j] += w * X[i, j]
        own[width] += w
        own[width + 1] += w * (far if second else near)
        own[width + 2] += w > 0


@typed_kernel(
    ROWS,
    INTEGERS,
    TABLE,
    GIVEN,
    types.Array(types.int8, 1, "C", readonly=True),
    GIVEN,
    types.int8[::1],
    types.float64[::1],
    TABLE,
    loose=_LOOSE,
)
def moved_over(
    X: Any,
    group: Any,
    centers: Any,
    weight: Any,
    mode: Any,
    gone: Any,
    side: Any,
    reach: Any,
    sums: Any,
) -> None:
    """Add to sums what rows that go over to the other of two centers change, or whole rows where pairs end.

    A row whose distances from the two differ by more than these have gone since is not looked at.

    Parameters
    ----------
    X : the rows.
    group : the pair of each, or -1.
    centers : of shape (2 pairs, width).
    weight : what each row weighs; empty where all weigh one.
    mode : of each pair, 0 where it stands still, 1 where it moves, 2 where it ends.
    gone : how far the two centers of each pair have gone so far, together.
    side : where each row is, 0 or 1, or -1 where that is not known; is updated.
    reach : how far the centers must have gone before a row can go over; is updated.
    sums : of shape (2 pairs, width + 3), as of `halved`; costs only where pairs end.
    """
    width = X.shape[1]
    for i in range(len(group)):
        pair = group[i]
        if pair < 0 or mode[pair] == 0 or (mode[pair] == 1 and reach[i] > gone[pair]):
            continue
        first = 2 * pair
        near, far = 0.0, 0.0
        for j in range(width):
            near += (X[i, j] - centers[first, j]) ** 2
            far += (X[i, j] - centers[first + 1, j]) ** 2
        w = weight[i] if len(weight) else 1.0
        second = int(near - far > ALIKE * (near + far))
        before = side[i]
        if mode[pair] == 2 or before != second:
            own = sums[first + second]
            for j in range(width):
                own[j] += w * X[i, j]
            own[width] += w
            own[width + 1] += w * (far if second else near)
            own[width + 2] += w > 0
        if mode[pair] == 1 and before >= 0 and before != second:
            other = sums[first + before]
            for j in range(width):
                other[j] -= w * X[i, j]
            other[width] -= w
            other[width + 2] -= w > 0
        near, far = np.sqrt(near), np.sqrt(far)
        side[i], reach[i] = second, abs(far - near) - 4 * ALIKE * (near + far) + gone[pair]
