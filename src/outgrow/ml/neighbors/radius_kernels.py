"""The rows of a k-d tree within a radius of others, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import ROWS, typed_kernel
from outgrow.ml.neighbors.kd_tree_kernels import DEEP, NAMES, NONE, TREE, least_of_node, powered_distances

_COUNTS, _NUMBERS = types.int64[::1], types.float64[::1]


@typed_kernel(TREE, ROWS, types.float64, NAMES, _COUNTS, _COUNTS, _NUMBERS)
def within(tree: Any, queries: Any, radius: Any, ends: Any, counts: Any, places: Any, keys: Any) -> None:
    """Count or list the rows within a radius of each query.

    Parameters
    ----------
    tree : the rows.
    queries : of shape (queries, width).
    radius : to the power of the metric.
    ends : of shape (queries + 1,), where the lists begin; of shape (0,) to count alone.
    counts : of shape (queries,), to be filled.
    places, keys : of shape (pairs,), to be filled with places and powered distances.
    """
    leaves, names, low, high, power = tree
    inner, size, width = len(leaves) - 1, leaves.shape[2], leaves.shape[1]
    waiting, query, apart = np.empty(DEEP, dtype=np.int64), np.empty(width), np.empty(size)
    listing = len(ends) > 0
    for i in range(len(queries)):
        for k in range(width):
            query[k] = queries[i, k]
        waiting[0], top, count = 0, 1, 0
        while top > 0:
            top -= 1
            node = waiting[top]
            if least_of_node(low, high, node, query, power) > radius:
                continue
            if node < inner:
                waiting[top], waiting[top + 1] = 2 * node + 2, 2 * node + 1
                top += 2
                continue
            powered_distances(leaves, node - inner, query, power, apart)
            for j in range(size):
                if apart[j] <= radius and names[node - inner, j] != NONE:
                    if listing:
                        places[ends[i] + count] = names[node - inner, j]
                        keys[ends[i] + count] = apart[j]
                    count += 1
        counts[i] = count
