"""Growing a forest: each tree by one thread of one rank, on all rows, which are in bins there."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from outgrow.data.hashing import seeded
from outgrow.engine.collective import Alone
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MOMENTS, MatrixView
from outgrow.ml.trees.asking import answers, restored, total_gains
from outgrow.ml.trees.bagging import RowSample
from outgrow.ml.trees.bins import SampledRows
from outgrow.ml.trees.callbacks import SNAPSHOT_SECONDS, Snapshot, note_trees, recalled
from outgrow.ml.trees.document import Nodes, joined, writer
from outgrow.ml.trees.forest_kernels import grow_space, grow_tree
from outgrow.ml.trees.forest_nodes import NodesInBins, Shape
from outgrow.ml.trees.plan import Grown, Plan
from outgrow.ml.trees.pruning_kernels import prune, prune_for_size, tree_of_output
from outgrow.ml.trees.quantised import RowsInBins
from outgrow.ml.trees.rows import any_sparse, as_asked
from outgrow.stats.quantiles import Gathered

EXACT_BITS = 52
"""Sums of whole numbers below two to this stay whole in float64, with a bit to spare."""
STEP_VALUES = 1 << 26
"""Values at which all ranks look between two moments at which they share trees: some seconds."""
_NEARLY = 1 - 1e-9
"""What a leaf must weigh counts as reached from this part of it on: weights are rounded."""
_GINI = 2.0
"""A split of two classes lowers the squares of both together by so much more than those of one."""


@dataclass(frozen=True, eq=False)
class Round:
    """A tree for each output, one after the other, and how many nodes each has."""

    nodes: Nodes
    sizes: np.ndarray


def key(plan: Plan) -> Hashable:
    """By which rows in bins are kept for further fits."""
    return ("forest", plan.key, plan.bins, plan.draws_splits)


def grow(view: MatrixView, plan: Plan, sample: SampledRows | None) -> Grown:
    """Grow the trees that are not there yet.

    Parameters
    ----------
    view : the rows that this rank has of all.
    plan : what to grow.
    sample : decides the bins; None where rows are in bins.
    """
    zeros_absent = any_sparse(view)

    def make() -> RowsInBins:
        assert sample is not None
        return RowsInBins.of(view, plan, sample, zeros_absent)

    forest = _Forest(view, plan, view.made(key(plan), make), recalled(view.run, plan.begun), zeros_absent)
    for first, end in pairwise(forest.stops()):
        forest.add(first, end)
    nothing = np.zeros(0)
    return Grown(forest.content(), plan.rounds, forest.gains(), nothing, nothing, zeros_absent)


class _Forest:
    """The trees of all ranks, while they grow."""

    def __init__(
        self, view: MatrixView, plan: Plan, rows: RowsInBins, before: Snapshot, zeros_absent: bool
    ) -> None:
        self._view, self._run, self._plan = view, view.run, plan
        self._before, self._zeros_absent = before, zeros_absent
        self._grower = _Grower.of(plan, rows)
        self._rounds: list[Round] = []
        self._kept = time.monotonic()

    def stops(self) -> list[int]:
        """Numbers of rounds after which the ranks share what each has grown."""
        first, last = self._before.rounds, self._plan.rounds
        step = max(4 * self._run.workers, STEP_VALUES // self._grower.values)
        shown = _moments(last) if self._plan.told is not None else set()
        inner = {*range(first, last, step), *(end for end in shown if end > first)}
        return sorted({first, last, *inner})

    def add(self, first: int, end: int) -> None:
        """Grow the rounds from one to before another, each on one rank; then all have them."""
        comm = self._run.comm
        numbers = range(first + comm.rank, end, comm.size)
        own = []
        for done, grown in enumerate(self._run.map(self._grower.round, numbers), 1):
            comm.check()
            own.append(grown)
            self._run.tell("round", min(first + done * comm.size, end), self._plan.rounds)
        self._rounds += own if comm.size == 1 else _shared(self._run, own, numbers)
        self._show(end)
        if self._run.journal.keeps and time.monotonic() - self._kept > SNAPSHOT_SECONDS:
            note_trees(self._run, Snapshot(end, self.content(), np.zeros(0)))
            self._kept = time.monotonic()

    def _show(self, end: int) -> None:
        """Show what the trees so far answer, if it is one of the moments."""
        plan, watch = self._plan, self._view.watch
        if plan.told is None or watch is None or end not in _moments(plan.rounds):
            return
        booster = restored(self.content())
        blocks = [as_asked(block.X, self._zeros_absent, plan.numbers) for block in watch.rows.blocks()]
        plan.told(end / plan.rounds, np.concatenate([answers(booster, block) for block in blocks]))

    def content(self) -> bytes:
        """All trees so far in XGBoost's UBJSON format."""
        if not self._rounds:
            return self._before.content
        plan, targets = self._plan, self._plan.targets
        write = writer(plan.parameters["objective"], None, self._view.width, len(self._rounds), targets)
        nodes, sizes = _joined(self._rounds)
        grown = write(nodes, sizes, [plan.parameters["base_score"]] * targets)
        return joined(self._before.content, grown) if self._before.rounds else grown

    def gains(self) -> np.ndarray:
        """What all splits on each feature gained."""
        width = self._view.width
        gains = total_gains(restored(self._before.content), width) if self._before.rounds else np.zeros(width)
        return sum((grown.nodes.gains(width) for grown in self._rounds), gains)


def _moments(rounds: int) -> set[int]:
    """After how many rounds it is shown how well the trees do."""
    return {math.ceil(rounds * share) for share in MOMENTS} - {rounds}


def _joined(rounds: Sequence[Round]) -> tuple[Nodes, np.ndarray]:
    """The nodes of all rounds, one after the other, and how many each tree has."""
    nodes = Nodes(*map(np.concatenate, zip(*(grown.nodes for grown in rounds), strict=True)))
    return nodes, np.concatenate([grown.sizes for grown in rounds])


def _shared(run: FitContext, own: Sequence[Round], numbers: Sequence[int]) -> list[Round]:
    """The rounds of all ranks in their order."""
    none = Round(Nodes.room(0), np.zeros(0, np.int64))
    nodes, sizes = _joined([none, *own])
    totals = np.array([grown.sizes.sum() for grown in own], dtype=np.int64)
    trees = np.array([len(grown.sizes) for grown in own], dtype=np.int64)
    *every, sizes, totals, trees, order = run.combine(
        Gathered((*nodes, sizes, totals, trees, np.array(numbers, dtype=np.int64)))
    ).values
    ends, last = np.cumsum(totals), np.cumsum(trees)
    found = [
        Round(Nodes(*(array[end - total : end] for array in every)), sizes[until - count : until])
        for end, total, until, count in zip(ends, totals, last, trees, strict=True)
    ]
    return [found[place] for place in np.argsort(order)]


@dataclass(frozen=True, eq=False)
class _Grower:
    """What grows rounds, in any order and on any thread: a number decides all chances of its round."""

    plan: Plan
    rows: RowsInBins
    sample: RowSample | None

    @classmethod
    def of(cls, plan: Plan, rows: RowsInBins) -> _Grower:
        draw = plan.sample
        sample = None if draw is None else RowSample.of(Alone(), rows.hashes, len(rows.weight), draw)
        return cls(plan, rows, sample)

    @property
    def values(self) -> int:
        """Values at which a split of all rows looks."""
        return max(1, self._tried * len(self.rows.weight))

    @property
    def _tried(self) -> int:
        width = self.rows.codes.width
        return max(1, min(width, int(float(self.plan.parameters["colsample_bynode"]) * width)))

    def round(self, number: int) -> Round:
        """A tree for each output.

        Parameters
        ----------
        number : of the round among all.
        """
        weight = self.rows.weight
        if self.sample is not None:
            weight = weight * self.sample.weights(number)
        seed = seeded(np.array([number], dtype=np.uint64), self.plan.seed)[0]
        trees: list[Round] = []
        start = 0
        for classes in self.plan.classes or (1,) * self.plan.targets:
            trees.append(self._trees(self.rows.label[:, start : start + classes], weight, seed))
            start += classes
        return trees[0] if len(trees) == 1 else Round(*_joined(trees))

    def _trees(self, label: np.ndarray, drawn: np.ndarray, seed: Any) -> Round:
        """The trees of a number; or of several classes, each of which has one."""
        rows, parameters = self.rows, self.plan.parameters
        classes = label.shape[1] if label.shape[1] > 1 else 2 * self.plan.entropy
        unit = _unit(drawn)
        weight = np.rint(drawn * unit)
        seen = np.flatnonzero(weight > 0).astype(np.int32)
        weight = weight[seen]
        if classes:
            target, per = _classes(label), unit
            extra = target[seen].astype(np.float64)
        else:
            target = np.ascontiguousarray(label[:, 0])  # kernels are compiled for rows that lie together
            products = drawn[seen] * target[seen]
            per = _unit(np.abs(products))
            extra = np.rint(products * per)
        shape = self._shape(len(seen), unit * _NEARLY, classes)
        most, drawn_rows = _most_nodes(len(seen), shape), (seen, weight, extra)
        nodes = NodesInBins.room(most, classes or 2)
        space = grow_space(drawn_rows, classes, rows.bins, rows.codes.width, most)
        count = grow_tree(rows.codes, target, drawn_rows, rows.lows, shape, seed, space, nodes)
        worth = (unit if self.plan.entropy else _GINI * unit) if classes else per * per / unit
        if gamma := float(parameters.get("gamma", 0.0)):
            prune(nodes, count, gamma * worth)
        if self.plan.leaf_price:
            prune_for_size(nodes, count, self.plan.leaf_price * worth)
        rate, outputs = np.float32(parameters["learning_rate"]), range(max(1, classes))[-label.shape[1] :]
        weights = nodes.sums[:count, : classes or 1].sum(axis=1)
        spare = weights, np.empty(count, np.float32), np.empty(count, np.bool_), np.empty(count, np.int32)
        trees, sizes, end = Nodes.room(count * len(outputs)), [], 0
        for output in outputs:
            own = Nodes(*(array[end : end + count] for array in trees))
            sizes.append(
                tree_of_output(nodes, count, output, shape, (unit, per), rate, rows.cuts, spare, own)
            )
            end += sizes[-1]
        return Round(trees.part(slice(end)), np.array(sizes, dtype=np.int64))

    def _shape(self, rows: int, unit: float, classes: int) -> Shape:
        """The limits of a tree of some rows, whose weights are in a unit."""
        plan, parameters = self.plan, self.plan.parameters
        least = float(parameters["min_child_weight"]) * unit
        return Shape(
            int(parameters["max_depth"]) or rows + 1,
            int(parameters.get("max_leaves", -1)),
            self._tried,
            least,
            max(2 * least, plan.least_split * unit),
            classes,
            plan.entropy,
            plan.draws_splits,
        )


def _classes(label: np.ndarray) -> np.ndarray:
    """The class of each row, from which it is of two, or whether it is each of more."""
    if label.shape[1] == 1:
        return np.ascontiguousarray(label[:, 0])
    return label.argmax(axis=1).astype(np.float32)


def _unit(numbers: np.ndarray) -> float:
    """A power of two; numbers times it, rounded, add up exactly."""
    bound = len(numbers) * float(numbers.max(initial=0.0))
    return math.ldexp(1.0, EXACT_BITS - math.frexp(bound)[1]) if bound > 0 else 1.0


def _most_nodes(rows: int, shape: Shape) -> int:
    """How many nodes a tree can have: every split adds two, and every leaf has a row."""
    leaves = max(1, min(rows, 1 << min(shape.depth, 31)))
    return 2 * (leaves if shape.leaves < 0 else min(leaves, shape.leaves)) - 1
