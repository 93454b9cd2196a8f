"""Trees whose splits are found in histograms that ranks add up; rows stay where they are.

A node's histogram holds, for each bin of each feature that is tried, the sums of the derivatives of the rows
there (Chen and Guestrin 2016). All ranks see the same sums, so all choose the same splits; several trees that
do not need each other grow side by side, in merges that they share.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow.engine.collective import Communicator
from outgrow.ml.trees.document import ROOT_PARENT, Nodes

LEAST_GAIN = 1e-6
"""What gains less is no split, as XGBoost has it."""
_MERGED = 1 << 20
"""Numbers that are merged at once, at most, but for a node that has more."""


@dataclass(frozen=True)
class Growth:
    """How trees grow; see XGBoost's parameters.

    Attributes
    ----------
    tried : features that are tried at each split.
    leaves : the most, which then grow best-first; None for no limit.
    """

    rate: float
    depth: int
    leaves: int | None
    least: float
    l2: float
    l1: float
    gamma: float
    tried: int
    seed: int


@dataclass
class Node:
    """Rows of this rank that came the same way, and what all ranks know of theirs."""

    number: int
    depth: int
    rows: np.ndarray
    sums: np.ndarray
    features: np.ndarray
    histogram: np.ndarray | None = None
    gain: float = 0.0
    feature: int = 0
    bin: int = 0
    default_left: bool = False
    left_sums: np.ndarray = field(default_factory=lambda: np.zeros(2))
    children: tuple[Node, Node] | None = None


class Grove:
    """Trees that grow side by side on the rows of all ranks.

    Parameters
    ----------
    comm : adds up histograms.
    codes : shape (width, rows of this rank), the bin of each value; the last one for missing.
    bins : how many there are, with that of missing values.
    cuts : of each feature, the number below which the values of each bin lie.
    growth : how trees grow.
    """

    def __init__(
        self, comm: Communicator, codes: np.ndarray, bins: int, cuts: Sequence[np.ndarray], growth: Growth
    ) -> None:
        self._comm, self._codes, self._bins, self._cuts, self._growth = comm, codes, bins, cuts, growth

    def grow(self, numbers: Sequence[int], derivatives: Sequence[np.ndarray]) -> list[list[Node]]:
        """The nodes of each tree, children behind parents, left and right beside each other.

        Parameters
        ----------
        numbers : of the trees among all; they decide which features are tried.
        derivatives : of each tree, shape (2, rows of this rank).
        """
        self._numbers, self._derivatives = numbers, derivatives
        roots = []
        for tree, both in enumerate(derivatives):
            rows = np.flatnonzero(both[1])
            roots.append(Node(0, 0, rows, np.zeros(2), self._features(tree, 0)))
        self._counts = [1] * len(roots)
        self._look([(tree, root) for tree, root in enumerate(roots)])
        wanted = [(tree, root) for tree, root in enumerate(roots)]
        while wanted:
            wanted = [(tree, node) for tree, root in enumerate(roots) for node in self._wanted(root)]
            self._expand(wanted)
        return [self._accepted(root) for root in roots]

    def _features(self, tree: int, node: int) -> np.ndarray:
        width, tried = len(self._codes), self._growth.tried
        if tried >= width:
            return np.arange(width)
        random = np.random.default_rng([self._growth.seed, self._numbers[tree], node])
        return np.sort(random.choice(width, tried, replace=False))

    # ---- histograms --------------------------------------------------------------------------------------

    def _look(self, asked: Sequence[tuple[int, Node]]) -> None:
        """Let nodes know their histograms and best splits; as many merges as the numbers need."""
        each = 2 * self._bins * max(1, min(self._growth.tried, len(self._codes)))
        step = max(1, _MERGED // each)
        for start in range(0, len(asked), step):
            some = asked[start : start + step]
            own = np.array([self._own(tree, node) for tree, node in some])
            total = self._comm.allreduce(own)
            for (_, node), histogram in zip(some, total, strict=True):
                self._learn(node, histogram)

    def _own(self, tree: int, node: Node) -> np.ndarray:
        """The sums of the rows of this rank, of shape (features, bins, 2)."""
        first, second = self._derivatives[tree][:, node.rows]
        found = np.empty((len(node.features), self._bins, 2))
        for place, feature in enumerate(node.features.tolist()):
            codes = self._codes[feature, node.rows]
            found[place, :, 0] = np.bincount(codes, first, self._bins)
            found[place, :, 1] = np.bincount(codes, second, self._bins)
        return found

    def _learn(self, node: Node, histogram: np.ndarray) -> None:
        """Note the best split of a node from the sums of all ranks."""
        node.histogram = histogram
        node.sums = histogram[0].sum(axis=0)
        growth, whole = self._growth, node.sums
        if growth.depth and node.depth >= growth.depth:
            return
        left = np.cumsum(histogram[:, :-1], axis=1)
        either = np.stack([left, left + histogram[:, -1:]], axis=1)
        rest = whole - either
        with np.errstate(divide="ignore", invalid="ignore"):
            gains = self._score(either) + self._score(rest) - self._score(whole)
        both = np.minimum(either[..., 1], rest[..., 1])
        gains = np.where((both >= growth.least) & (both > 0), gains, 0.0)
        best = int(np.argmax(gains))
        place, side, code = np.unravel_index(best, gains.shape)
        if gains[place, side, code] <= LEAST_GAIN:
            return
        node.gain, node.feature = float(gains[place, side, code]), int(node.features[place])
        node.bin, node.default_left = int(code), bool(side)
        node.left_sums = either[place, side, code]

    def _score(self, sums: np.ndarray) -> Any:
        left = np.maximum(np.abs(sums[..., 0]) - self._growth.l1, 0.0)
        return np.where(sums[..., 1] > 0, left * left / (sums[..., 1] + self._growth.l2), 0.0)

    # ---- splits ------------------------------------------------------------------------------------------

    def _wanted(self, root: Node) -> list[Node]:
        """The nodes that may have to be split next, of which no children are known."""
        budget = np.inf if self._growth.leaves is None else self._growth.leaves - 1
        heap, order = [(-root.gain, 0, root)], 1
        while heap and budget > 0:
            gain, _, node = heap[0]
            if not gain:
                return []
            if node.children is None:
                break
            heapq.heappop(heap)
            budget -= 1
            for child in node.children:
                heapq.heappush(heap, (-child.gain, order, child))
                order += 1
        open_ = [node for gain, _, node in sorted(heap, key=lambda e: e[:2]) if gain]
        some = open_ if budget == np.inf else open_[: int(budget)]
        return [node for node in some if node.children is None]

    def _expand(self, wanted: Sequence[tuple[int, Node]]) -> None:
        """Give nodes children, whose rows are known here, and whose sums then are of all ranks."""
        asked, pairs = [], []
        whole = self._growth.tried >= len(self._codes)
        for tree, node in wanted:
            codes = self._codes[node.feature, node.rows]
            goes = np.where(codes == self._bins - 1, node.default_left, codes <= node.bin)
            parts = (node.rows[goes], node.rows[~goes])
            both = (node.left_sums, node.sums - node.left_sums)
            first = self._counts[tree]
            self._counts[tree] += 2
            node.children = (
                Node(first, node.depth + 1, parts[0], both[0], self._features(tree, first)),
                Node(first + 1, node.depth + 1, parts[1], both[1], self._features(tree, first + 1)),
            )
            if self._growth.depth and node.depth + 1 >= self._growth.depth:
                continue  # leaves need their sums alone
            asked += [(tree, node.children[0])] if whole else [(tree, child) for child in node.children]
            pairs.append(node)
        self._look(asked)
        for node in pairs:
            assert node.children is not None
            left, right = node.children
            if whole:
                assert node.histogram is not None
                assert left.histogram is not None
                self._learn(right, node.histogram - left.histogram)
            node.histogram = None

    def _accepted(self, root: Node) -> list[Node]:
        """The nodes that stay: the best, without weak splits that lead to no strong one."""
        budget = np.inf if self._growth.leaves is None else self._growth.leaves - 1
        heap, order, stays = [(-root.gain, 0, root)], 1, []
        while heap:
            gain, _, node = heapq.heappop(heap)
            if not gain or budget <= 0 or node.children is None:
                node.children = None
                continue
            budget -= 1
            stays.append(node)
            for child in node.children:
                heapq.heappush(heap, (-child.gain, order, child))
                order += 1
        for node in sorted(stays, key=lambda node: -node.depth):
            assert node.children is not None
            if node.gain < self._growth.gamma and all(child.children is None for child in node.children):
                node.children = None
        found = [root]
        for node in found:
            found += node.children or ()
        return found

    # ---- what has grown ----------------------------------------------------------------------------------

    def weight(self, sums: np.ndarray) -> float:
        """The best weight for rows of some sums."""
        if sums[1] <= 0:
            return 0.0
        left = max(abs(float(sums[0])) - self._growth.l1, 0.0)
        return float(-np.sign(sums[0]) * left / (sums[1] + self._growth.l2))

    def leaf(self, node: Node) -> np.float32:
        """What a leaf adds to the sums of its rows."""
        return np.float32(self.weight(node.sums) * self._growth.rate)

    def answers(self, tree: Sequence[Node], codes: np.ndarray | None) -> np.ndarray:
        """What a tree adds to the sums of rows, of shape (rows,).

        Parameters
        ----------
        tree : its nodes, as `grow` gave them.
        codes : the bins of other rows; None for those of the trees.
        """
        codes = self._codes if codes is None else codes
        found = np.zeros(codes.shape[1])
        at = {id(tree[0]): np.arange(codes.shape[1])}
        for node in tree:
            rows = at.pop(id(node))
            if node.children is None:
                found[rows] = self.leaf(node)
                continue
            own = codes[node.feature, rows]
            goes = np.where(own == self._bins - 1, node.default_left, own <= node.bin)
            at[id(node.children[0])], at[id(node.children[1])] = rows[goes], rows[~goes]
        return found

    def written(self, tree: Sequence[Node]) -> Nodes:
        """A tree in XGBoost's terms.

        Parameters
        ----------
        tree : its nodes, as `grow` gave them.
        """
        made = Nodes.room(len(tree))
        place = {id(node): k for k, node in enumerate(tree)}
        made.parent[0] = ROOT_PARENT
        for k, node in enumerate(tree):
            inner = node.children is not None
            made.left[k] = made.right[k] = -1
            made.weight[k] = self.weight(node.sums) if inner else self.leaf(node)
            made.hessian[k], made.gain[k] = node.sums[1], node.gain if inner else 0.0
            made.feature[k], made.default_left[k] = (node.feature, node.default_left) if inner else (0, 0)
            made.condition[k] = self._cuts[node.feature][node.bin] if inner else self.leaf(node)
            if node.children is not None:
                left = place[id(node.children[0])]
                made.left[k], made.right[k] = left, left + 1
                made.parent[left] = made.parent[left + 1] = k
        return made
