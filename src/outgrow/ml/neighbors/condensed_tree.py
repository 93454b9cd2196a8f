"""The hierarchy of clusters that a spanning tree of rows makes, and which of them are chosen.

Campello, Moulavi and Sander 2013, "Density-based clustering based on hierarchical density estimates", as
McInnes, Healy and Astels' hdbscan condenses it. A lambda is one divided by a distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SAME = 1e-9
"""Share of a length by which others may be shorter and count as the same, as they are rounded."""


@dataclass(frozen=True, eq=False)
class CondensedTree:
    """Clusters, and when rows leave them as distances shrink; cluster 0 has all rows.

    Attributes
    ----------
    row_cluster, row_lambda : shape (rows,), the cluster that each row is in last, and when it leaves that.
    parent, birth, weight : shape (clusters,), whose part each is, from when on, and what its rows weigh. A
        part has a larger number than the whole.
    row_weight : shape (rows,).
    """

    row_cluster: np.ndarray
    row_lambda: np.ndarray
    parent: np.ndarray
    birth: np.ndarray
    weight: np.ndarray
    row_weight: np.ndarray

    @property
    def stability(self) -> np.ndarray:
        """How long rows stay in each cluster, summed up."""
        total = np.zeros(len(self.parent))
        np.add.at(total, self.row_cluster, self._rows_stay)
        inner = np.arange(1, len(self.parent))
        gained = (self.birth[inner] - self.birth[self.parent[inner]]) * self.weight[inner]
        np.add.at(total, self.parent[inner], gained)
        return total

    @property
    def _rows_stay(self) -> np.ndarray:
        return (self.row_lambda - self.birth[self.row_cluster]) * self.row_weight

    def deaths(self) -> np.ndarray:
        """The last finite lambda at which something leaves each cluster; infinite where there is none."""
        last = np.full(len(self.parent), -np.inf)
        finite = np.isfinite(self.row_lambda)
        np.maximum.at(last, self.row_cluster[finite], self.row_lambda[finite])
        np.maximum.at(last, self.parent[1:], self.birth[1:])
        return np.where(last > -np.inf, last, np.inf)


def condensed(
    ends: np.ndarray, sizes: np.ndarray, weight: np.ndarray, core: np.ndarray, least: float
) -> CondensedTree:
    """The hierarchy of a spanning tree, where edges of the same length part at once, into several parts.

    So it depends neither on the order of edges, nor on which of several shortest spanning trees it is.

    Parameters
    ----------
    ends, sizes : of its edges, as `spanning_tree` gives them.
    weight : shape (rows,).
    core : shape (rows,), the core distances.
    least : what a cluster weighs at least.
    """
    n = len(weight)
    left, right, size, heavy = _merges(ends, sizes, weight)
    cluster, gone = [0] * (2 * n - 1), [-1.0] * (2 * n - 1)  # gone: the lambda at which all below leaves
    parent, birth, total = [0], [0.0], [float(heavy[2 * n - 2])]
    row_lambda, inner = np.empty(n), bytearray(2 * n - 1)
    for node in range(2 * n - 2, -1, -1):
        if inner[node]:
            continue
        if node < n:
            alone = 1.0 / core[node] if core[node] > 0 else np.inf
            row_lambda[node] = gone[node] if gone[node] >= 0 else max(alone, birth[cluster[node]])
            continue
        a, b = left[node - n], right[node - n]
        at = 1.0 / size[node - n] if size[node - n] > 0 else np.inf
        leaving = gone[node]
        if leaving < 0 and at == np.inf:  # rows that are alike are no clusters apart
            leaving = np.inf
        cluster[a] = cluster[b] = cluster[node]
        gone[a] = gone[b] = leaving
        if leaving >= 0:
            continue
        same = size[node - n] * (1 - _SAME)  # a heavy row is several, which are as far apart as its core says
        parts = _parts(node, left, right, size, inner)
        big = [part for part in parts if heavy[part] >= least and not (part < n and core[part] >= same)]
        for part in parts:
            cluster[part], gone[part] = cluster[node], at
        for part in big:
            gone[part] = -1.0
            if len(big) > 1:
                parent.append(cluster[node])
                birth.append(at)
                total.append(float(heavy[part]))
                cluster[part] = len(parent) - 1
    return CondensedTree(
        np.array(cluster[:n]), row_lambda, np.array(parent), np.array(birth), np.array(total), weight
    )


def _parts(node: int, left: list[int], right: list[int], size: list[float], inner: bytearray) -> list[int]:
    """Into what a node comes apart where all edges as long as its own go; those that go with it are noted."""
    n, same = len(size) + 1, size[node - len(size) - 1] * (1 - _SAME)
    parts, there = [], [right[node - n], left[node - n]]
    while there:
        part = there.pop()
        if part >= n and size[part - n] >= same:
            inner[part] = 1
            there += [right[part - n], left[part - n]]
        else:
            parts.append(part)
    return parts


def _merges(
    ends: np.ndarray, sizes: np.ndarray, weight: np.ndarray
) -> tuple[list[int], list[int], list[float], list[float]]:
    """What edges join, shortest first: both parts, the length, and what each node weighs; rows come first."""
    n = len(weight)
    order = np.argsort(sizes, kind="stable")
    above, heavy = list(range(2 * n - 1)), [*map(float, weight), *([0.0] * (n - 1))]
    left, right = [0] * (n - 1), [0] * (n - 1)
    for step, (a, b) in enumerate(ends[order].tolist()):
        a, b, node = _top(above, a), _top(above, b), n + step
        above[a] = above[b] = node
        left[step], right[step] = a, b
        heavy[node] = heavy[a] + heavy[b]
    return left, right, sizes[order].tolist(), heavy


def _top(above: list[int], node: int) -> int:
    """The node under which another is; the way to it gets shorter."""
    top = node
    while above[top] != top:
        top = above[top]
    while above[node] != top:
        above[node], node = top, above[node]
    return top


def chosen(
    tree: CondensedTree, method: str, *, single: bool, epsilon: float, most: float | None
) -> np.ndarray:
    """The clusters that are given out, rising.

    Parameters
    ----------
    tree : the hierarchy.
    method : 'eom' for those of the most stability, 'leaf' for those without parts.
    single : whether the cluster of all rows may be one.
    epsilon : clusters that part at a smaller distance stay together.
    most : what a cluster weighs at most; None for anything.
    """
    found = _stable(tree, single, most) if method == "eom" else _leaves(tree)
    if method == "leaf" and not len(found):
        return np.zeros(1 if single else 0, dtype=np.int64)
    if epsilon and found.tolist() != [0]:
        found = _not_nearer(tree, found, epsilon, single)
    return found if single else found[found > 0]


def _leaves(tree: CondensedTree) -> np.ndarray:
    clusters = np.arange(1, len(tree.parent))
    return np.setdiff1d(clusters, tree.parent[1:])


def _stable(tree: CondensedTree, single: bool, most: float | None) -> np.ndarray:
    """The clusters, none part of another, whose stabilities have the largest sum."""
    best = tree.stability
    parts, taken = np.zeros(len(best)), np.zeros(len(best), dtype=bool)
    for node in range(len(best) - 1, -1 if single else 0, -1):
        taken[node] = parts[node] <= best[node] and (most is None or tree.weight[node] <= most)
        best[node] = best[node] if taken[node] else parts[node]
        if node:
            parts[tree.parent[node]] += best[node]
    covered = np.zeros(len(best), dtype=bool)
    for node in range(1, len(best)):
        above = tree.parent[node]
        covered[node] = covered[above] or taken[above]
    return np.flatnonzero(taken & ~covered)


def _not_nearer(tree: CondensedTree, found: np.ndarray, epsilon: float, single: bool) -> np.ndarray:
    """The clusters, or the first above them that parted from others at no smaller distance."""
    kept: set[int] = set()
    for node in found.tolist():
        while node and 1 / tree.birth[node] < epsilon:
            above = int(tree.parent[node])
            if above == 0 and not single:
                break
            node = above
        kept.add(node)
    return np.array(sorted(node for node in kept if not _below(tree, node, kept)), dtype=np.int64)


def _below(tree: CondensedTree, node: int, others: set[int]) -> bool:
    """Whether a cluster is part of one of some others."""
    while node:
        node = int(tree.parent[node])
        if node in others:
            return True
    return False


def label_of_clusters(tree: CondensedTree, found: np.ndarray) -> np.ndarray:
    """The label that rows of each cluster have, -1 for none; the heaviest of those that were found is 0.

    Parameters
    ----------
    tree : the hierarchy.
    found : of `chosen`.
    """
    labels = np.full(len(tree.parent), -1, dtype=np.int64)
    labels[found[np.lexsort((found, -tree.weight[found]))]] = np.arange(len(found))
    for node in range(1, len(labels)):
        if labels[node] < 0:
            labels[node] = labels[tree.parent[node]]
    return labels
