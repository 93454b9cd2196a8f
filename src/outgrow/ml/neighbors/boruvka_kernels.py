"""The steps of Boruvka's algorithm among the rows of a k-d tree, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, typed_kernel
from outgrow.ml.neighbors.kd_tree_kernels import (
    DEEP,
    NAMES,
    NONE,
    PLACES,
    TABLE,
    TREE,
    least_of_node,
    powered_distances,
    root,
)

_NUMBERS, _PLACES = types.float64[::1], types.int64[:, ::1]


@typed_kernel(
    TREE,
    ROWS,
    GIVEN,
    PLACES,
    NAMES,
    GIVEN,
    types.float64,
    types.int64,
    types.int64,
    TABLE,
    _PLACES,
)
def outside(
    tree: Any,
    cores: Any,
    node_cores: Any,
    parts: Any,
    node_parts: Any,
    best: Any,
    scale: Any,
    start: Any,
    stop: Any,
    least: Any,
    other: Any,
) -> None:
    """Find of rows the nearest of another part, where it may be nearer than what the part has.

    Parameters
    ----------
    tree : the rows.
    cores, node_cores : of shape (leaves, size), the core distances of rows, and (nodes,), the least of each
        node.
    parts, node_parts : of the same shapes, the part of each row and of all rows of a node, or -1.
    best : of shape (parts,), the shortest way out of each part that is known.
    scale : what powered distances are multiplied by.
    start, stop : the leaves whose rows are looked at.
    least, other : of shape (leaves, size): how near rows of other parts are at least, and which one is as
        near, or -1; are updated.
    """
    leaves, names, low, high, power = tree
    inner, size, width = len(leaves) - 1, leaves.shape[2], leaves.shape[1]
    waiting, bounds = np.empty(DEEP, dtype=np.int64), np.empty(DEEP)
    query, apart, known = np.empty(width), np.empty(size), best.copy()
    for leaf in range(start, stop):
        for row in range(size):
            part = parts[leaf, row]
            if names[leaf, row] == NONE or other[leaf, row] >= 0 or least[leaf, row] >= known[part]:
                continue
            core, worst, found = cores[leaf, row], known[part], -1
            for k in range(width):
                query[k] = leaves[leaf, k, row]
            waiting[0], bounds[0], top = 0, 0.0, 1
            while top > 0:
                top -= 1
                node = waiting[top]
                if bounds[top] >= worst or node_cores[node] >= worst or node_parts[node] == part:
                    continue
                if node < inner:
                    near, far = 2 * node + 1, 2 * node + 2
                    bound = least_of_node(low, high, near, query, power) * scale
                    beyond = least_of_node(low, high, far, query, power) * scale
                    if beyond < bound:
                        near, far, bound, beyond = far, near, beyond, bound
                    waiting[top], bounds[top] = far, beyond
                    waiting[top + 1], bounds[top + 1] = near, bound
                    top += 2
                    continue
                powered_distances(leaves, node - inner, query, power, apart)
                for j in range(size):
                    if apart[j] * scale < worst and parts[node - inner, j] != part:
                        way = max(apart[j] * scale, cores[node - inner, j], core)
                        if way < worst:
                            worst, found = way, names[node - inner, j]
            least[leaf, row], other[leaf, row] = worst, found
            known[part] = worst


@typed_kernel(PLACES, PLACES, NAMES, TABLE, _PLACES, _NUMBERS)
def settled(names: Any, parts: Any, part_of: Any, least: Any, other: Any, best: Any) -> None:
    """Forget the nearest rows that are of the same part by now, and note the shortest ways out.

    Parameters
    ----------
    names : of shape (leaves, size), the places of rows.
    parts, part_of : of shape (leaves, size) and (rows,), the part of each row.
    least, other : as for `outside`.
    best : of shape (parts,), infinite; is filled.
    """
    for leaf in range(len(names)):
        for row in range(names.shape[1]):
            if names[leaf, row] == NONE or other[leaf, row] < 0:
                continue
            part = parts[leaf, row]
            if part_of[other[leaf, row]] == part:
                other[leaf, row] = -1
            else:
                best[part] = min(best[part], least[leaf, row])


@typed_kernel(
    PLACES,
    PLACES,
    ROWS,
    PLACES,
    types.int64,
    types.int64[::1],
    _PLACES,
    _NUMBERS,
    types.int64,
    returns=types.int64,
)
def joined(
    names: Any,
    parts: Any,
    least: Any,
    other: Any,
    count: Any,
    above: Any,
    ends: Any,
    sizes: Any,
    done: Any,
) -> Any:
    """Join each part with the one that is nearest to it.

    Parameters
    ----------
    names, parts, least, other : as for `settled`.
    count : how many parts there are.
    above : of shape (rows,), what each row hangs under; is updated.
    ends, sizes : the edges of the tree, of which `done` are known; more are written.
    done : how many.

    Returns
    -------
    How many edges are known by now.
    """
    best = np.full(count, np.inf)
    leaf_of, row_of = np.full(count, -1), np.zeros(count, dtype=np.int64)
    for leaf in range(len(names)):
        for row in range(names.shape[1]):
            if names[leaf, row] == NONE or other[leaf, row] < 0:
                continue
            part = parts[leaf, row]
            if least[leaf, row] < best[part] or leaf_of[part] < 0:
                best[part], leaf_of[part], row_of[part] = least[leaf, row], leaf, row
    for part in range(count):
        leaf, row = leaf_of[part], row_of[part]
        if leaf < 0:
            continue
        one, two = names[leaf, row], other[leaf, row]
        a, b = root(above, one), root(above, two)
        if a != b:
            above[max(a, b)] = min(a, b)
            ends[done, 0], ends[done, 1], sizes[done] = one, two, best[part]
            done += 1
    return done
