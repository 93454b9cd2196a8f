"""Spanning trees of least mutual reachability distances, by compiled code.

Among the rows of a k-d tree (Boruvka 1926; March, Ram and Gray 2010), or from each row to all others (Prim
1957).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.ml.neighbors import boruvka_kernels as kernels
from outgrow.ml.neighbors.kd_tree import KdTree, pieces
from outgrow.ml.neighbors.kd_tree_kernels import NONE
from outgrow.ml.neighbors.reachability_kernels import spanning_tree

__all__ = ["least_tree", "spanning_tree"]

_RUNS = 16
"""Runs of leaves whose rows are looked at apart, whoever does: what is found does not depend on threads."""


def least_tree(
    tree: KdTree,
    cores: np.ndarray,
    scale: float,
    near: tuple[np.ndarray, np.ndarray],
    run: Callable[..., Any] = map,
) -> tuple[np.ndarray, np.ndarray]:
    """Join each part with the nearest other, rows alone first, until there is one.

    Parameters
    ----------
    tree : n rows.
    cores : shape (n,), their core distances, powered.
    scale : what powered distances are multiplied by before core distances count.
    near : powered distances and places of the nearest rows of each, of shape (n, any).
    run : what calls a function with each of some parts, such as `map` of a pool of threads.

    Returns
    -------
    The two ends of each edge, of shape (n - 1, 2), and its powered length, of shape (n - 1,).
    """
    n, names = len(cores), tree.parts[1]
    ends, sizes, done = np.empty((n - 1, 2), dtype=np.int64), np.empty(n - 1), 0
    core_table = tree.spread(cores[tree.order], np.inf)
    node_cores = _upwards(core_table.min(axis=1), np.minimum)
    least, other = cores[tree.order], _as_near(cores, scale, near)[tree.order]
    least, other = tree.spread(least, np.inf), tree.spread(other, -1)
    above = np.arange(n)
    while done < n - 1:
        roots = above == np.arange(n)
        part_of, count = (np.cumsum(roots) - 1)[above], int(roots.sum())
        parts = tree.spread(part_of[tree.order], -1)
        best = np.full(count, np.inf)
        kernels.settled(names, parts, part_of, least, other, best)
        node_parts = _common(parts)

        def part(
            edges: tuple[int, int], parts: Any = parts, nodes: Any = node_parts, best: Any = best
        ) -> None:
            kernels.outside(
                tree.parts, core_table, node_cores, parts, nodes, best, scale, *edges, least, other
            )

        for _ in run(part, pieces(len(names), max(1, -(-len(names) // _RUNS)))):
            pass
        done = kernels.joined(names, parts, least, other, count, above, ends, sizes, done)
        above = _flat(above)
    return ends, sizes


def _as_near(cores: np.ndarray, scale: float, near: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """For each row another that is no farther than its core distance, which none is nearer than; or -1."""
    keys, places = near
    ways = np.maximum(keys * scale, cores[places])
    ways[places == np.arange(len(cores))[:, None]] = np.inf
    best = np.argmin(ways, axis=1)
    every = np.arange(len(cores))
    return np.where(ways[every, best] <= cores, places[every, best], -1)


def _flat(above: np.ndarray) -> np.ndarray:
    """What all rows hang under in the end."""
    while (higher := above[above]).tobytes() != above.tobytes():
        above = higher
    return above


def _common(parts: np.ndarray) -> np.ndarray:
    """The part that all rows of each node are of, or -1."""
    lowest = _upwards(np.where(parts < 0, NONE, parts).min(axis=1), np.minimum)
    highest = _upwards(parts.max(axis=1), np.maximum)
    return np.where(lowest == highest, lowest, -1)


def _upwards(leaves: np.ndarray, merged: np.ufunc) -> np.ndarray:
    """Numbers of leaves for all nodes, the root first."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        levels.append(merged(levels[-1][::2], levels[-1][1::2]))
    return np.concatenate(levels[::-1])
