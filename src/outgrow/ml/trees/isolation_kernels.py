"""Trees that part rows at random until each is alone, compiled by Numba (Liu, Ting and Zhou 2008)."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.compiled import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
CHUNK = 1024
"""Keys that are made at once: they stay in a core's cache."""
_TILE = 512
"""Rows that are walked through one tree after the other while they lie in a cache."""


@kernel
def _mixed(x: Any) -> Any:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def least_keys(numbers: Any, chance: Any, bound: Any, chunk: Any, places: Any, keys: Any) -> int:
    """Write the places of the rows whose keys are at most a bound, and these keys; how many there are.

    Parameters
    ----------
    numbers : uint64 of shape (rows,), what tells rows apart.
    chance : uint64, mixed into each: the keys are `seeded(numbers, seed)`.
    bound : uint64.
    chunk : room for `CHUNK` keys.
    places, keys : room for some; of more, only the number is true.
    """
    count: Any = np.int64(0)
    for begin in range(0, len(numbers), CHUNK):
        size = min(CHUNK, len(numbers) - begin)
        for k in range(size):
            chunk[k] = _mixed((numbers[begin + k] ^ chance) + _GOLDEN)
        for k in range(size):
            if chunk[k] <= bound:
                if count < len(places):
                    places[count], keys[count] = begin + k, chunk[k]
                count += 1
    return count


@kernel
def _split(X: Any, order: Any, begin: int, end: int, features: Any, random: Any) -> Any:
    """A feature with several values among rows, a number between them, and the next random number.

    Features are tried in a random order; -1 where none has two values.
    """
    width = len(features)
    for i in range(width):
        random += _GOLDEN
        j = i + np.int64(((_mixed(random) >> np.uint64(32)) * np.uint64(width - i)) >> np.uint64(32))
        features[i], features[j] = features[j], features[i]
        feature = features[i]
        low, high = X[order[begin], feature], X[order[begin], feature]
        for k in range(begin + 1, end):
            x = X[order[k], feature]
            low = x if x < low else low
            high = x if x > high else high
        if low < high:
            random += _GOLDEN
            share = np.float64(_mixed(random) >> np.uint64(11)) * 2.0**-53
            at = np.float32(np.float64(low) + share * (np.float64(high) - np.float64(low)))
            return feature, low if at >= high else at, random
    return -1, np.float32(0), random


@kernel
def grow_isolating(X: Any, features: Any, random: Any, most: int, nodes: Any, space: Any) -> int:
    """Part rows until each is alone, or no feature tells them apart, or the tree is deep enough.

    Parameters
    ----------
    X : float32 of shape (rows, width).
    features : those that the tree may split on; changed.
    random : uint64, a seed.
    most : the most splits above a leaf.
    nodes : arrays to be filled: the left child of each node or -1, behind which the right one comes; its
        feature; the greatest number that goes left; how many rows it has; how many splits are above it.
    space : int32 for each row, and three times int64 for each node.

    Returns
    -------
    How many nodes there are.
    """
    left, feature, threshold, size, depth = nodes
    order, begins, ends, waiting = space
    for k in range(len(order)):
        order[k] = k
    begins[0], ends[0], depth[0], waiting[0] = 0, len(order), 0, 0
    made, queued = 1, 1
    while queued:
        queued -= 1
        node = waiting[queued]
        begin, end = begins[node], ends[node]
        left[node], feature[node], threshold[node], size[node] = -1, 0, 0, end - begin
        if end - begin < 2 or depth[node] >= most:
            continue
        chosen, at, random = _split(X, order, begin, end, features, random)
        if chosen < 0:
            continue
        middle, last = begin, end - 1
        while middle <= last:
            if X[order[middle], chosen] <= at:
                middle += 1
            else:
                order[middle], order[last] = order[last], order[middle]
                last -= 1
        left[node], feature[node], threshold[node] = made, chosen, at
        begins[made], ends[made], begins[made + 1], ends[made + 1] = begin, middle, middle, end
        for child in range(made, made + 2):
            depth[child] = depth[node] + 1
            waiting[queued] = child
            queued += 1
        made += 2
    return made


@kernel
def add_paths(X: Any, starts: Any, nodes: Any, out: Any) -> None:
    """Add to each row how far it comes in every tree.

    Parameters
    ----------
    X : float32 of shape (rows, width), row-major.
    starts : where the nodes of each tree begin, and behind it where the last ends.
    nodes : of all trees, the left child counted from the root or -1, the feature, the greatest number that
        goes left, and of leaves how far rows come.
    out : float64 of shape (rows,).
    """
    left, feature, threshold, path = nodes
    for begin in range(0, len(X), _TILE):
        end = min(begin + _TILE, len(X))
        for tree in range(len(starts) - 1):
            root = starts[tree]
            for row in range(begin, end):
                at = root
                while left[at] >= 0:
                    right = X[row, feature[at]] > threshold[at]
                    at = root + left[at] + right
                out[row] += path[at]
