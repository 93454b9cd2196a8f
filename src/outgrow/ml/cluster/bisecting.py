"""A tree of clusters, each split in two by Lloyd's algorithm: those of a level in the same passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from outgrow.data.hashing import seeded, unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.row_arrays import RowArrays, give_back, room_for
from outgrow.ml.cluster.centers import ALIKE
from outgrow.ml.cluster.halving import CenterTree, crossed, halves
from outgrow.ml.cluster.leaf_rows import LeafRows
from outgrow.ml.cluster.seeding import plus_plus
from outgrow.stats.moments import Moments

ROWS_PER_LEAF = 1_000
"""So many rows of a cluster say where its halves begin."""
_ENOUGH = 4
"""Times as many rows as are wanted that are looked at, before those of the least hashes are chosen."""
_NODE_BYTES = 4 + 8
"""For each row: where it is, and its hash."""
_SIDE_BYTES = 4 + 1 + 8
"""For each row: its pair of centers, which of them it is at, and how far these may go."""


@dataclass(frozen=True)
class Halving:
    """How clusters are split.

    Attributes
    ----------
    runs : from how many starts each; the best counts.
    random : whether it starts from two rows, not by k-means++ among some.
    max_iter, tol : it ends after so many passes, or when the two centers move, in summed squares, by no more
        than this share of the cluster's mean variance.
    seed : another one starts elsewhere.
    """

    runs: int
    random: bool
    max_iter: int
    tol: float
    seed: int


@dataclass(eq=False)
class Growth:
    """A tree of clusters that is being grown.

    Attributes
    ----------
    left : the first child of each node, behind which the second is; -1 where it has none.
    centers : of each node.
    weight, inertia, sizes : of each node's rows: their weight, summed squared distance from the center, and
        how many weigh something.
    barren : nodes that cannot be split: their rows are all alike.
    """

    view: MatrixView
    how: Halving
    left: list[int] = field(default_factory=list)
    centers: list[np.ndarray] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    inertia: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    barren: set[int] = field(default_factory=set)
    _known: RowArrays | None = None

    @classmethod
    def of(cls, view: MatrixView, moments: Moments, how: Halving) -> Growth:
        """The root alone.

        Parameters
        ----------
        view : the rows; all ranks do this.
        moments : of all rows.
        how : how clusters are to be split.
        """
        grown = cls(view, how)
        weighing = view.reduce(
            lambda block: np.array([len(block) if block.weight is None else (block.weight > 0).sum()])
        )
        grown._add(moments.mean, float(np.max(moments.n)), float(moments.m2.sum()), int(weighing[0]))
        return grown

    def leaves(self, clusters: int, score: Callable[[int], float], able: Callable[[int], bool]) -> list[int]:
        """Split the cluster with the highest score until there are enough; fewer where none can be split.

        Which are split is what one after the other gives. All that may be are split in the same passes.

        Parameters
        ----------
        clusters : how many leaves there are to be.
        score : of a node.
        able : whether a node may be split at all.

        Returns
        -------
        The nodes, from left to right.
        """
        remembers = room_for(self.view, _NODE_BYTES)
        self._known = RowArrays() if remembers else None
        leaves = [0]
        while len(leaves) < clusters:
            going = [leaf for leaf in leaves if leaf not in self.barren and able(leaf)]
            if not going:
                break
            highest = max(map(score, going))
            best = next(leaf for leaf in going if score(leaf) >= highest * (1 - ALIKE))
            if self.left[best] < 0:
                unknown = sorted((leaf for leaf in going if self.left[leaf] < 0), key=score, reverse=True)
                self._split(unknown[: clusters - len(leaves)])
                continue
            at = leaves.index(best)
            leaves[at : at + 1] = [self.left[best], self.left[best] + 1]
        if remembers:
            give_back(self.view, _NODE_BYTES)
        return leaves

    def tree(self) -> CenterTree:
        """What there is by now."""
        return CenterTree(np.array(self.left, dtype=np.int32), np.array(self.centers))

    def _add(self, center: np.ndarray, weight: float, inertia: float, size: int) -> None:
        self.left.append(-1)
        self.centers.append(center)
        self.weight.append(weight)
        self.inertia.append(inertia)
        self.sizes.append(size)

    # ---- split -------------------------------------------------------------------------------------------

    def _split(self, nodes: list[int]) -> None:
        """Give nodes two children each, or note that they are barren."""
        starts = self._starts(nodes)
        going = [place for place in range(len(nodes)) if starts[:, place].any()]
        self.barren.update(nodes[place] for place in range(len(nodes)) if place not in going)
        nodes = [nodes[place] for place in going]
        if not nodes:
            return
        # starts are about the centers of their nodes
        pairs = starts[:, going] + np.array([self.centers[node] for node in nodes])[None, :, None]
        centers, sums = self._settle(nodes, pairs)
        costs = sums[:, :, :, -2].sum(axis=2)
        for place, node in enumerate(nodes):
            best = int(np.argmax(costs[:, place] <= costs[:, place].min() * (1 + ALIKE)))
            found = sums[best, place, :, -3:]
            if (found[:, 2] == 0).any():
                self.barren.add(node)
                continue
            self.left[node] = len(self.left)
            for center, (weight, cost, size) in zip(centers[best, place], found, strict=True):
                self._add(center, float(weight), float(cost), int(size))

    def _starts(self, nodes: list[int]) -> np.ndarray:
        """Two first centers for each run and node, about the node's, of shape (runs, nodes, 2, width); zeros
        where all rows are alike."""
        found = self._sampled(nodes, _ENOUGH * ROWS_PER_LEAF)
        starts = np.zeros((self.how.runs, len(nodes), 2, self.view.width))
        for number, node in enumerate(nodes):
            mine = found.group == number
            if mine.sum() < 2 and self.sizes[node] > _ENOUGH * ROWS_PER_LEAF:
                alone = self._sampled([node], np.inf)  # most rows are alike
                rows, weight = alone.rows - self.centers[node], alone.weight
            else:
                rows, weight = found.rows[mine] - self.centers[node], found.weight[mine]
            if len(rows) < 2 or not (rows != rows[0]).any():
                continue
            for run in range(self.how.runs):
                random = np.random.default_rng([self.how.seed, node, run])
                starts[run, number] = (
                    _two_rows(rows, random) if self.how.random else plus_plus(rows, weight, 2, random)
                )
        return starts

    def _sampled(self, nodes: list[int], about: float) -> LeafRows:
        """Distinct rows of nodes, those of the least hashes among about so many of each."""
        tree, place = self.tree(), self._places(nodes)
        share = np.array([min(1.0, about / max(1, self.sizes[node])) for node in nodes])

        def fold(block: Block) -> LeafRows:
            group = place[self._leaves(tree, block)]
            weight = np.ones(len(block)) if block.weight is None else block.weight
            key = seeded(self._hashes(block), self.how.seed)
            taken = np.flatnonzero((group >= 0) & (weight > 0))
            taken = taken[unit(key[taken]) <= share[group[taken]]]
            taken = taken[_least(group[taken], key[taken], ROWS_PER_LEAF)]
            X = block.X[taken]
            rows = X.toarray() if is_sparse(X) else np.asarray(X, dtype=np.float64)
            return LeafRows.of(ROWS_PER_LEAF, group[taken], key[taken], rows, weight[taken])

        found: LeafRows = self.view.reduce(fold)
        return found

    def _settle(self, nodes: list[int], centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lloyd's algorithm for the pairs of each run and node: the centers and the sums of their rows."""
        one = len(centers) == 1 and not self.view.sparse and self._known is not None
        remembers = one and room_for(self.view, _SIDE_BYTES)
        sides = _Sides(self.view, len(nodes)) if remembers else None
        made = self._settled(nodes, centers, sides)
        if remembers:
            give_back(self.view, _SIDE_BYTES)
        return made

    def _settled(
        self, nodes: list[int], centers: np.ndarray, sides: _Sides | None
    ) -> tuple[np.ndarray, np.ndarray]:
        tree, place = self.tree(), self._places(nodes)
        runs, count, _, width = centers.shape
        slack = np.array([self.how.tol * self.inertia[n] / (self.weight[n] * width) for n in nodes])
        going = np.ones((runs, count), dtype=bool)
        ending = np.zeros((runs, count), dtype=bool)
        ended = np.zeros((runs, count, 2, width + 3))
        for step in range(1, self.how.max_iter + 2):
            now = _Pass(centers, going, place)
            whole = going & (ending | (step > self.how.max_iter))

            def fold(block: Block, now: _Pass = now) -> np.ndarray:
                return now.sums(self._leaves(tree, block), block)

            if sides is None:
                sums = self.view.reduce(fold)
            else:
                sums = sides.sums(now, whole, lambda block: self._leaves(tree, block))
            loss = float(sums[..., -2].sum()) if sides is None else None
            self.view.run.tell("iteration", step, self.how.max_iter, loss=loss)
            last = whole
            ended[last] = sums[last]
            going = going & ~last
            if not going.any():
                break
            weights = sums[..., -3, None]
            means = np.where(weights > 0, sums[..., :-3] / np.where(weights > 0, weights, 1), centers)
            moved = ((means - centers) ** 2).sum(axis=(2, 3))
            ending = moved <= slack
            centers = np.where(going[:, :, None, None], means, centers)
        return centers, ended

    def _places(self, nodes: list[int]) -> np.ndarray:
        """For each node its place among some; -1 for others."""
        place = np.full(len(self.left), -1, dtype=np.int32)
        place[nodes] = np.arange(len(nodes))
        return place

    def _leaves(self, tree: CenterTree, block: Block) -> np.ndarray:
        """The leaf of each row, from where it was last."""
        kept = None if self._known is None else self._known.get(block)
        nodes = tree.leaves(block.X, None if kept is None else kept[0])
        if self._known is not None:
            self._known.put(block, nodes, *([] if kept is None else kept[1:]))
        return nodes

    def _hashes(self, block: Block) -> np.ndarray:
        """The hash of each row, remembered from when it was first needed."""
        kept = None if self._known is None else self._known.get(block)
        if kept is not None and len(kept) > 1:
            return kept[1]
        hashes = block.source_hashes()
        if self._known is not None and kept is not None:
            self._known.put(block, kept[0], hashes)
        return hashes


class _Sides:
    """Which of their two centers rows are at, from pass to pass: few are looked at where centers hardly move.

    Parameters
    ----------
    view : the rows.
    pairs : how many pairs of centers there are.
    """

    def __init__(self, view: MatrixView, pairs: int) -> None:
        self._view = view
        self._rows: RowArrays | None = None
        self._gone = np.zeros(pairs)
        self._centers: np.ndarray | None = None
        self._sums: np.ndarray | None = None

    def sums(self, now: _Pass, whole: np.ndarray, leaves: Callable[[Block], np.ndarray]) -> np.ndarray:
        """What `_Pass.sums` gives, but for the costs of pairs that do not end.

        Parameters
        ----------
        now : the pass, of one run.
        whole : booleans of shape (1, nodes), the pairs that end.
        leaves : gives the leaf of each row of a block.
        """
        centers = now.centers[0]
        if self._centers is not None:
            self._gone += np.sqrt(((centers - self._centers) ** 2).sum(axis=2)).sum(axis=1) * (1 + ALIKE)
        self._centers = centers
        first = self._rows is None
        if self._rows is None:
            self._rows = RowArrays()
        mode = np.where(now.going[0], np.where(whole[0], 2, 1), 0).astype(np.int8)
        rows, gone = self._rows, self._gone.copy()

        def fold(block: Block) -> tuple[np.ndarray, np.ndarray]:
            kept = rows.get(block)
            if kept is None:
                group = now.place[leaves(block)]
                kept = group, np.full(len(group), -1, dtype=np.int8), np.full(len(group), -np.inf)
                rows.put(block, *kept)
            return crossed(block.X, centers, block.weight, mode, gone, *kept), np.array([float(first)])

        made, all_rows = self._view.reduce(fold)
        made = made.reshape(*centers.shape[:2], -1)
        # of a pass that is recalled it says itself whether all rows were looked at
        anew = (mode == 2)[:, None, None] | bool(all_rows[0])
        self._sums = made if self._sums is None else np.where(anew, made, self._sums + made)
        if self._view.run.recalled:  # no row was seen
            self._rows = None
        return self._sums[None]


@dataclass(frozen=True, eq=False)
class _Pass:
    """One step of all pairs that still move.

    Attributes
    ----------
    centers : ndarray of shape (runs, nodes, 2, width).
    going : booleans of shape (runs, nodes).
    place : for each node of the tree its place among the pairs; -1 for none.
    """

    centers: np.ndarray
    going: np.ndarray
    place: np.ndarray

    def sums(self, leaves: np.ndarray, block: Block) -> np.ndarray:
        """For each run, node and center what `halves` gives; zeros where nothing moves.

        Parameters
        ----------
        leaves : the leaf of each row.
        block : the rows.
        """
        runs, nodes, _, width = self.centers.shape
        found = np.zeros((runs, nodes, 2, width + 3))
        for run in range(runs):
            moving = np.flatnonzero(self.going[run])
            if not len(moving):
                continue
            pair = np.full(nodes + 1, -1, dtype=np.int32)  # the last one for rows of no pair
            pair[moving] = np.arange(len(moving))
            centers = self.centers[run, moving].reshape(-1, width)
            own = halves(block.X, pair[self.place[leaves]], centers, block.weight)
            found[run, moving] = own.reshape(len(moving), 2, -1)
        return found


def _least(group: np.ndarray, key: np.ndarray, most: int) -> np.ndarray:
    """The rows of each group with the least hashes, up to so many different ones."""
    order = np.lexsort((key, group))
    by_group = group[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (by_group[1:] != by_group[:-1]) | (key[order[1:]] != key[order[:-1]])
    count = np.cumsum(new)
    first = np.searchsorted(by_group, by_group)
    return order[count - count[first] < most] if len(order) else order


def _two_rows(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two rows that differ."""
    first = int(random.integers(len(rows)))
    other = np.flatnonzero((rows != rows[first]).any(axis=1))
    return rows[[first, int(random.choice(other))]]
