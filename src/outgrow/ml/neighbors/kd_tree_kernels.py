"""What a k-d tree of rows is asked, compiled by Numba.

Leaves hold their rows by columns, filled up with infinity, so that distances from one row are worked out for
many at a time. Distances are compared as sums of powers: only what is answered becomes a distance. The bound
of a node adds up in the order in which distances do, so no rounding makes it larger than that of any row
inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, TOGETHER, kernel, typed_kernel

LEAVES = types.Array(types.float64, 3, "C", readonly=True)
PLACES = types.Array(types.int64, 2, "C", readonly=True)
NAMES = types.Array(types.int64, 1, "C", readonly=True)
TABLE = types.float64[:, ::1]
NONE = np.iinfo(np.int64).max
"""The place of what fills up a leaf."""
_SLACK = 1 - 1e-12
"""Powers but the first and second may be rounded so that they do not rise."""
DEEP = 128
"""More nodes than ever wait."""

TREE: Any = TOGETHER((LEAVES, PLACES, ROWS, ROWS, types.float64))
"""Leaves of shape (leaves, width, size), the places of their rows, of shape (leaves, size), the least and
largest numbers of each node, of shape (nodes, width), and the power of the metric."""


@kernel
def _swapped(order: Any, i: Any, j: Any) -> None:
    kept = order[i]
    order[i] = order[j]
    order[j] = kept


@kernel
def _halved(rows: Any, column: Any, order: Any, start: Any, middle: Any, stop: Any) -> None:
    """Let the rows with the least numbers come before the middle (Hoare's selection)."""
    low, high = start, stop - 1
    while low < high:
        centre = (low + high) // 2
        if rows[order[centre], column] < rows[order[low], column]:
            _swapped(order, centre, low)
        if rows[order[high], column] < rows[order[low], column]:
            _swapped(order, high, low)
        if rows[order[high], column] < rows[order[centre], column]:
            _swapped(order, high, centre)
        pivot = rows[order[centre], column]
        i, j = low, high
        while i <= j:
            while rows[order[i], column] < pivot:
                i += 1
            while pivot < rows[order[j], column]:
                j -= 1
            if i <= j:
                _swapped(order, i, j)
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@typed_kernel(ROWS, types.int64[::1], NAMES, TABLE, TABLE)
def grown(rows: Any, order: Any, edges: Any, low: Any, high: Any) -> None:
    """Order rows so that each node has a run of them, halved along its widest column.

    Parameters
    ----------
    rows : of shape (n, width).
    order : of shape (n,), all places; is put into order.
    edges : of shape (leaves + 1,), where the leaves' runs begin.
    low, high : of shape (nodes, width), to be filled.
    """
    leaves, width = len(edges) - 1, rows.shape[1]
    first, count = 0, 1  # the first node of a level, and how many it has
    while count <= leaves:
        share = leaves // count
        for at in range(count):
            start, stop, node = edges[at * share], edges[(at + 1) * share], first + at
            for k in range(width):
                low[node, k], high[node, k] = np.inf, -np.inf
            for i in range(start, stop):
                for k in range(width):
                    value = rows[order[i], k]
                    low[node, k] = min(low[node, k], value)
                    high[node, k] = max(high[node, k], value)
            if count < leaves:
                widest, column = -1.0, 0
                for k in range(width):
                    if high[node, k] - low[node, k] > widest:
                        widest, column = high[node, k] - low[node, k], k
                _halved(rows, column, order, start, edges[at * share + share // 2], stop)
        first, count = first + count, 2 * count


@kernel
def _squares(leaves: Any, leaf: Any, query: Any, apart: Any) -> None:
    """The squared distances of the rows of a leaf."""
    for j in range(leaves.shape[2]):
        apart[j] = 0.0
    for k in range(leaves.shape[1]):
        value = query[k]
        for j in range(leaves.shape[2]):
            apart[j] += (leaves[leaf, k, j] - value) * (leaves[leaf, k, j] - value)


@kernel
def powered_distances(leaves: Any, leaf: Any, query: Any, power: Any, apart: Any) -> None:
    """The powered distances of the rows of a leaf.

    Parameters
    ----------
    leaves, leaf : of a tree, and which.
    query : of shape (width,).
    power : of the metric.
    apart : of shape (size,), to be filled.
    """
    if power == 2.0:
        _squares(leaves, leaf, query, apart)
        return
    for j in range(leaves.shape[2]):
        apart[j] = 0.0
    for k in range(leaves.shape[1]):
        value = query[k]
        if power == 1.0:
            for j in range(leaves.shape[2]):
                apart[j] += abs(leaves[leaf, k, j] - value)
        elif np.isinf(power):
            for j in range(leaves.shape[2]):
                apart[j] = max(apart[j], abs(leaves[leaf, k, j] - value))
        else:
            for j in range(leaves.shape[2]):
                apart[j] += abs(leaves[leaf, k, j] - value) ** power


@kernel
def least_of_node(low: Any, high: Any, node: Any, query: Any, power: Any) -> Any:
    """What the powered distances of the rows of a node are at least.

    Parameters
    ----------
    low, high, node : of a tree, and which.
    query : of shape (width,).
    power : of the metric.
    """
    total = 0.0
    if power == 2.0:
        for k in range(low.shape[1]):
            gap = max(0.0, low[node, k] - query[k], query[k] - high[node, k])
            total += gap * gap
        return total
    for k in range(low.shape[1]):
        gap = max(0.0, low[node, k] - query[k], query[k] - high[node, k])
        if power == 1.0:
            total += gap
        elif np.isinf(power):
            total = max(total, gap)
        else:
            total += gap**power
    return total if power == 1.0 or np.isinf(power) else total * _SLACK


@kernel
def _most(low: Any, high: Any, node: Any, query: Any, power: Any) -> Any:
    """What the powered distances of the rows of a node are at most."""
    total = 0.0
    for k in range(low.shape[1]):
        gap = max(high[node, k] - query[k], query[k] - low[node, k])
        if power == 2.0:
            total += gap * gap
        elif power == 1.0:
            total += gap
        elif np.isinf(power):
            total = max(total, gap)
        else:
            total += gap**power
    return total if power in (1.0, 2.0) or np.isinf(power) else total / _SLACK


@kernel
def _sifted(keys: Any, places: Any, count: Any) -> None:
    """Let the first of a heap, whose largest is on top, sink to where it belongs."""
    at, key, place = 0, keys[0], places[0]
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and (
            keys[child + 1] > keys[child]
            or (keys[child + 1] == keys[child] and places[child + 1] > places[child])
        ):
            child += 1
        if keys[child] < key or (keys[child] == key and places[child] <= place):
            break
        keys[at], places[at] = keys[child], places[child]
        at = child
    keys[at], places[at] = key, place


@typed_kernel(TREE, ROWS, NAMES, types.int64, types.int64, TABLE, types.int64[:, ::1], returns=types.int64)
def nearest(tree: Any, queries: Any, sequence: Any, start: Any, stop: Any, keys: Any, places: Any) -> Any:
    """The nearest rows of some queries; of rows as far the first.

    Parameters
    ----------
    tree : the rows.
    queries : of shape (queries, width).
    sequence : in which order queries are looked at.
    start, stop : which of that order.
    keys, places : of shape (queries, count), to be filled: powered distances, rising, and places.

    Returns
    -------
    How many leaves were looked at.
    """
    leaves, names, low, high, power = tree
    inner, size, width, count = len(leaves) - 1, leaves.shape[2], leaves.shape[1], keys.shape[1]
    waiting, bounds = np.empty(DEEP, dtype=np.int64), np.empty(DEEP)
    query, apart = np.empty(width), np.empty(size)
    heap, kept = np.empty(count), np.empty(count, dtype=np.int64)
    looked = 0
    for step in range(start, stop):
        i = sequence[step]
        for k in range(width):
            query[k] = queries[i, k]
        for k in range(count):
            heap[k], kept[k] = np.inf, NONE
        waiting[0], bounds[0], top = 0, 0.0, 1
        while top > 0:
            top -= 1
            node, bound = waiting[top], bounds[top]
            while bound <= heap[0] and node < inner:
                near, far = 2 * node + 1, 2 * node + 2
                bound, other = (
                    least_of_node(low, high, near, query, power),
                    least_of_node(low, high, far, query, power),
                )
                if other < bound:
                    near, far, bound, other = far, near, other, bound
                if other <= heap[0]:
                    waiting[top], bounds[top] = far, other
                    top += 1
                node = near
            if bound > heap[0]:
                continue
            leaf, looked = node - inner, looked + 1
            powered_distances(leaves, leaf, query, power, apart)
            for j in range(size):
                if apart[j] < heap[0] or (apart[j] == heap[0] and names[leaf, j] < kept[0]):
                    heap[0], kept[0] = apart[j], names[leaf, j]
                    _sifted(heap, kept, count)
        for k in range(count - 1, -1, -1):
            keys[i, k], places[i, k] = heap[0], kept[0]
            heap[0], kept[0] = heap[k], kept[k]
            _sifted(heap, kept, k)
    return looked


@typed_kernel(TREE, ROWS, GIVEN, types.float64, types.float64, types.int64, types.int64, TABLE)
def weights_near(
    tree: Any, weight: Any, total: Any, radius: Any, enough: Any, start: Any, stop: Any, found: Any
) -> None:
    """What the rows within a radius of each row of the tree weigh; or anything that is enough.

    Parameters
    ----------
    tree : the rows.
    weight : of shape (leaves, size), of the rows; 0 of what fills up.
    total : of shape (nodes,), the weight of each node.
    radius : to the power of the metric.
    enough : it stops counting from there on.
    start, stop : the leaves whose rows are asked for.
    found : of shape (leaves, size), to be filled.
    """
    leaves, names, low, high, power = tree
    inner, size, width = len(leaves) - 1, leaves.shape[2], leaves.shape[1]
    waiting = np.empty(DEEP, dtype=np.int64)
    query, apart = np.empty(width), np.empty(size)
    for leaf in range(start, stop):
        for row in range(size):
            if names[leaf, row] == NONE:
                continue
            for k in range(width):
                query[k] = leaves[leaf, k, row]
            powered_distances(leaves, leaf, query, power, apart)
            heavy = 0.0
            for j in range(size):
                heavy += weight[leaf, j] if apart[j] <= radius else 0.0
            waiting[0], top = 0, 1
            while top > 0 and heavy < enough:
                top -= 1
                node = waiting[top]
                while node < inner:
                    near, far = 2 * node + 1, 2 * node + 2
                    bound = least_of_node(low, high, near, query, power)
                    other = least_of_node(low, high, far, query, power)
                    if other < bound:
                        near, far, bound, other = far, near, other, bound
                    if other <= radius:
                        waiting[top] = far
                        top += 1
                    node = near
                    if bound > radius:
                        break
                if (
                    node < inner
                    or node - inner == leaf
                    or least_of_node(low, high, node, query, power) > radius
                ):
                    continue
                if _most(low, high, node, query, power) <= radius:
                    heavy += total[node]
                    continue
                powered_distances(leaves, node - inner, query, power, apart)
                for j in range(size):
                    heavy += weight[node - inner, j] if apart[j] <= radius else 0.0
            found[leaf, row] = heavy


@kernel
def root(above: Any, row: Any) -> Any:
    """What a row hangs under; the way there gets shorter.

    Parameters
    ----------
    above : of shape (rows,), what each hangs under; is updated.
    row : which.
    """
    while above[row] != row:
        above[row] = above[above[row]]
        row = above[row]
    return row


@kernel
def _tied(above: Any, a: Any, b: Any) -> None:
    a, b = root(above, a), root(above, b)
    if a < b:
        above[b] = a
    else:
        above[a] = b


@kernel
def _is_whole(whole: Any, above: Any, firsts: Any, node: Any) -> Any:
    """Whether all rows of a node hang together; what is found is noted."""
    if whole[node] or 2 * node + 2 >= len(whole):
        return whole[node]
    left, right = 2 * node + 1, 2 * node + 2
    if whole[left] and whole[right] and root(above, firsts[left]) == root(above, firsts[right]):
        whole[node] = True
    return whole[node]


@kernel
def _box_gap(low: Any, high: Any, a: Any, b: Any, power: Any) -> Any:
    """What the powered distances of rows of two nodes are at least."""
    total = 0.0
    for k in range(low.shape[1]):
        gap = max(0.0, low[a, k] - high[b, k], low[b, k] - high[a, k])
        if power == 2.0:
            total += gap * gap
        elif power == 1.0:
            total += gap
        elif np.isinf(power):
            total = max(total, gap)
        else:
            total += gap**power
    return total if power in (1.0, 2.0) or np.isinf(power) else total * _SLACK


@kernel
def _pairs_tied(tree: Any, above: Any, one: Any, other: Any, radius: Any, once: Any, room: Any) -> None:
    """Tie rows of two leaves that are within a radius; the first two alone where that ties all."""
    leaves, names, _, _, power = tree
    query, apart = room
    for i in range(leaves.shape[2]):
        mine = names[one, i]
        if mine == NONE:
            continue
        for k in range(leaves.shape[1]):
            query[k] = leaves[one, k, i]
        powered_distances(leaves, other, query, power, apart)
        for j in range(leaves.shape[2]):
            if apart[j] <= radius and names[other, j] != NONE:
                _tied(above, mine, names[other, j])
                if once:
                    return


@kernel
def _checked(tree: Any, above: Any, whole: Any, leaf: Any) -> None:
    """Note whether the rows of a leaf hang together."""
    names, inner = tree[1], len(tree[0]) - 1
    first = root(above, names[leaf, 0])
    for j in range(1, names.shape[1]):
        if names[leaf, j] != NONE and root(above, names[leaf, j]) != first:
            return
    whole[inner + leaf] = True


@typed_kernel(TREE, NAMES, types.float64, types.int64[::1])
def tied(tree: Any, firsts: Any, radius: Any, above: Any) -> None:
    """Tie rows that are within a radius of each other, and so on along chains.

    Parameters
    ----------
    tree : the rows.
    firsts : of shape (nodes,), the place of a row of each node.
    radius : to the power of the metric.
    above : of shape (rows,), the places themselves; then what each row hangs under, the least place of its
        chain.
    """
    leaves, _, low, high, power = tree
    inner, size, width = len(leaves) - 1, leaves.shape[2], leaves.shape[1]
    room = np.empty(width), np.empty(size)
    waiting = np.empty(DEEP, dtype=np.int64)
    whole = np.zeros(len(low), dtype=np.bool_)
    for leaf in range(len(leaves)):
        _pairs_tied(tree, above, leaf, leaf, radius, False, room)
        _checked(tree, above, whole, leaf)
    for leaf in range(len(leaves)):
        mine = inner + leaf
        waiting[0], top = 0, 1
        while top > 0:
            top -= 1
            node = waiting[top]
            if _box_gap(low, high, mine, node, power) > radius:
                continue
            both = _is_whole(whole, above, firsts, node) and whole[mine]
            if both and root(above, firsts[node]) == root(above, firsts[mine]):
                continue
            if node >= inner:
                if node > mine:
                    _pairs_tied(tree, above, leaf, node - inner, radius, both, room)
                continue
            waiting[top], waiting[top + 1] = 2 * node + 2, 2 * node + 1
            top += 2
        _checked(tree, above, whole, leaf)
    for row in range(len(above)):
        above[row] = root(above, row)
