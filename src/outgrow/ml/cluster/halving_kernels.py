"""Which of two centers is nearer, for rows each of which has its own two, compiled by Numba."""

from __future__ import annotations

from typing import Any

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
