"""Samples of rows for trees that isolate them, and the trees as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.data.hashing import mix, seeded, unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.row_ids import told_apart
from outgrow.errors import ArtifactError, DataError
from outgrow.ml.trees.isolation_kernels import CHUNK, add_paths, grow_isolating, least_keys
from outgrow.ml.trees.plan import TOO_LARGE
from outgrow.stats.least_rows import LeastRows


@dataclass(frozen=True, eq=False)
class IsolationTrees:
    """The nodes of all trees, one tree after the other.

    Attributes
    ----------
    starts : int64 of shape (trees + 1,), where the nodes of each begin, and where the last ends.
    left : int32 of shape (nodes,), the left child counted from the root, the right one behind it; -1 of
        leaves.
    feature : int32 of shape (nodes,).
    threshold : float32 of shape (nodes,), the greatest number that goes left.
    size : int32 of shape (nodes,), how many rows of the sample came there.
    depth : int32 of shape (nodes,), how many splits are above.
    """

    starts: np.ndarray
    left: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    size: np.ndarray
    depth: np.ndarray

    def check(self, width: int) -> None:
        """Refuse nodes of a stranger that no walk may follow.

        Parameters
        ----------
        width : how many features there are.

        Raises
        ------
        ArtifactError
            When a child or a feature is not there, or a walk would not end.
        """
        starts, count = self.starts, len(self.left)
        right = (
            starts.ndim == 1
            and len(starts) > 1
            and starts[0] == 0
            and starts[-1] == count
            and (np.diff(starts) > 0).all()
            and all(part.shape == (count,) for part in (self.feature, self.threshold, self.size, self.depth))
            and (self.size >= 1).all()
        )
        if right:
            sizes = np.diff(starts)
            place = np.arange(count) - np.repeat(starts[:-1], sizes)
            inner = self.left >= 0
            below = self.left.astype(np.int64)[inner]
            right = (below > place[inner]).all() and (below + 1 < np.repeat(sizes, sizes)[inner]).all()
            right = right and ((self.feature >= 0) & (self.feature < width)).all()
        if not right:
            raise ArtifactError("The trees of the model are damaged. Restore it from a copy.")

    @property
    def path(self) -> np.ndarray:
        """float32 of shape (nodes,), how far rows come that end there, and would come if it went on."""
        return (self.depth + mean_path(self.size)).astype(np.float32)

    def sums(self, X: Any) -> np.ndarray:
        """How far each row of a matrix comes in all trees together.

        Parameters
        ----------
        X : shape (rows, width), dense or CSR.
        """
        out = np.zeros(X.shape[0])
        nodes = self.left, self.feature, self.threshold, self.path
        for start in range(0, X.shape[0], 4096):
            part = X[start : start + 4096]
            add_paths(single(part), self.starts, nodes, out[start : start + 4096])
        return out


def single(X: Any) -> np.ndarray:
    """Rows as float32, dense and row-major.

    Raises
    ------
    DataError
        When a number does not fit.
    """
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(X.toarray() if is_sparse(X) else X, dtype=np.float32)
    if np.isinf(rows).any():
        raise DataError(TOO_LARGE)
    return rows


def mean_path(size: np.ndarray) -> np.ndarray:
    """How many splits rows are apart on average, of so many that nothing but chance parts.

    Parameters
    ----------
    size : whole numbers of rows.
    """
    n = np.maximum(np.asarray(size, dtype=np.float64), 2.0)
    far = 2.0 * (np.log(np.maximum(n - 1.0, 1.0)) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(np.asarray(size) <= 1, 0.0, np.where(n == 2.0, 1.0, far))


def samples(view: MatrixView, trees: int, most: int, seed: int) -> list[np.ndarray]:
    """The rows that each tree sees, float32: those of least hash over all ranks.

    Each of equal rows is drawn by itself. A row of weight w is as likely to be the next as w rows together.

    Parameters
    ----------
    view : the rows of this rank.
    trees : how many there are.
    most : rows of each.
    seed : another one draws others.
    """
    run = view.run
    blocks = [_weighing(block) for block in view.blocks()]
    hashes = np.concatenate([*run.map(lambda block: block.hashes(seed), blocks), np.zeros(0, np.uint64)])
    numbers = run.call(lambda: told_apart(run, hashes))
    given = [block.weight for block in blocks if block.weight is not None]
    weight = np.concatenate(given) if given else None

    def drawn(tree: int) -> tuple[np.ndarray, np.ndarray]:
        if weight is None:
            return _nearest(numbers, tree, most)
        keys = _waiting(seeded(numbers, tree), weight)
        return _least(np.arange(len(keys)), keys, most)

    pairs = list(run.map(drawn, range(trees)))
    X = _rows(blocks, np.concatenate([places for places, _ in pairs]), view.width)
    parts = np.split(X, np.cumsum([len(places) for places, _ in pairs])[:-1])
    own = tuple(LeastRows.of(most, part, keys) for part, (_, keys) in zip(parts, pairs, strict=True))
    return [found.values for found in run.call(lambda: run.combine(own))]


def _rows(blocks: Sequence[Block], places: np.ndarray, width: int) -> np.ndarray:
    """The rows at some places of blocks one after the other, float32."""
    found = np.empty((len(places), width), np.float32)
    order = np.argsort(places, kind="stable")
    starts = np.cumsum([0, *map(len, blocks)])
    ends = np.searchsorted(places[order], starts)
    for block, start, begin, end in zip(blocks, starts[:-1], ends[:-1], ends[1:], strict=True):
        if begin < end:
            here = order[begin:end]
            found[here] = single(block.X[places[here] - start])
    return found


def _weighing(block: Block) -> Block:
    """The rows that weigh something."""
    if block.weight is None or block.weight.all():
        return block
    return block.take(block.weight > 0)


def _waiting(keys: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Keys in whose order rows are drawn one after the other, each as likely as it weighs.

    These are the times at which events of the rate of the weight first come (Efraimidis and Spirakis 2006),
    as whole numbers in the same order.
    """
    times = -np.log1p(-unit(keys)) / weight
    return times.view(np.uint64)


def _nearest(numbers: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of the rows of least keys, `seeded(numbers, seed)`, and those keys."""
    rows, chance = len(numbers), mix(np.array([seed], dtype=np.uint64))[0]
    chunk, wanted = np.empty(CHUNK, np.uint64), most + 6 * math.sqrt(most) + 16
    while wanted < rows / 2:  # so many keys lie below the bound, nearly
        room = int(2 * wanted)
        places, keys = np.empty(room, np.int64), np.empty(room, np.uint64)
        count = least_keys(numbers, chance, np.uint64(2.0**64 * (wanted / rows)), chunk, places, keys)
        if most <= count <= room:
            return _least(places[:count], keys[:count], most)
        wanted *= 2
    return _least(np.arange(rows), seeded(numbers, seed), most)


def _least(places: np.ndarray, keys: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The places with the least keys, and these."""
    if len(keys) > most:
        near = np.argpartition(keys, most)[:most]
        places, keys = places[near], keys[near]
    return places, keys


def grown(rows: np.ndarray, features: np.ndarray, random: np.uint64, most: int) -> IsolationTrees:
    """A tree that isolates rows.

    Parameters
    ----------
    rows : float32 of shape (rows, width), the sample of the tree.
    features : those that it may split on.
    random : a seed.
    most : the most splits above a leaf.
    """
    count = max(1, 2 * len(rows) - 1)
    kinds = (np.int32, np.int32, np.float32, np.int32, np.int32)
    left, feature, threshold, size, depth = nodes = tuple(np.empty(count, kind) for kind in kinds)
    space = np.empty(len(rows), np.int32), *(np.empty(count, np.int64) for _ in range(3))
    made = grow_isolating(rows, features.astype(np.int64), random, most, nodes, space)
    starts = np.array([0, made], dtype=np.int64)
    return IsolationTrees(starts, *(part[:made] for part in (left, feature, threshold, size, depth)))


def together(trees: list[IsolationTrees]) -> IsolationTrees:
    """Trees one after the other."""
    parts = zip(
        *((tree.left, tree.feature, tree.threshold, tree.size, tree.depth) for tree in trees), strict=True
    )
    starts = np.cumsum([0, *(len(tree.left) for tree in trees)]).astype(np.int64)
    return IsolationTrees(starts, *(np.concatenate(part) for part in parts))
