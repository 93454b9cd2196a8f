"""XGBoost's trees as one `TreeEnsembleRegressor`, whose float32 sums are made in XGBoost's order.

XGBoost keeps features and thresholds as float32, sends a row left where its value is *less* than the
threshold, and adds the leaves of a row to the base score one tree after the other. So does the graph: the
base score is a tree of one leaf before all others, each tree has a column of its own, and `CumSum` adds them
up. Left to itself the operator would add in an order that depends on the number of threads.

A split of categories into two sets is a column of its own: 0 for the left set, 1 for the right one, NaN where
the value is missing or unknown. The newer `TreeEnsemble`, which has a mode for sets, answers wrongly in some
runtimes: for several outputs in onnxruntime 1.21 to 1.23, for sets in onnxruntime-web 1.30.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow.ml.export.onnx.graph import ML, Graph
from outgrow.ml.export.onnx.lookup import category_index
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.trees.exports import check_exportable
from outgrow.ml.trees.forest import Forest, Tree, forest_of
from outgrow.ml.trees.losses import LOGARITHMIC

Sets = dict[int, dict[tuple[float, ...], int]]
"""By feature, the sets of categories that go right in some split, each with a number."""

_LARGEST = 88.7
"""Where XGBoost's logistic function stops to fall, so that its exponential does not overflow."""


def boosted(model: Any, table: Table) -> str:
    """Probabilities of boosted trees.

    Parameters
    ----------
    model : a fitted classifier.
    table : the columns of the graph so far.

    Returns
    -------
    The name of a tensor of shape (rows, classes).
    """
    graph = table.graph
    margins, forest = _sums(model, table)
    if model.loss == "exponential":
        margins = graph.node("Mul", margins, graph.constant(2.0, np.float32))
    if forest.outputs == 1:
        return _two(graph, graph.cast(_logistic(graph, margins), "number"))
    shares = graph.cast(_softmax(graph, margins), "number")
    return graph.node("Div", shares, graph.node("ReduceSum", shares, _last_axis(graph), keepdims=1))


def averaged(model: Any, table: Table) -> str:
    """Probabilities of a random forest.

    Parameters
    ----------
    model : a fitted classifier of one target.
    table : the columns of the graph so far.

    Returns
    -------
    The name of a tensor of shape (rows, classes).
    """
    graph = table.graph
    sums, forest = _sums(model, table)
    wide = graph.cast(sums, "number")
    shares = graph.node("Clip", wide, graph.constant(0.0), graph.constant(1.0))
    if forest.outputs == 1:
        return _two(graph, shares)
    total = graph.node("ReduceSum", shares, _last_axis(graph), keepdims=1)
    none = graph.node("Equal", total, graph.constant(0.0))
    divided = graph.node("Div", shares, graph.node("Where", none, graph.constant(1.0), total))
    return graph.node("Where", none, graph.constant(1 / forest.outputs), divided)


def summed(model: Any, table: Table) -> str:
    """Predictions of a regressor of one target.

    Parameters
    ----------
    model : fitted, boosted trees or a forest.
    table : the columns of the graph so far.

    Returns
    -------
    The name of a tensor of shape (rows,).
    """
    graph = table.graph
    rest = graph.node("Squeeze", _sums(model, table)[0], _last_axis(graph))
    if getattr(model, "loss", None) in LOGARITHMIC:
        rest = _exp(graph, rest)
    scaled = graph.node("Mul", graph.cast(rest, "number"), graph.constant(float(model.scale_)))
    return graph.node("Add", scaled, graph.constant(float(model.offset_)))


def each_tree(graph: Graph, X: str, trees: Sequence[Tree], width: int) -> str:
    """What each tree answers, float32 of shape (rows, trees).

    Parameters
    ----------
    graph : gets the nodes.
    X : the tensor of features, float32 of shape (rows, width).
    trees : without sets of categories.
    width : how many features there are.
    """
    nodes = _Nodes.of(Forest(list(trees), np.zeros(0, np.float32)), {}, width)
    for tree in trees:
        nodes._add(tree, {})
    return graph.node("TreeEnsembleRegressor", X, domain=ML, **nodes.attributes())


def _last_axis(graph: Graph) -> str:
    return graph.constant([1], np.int64)


def _two(graph: Graph, second: str) -> str:
    return graph.join([graph.node("Sub", graph.constant(1.0), second), second])


def _logistic(graph: Graph, margins: str) -> str:
    """1 / (1 + exp(-margin)), rounded to float32 where XGBoost rounds."""
    least = graph.node("Min", graph.node("Neg", margins), graph.constant(_LARGEST, np.float32))
    odds = graph.node("Add", _exp(graph, least), graph.constant(1.0, np.float32))
    return graph.node("Div", graph.constant(1.0, np.float32), odds)


def _softmax(graph: Graph, margins: str) -> str:
    """Shares of exponentials, rounded to float32 where XGBoost rounds."""
    highest = graph.node("ReduceMax", margins, _last_axis(graph), keepdims=1)
    powers = _exp(graph, graph.node("Sub", margins, highest))
    total = graph.node("ReduceSum", graph.cast(powers, "number"), _last_axis(graph), keepdims=1)
    return graph.node("Div", powers, graph.cast(total, "single"))


def _exp(graph: Graph, values: str) -> str:
    return graph.cast(graph.node("Exp", graph.cast(values, "number")), "single")


def _sums(model: Any, table: Table) -> tuple[str, Forest]:
    """The summed leaves of float32, of shape (rows, outputs), and the trees."""
    check_exportable(model)
    graph, forest = table.graph, forest_of(model.booster_, model.n_features_)
    sets = _sets(forest)
    nodes = _Nodes.of(forest, sets, model.n_features_)
    X = graph.join([graph.cast(_numbers(model, table), "single"), *_memberships(model, table, sets)])
    leaves = graph.node("TreeEnsembleRegressor", X, domain=ML, **nodes.attributes())
    shape = graph.constant([0, forest.outputs, nodes.trees // forest.outputs], np.int64)
    sums = graph.node("CumSum", graph.node("Reshape", leaves, shape), graph.constant(2, np.int64))
    return graph.node("Gather", sums, graph.constant(-1, np.int64), axis=2), forest


def _numbers(model: Any, table: Table) -> str:
    """The features, NaN in place of text, whose values only sets of categories ask for."""
    graph, who = table.graph, type(model).__name__
    none = {name: Column(graph.repeat(np.array([np.nan]), table[name].tensor)) for name in model.categories_}
    X = graph.finite(table.with_columns(none).matrix(model.features_, who), who, missing=True)
    if not model.zeros_absent_:
        return X
    absent = graph.node("Equal", X, graph.constant(0.0))
    if model.zeros_ is not None:
        absent = graph.node("And", absent, graph.constant(~model.zeros_[None, :]))
    return graph.node("Where", absent, graph.constant(np.nan), X)


def _sets(forest: Forest) -> Sets:
    found: Sets = {}
    for tree in forest.trees:
        for node, right in tree.sets.items():
            own = found.setdefault(int(tree.feature[node]), {})
            own.setdefault(tuple(right), len(own))
    return found


def _memberships(model: Any, table: Table, sets: Sets) -> list[str]:
    """For each feature of categories, on which side of each of its splits a row is, of shape (rows, sets)."""
    graph = table.graph
    widths = [table[name].width for name in model.features_]
    names = dict(zip(np.cumsum([0, *widths[:-1]]).tolist(), model.features_, strict=True))
    sides = []
    for feature, own in sets.items():
        categories = model.categories_[names[feature]]
        found = category_index(table, names[feature], categories, model)
        member = np.zeros((len(categories) + 1, len(own)), dtype=np.uint8)
        for right, number in own.items():
            member[[int(code) - 1 for code in right if code], number] = 1  # codes begin with 1
        side = graph.node("Squeeze", graph.node("Gather", graph.constant(member), found), _last_axis(graph))
        unknown = graph.node("Equal", found, graph.constant(len(categories), np.int64))
        nowhere = graph.constant(np.nan, np.float32)
        sides.append(graph.node("Where", unknown, nowhere, graph.cast(side, "single")))
    return sides


@dataclass
class _Nodes:
    """The nodes of all trees, as `TreeEnsembleRegressor` lists them; each tree has a target of its own."""

    tree: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    leaf_tree: list[int] = field(default_factory=list)
    leaf_place: list[int] = field(default_factory=list)
    leaf: list[float] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    trees: int = 0

    @classmethod
    def of(cls, forest: Forest, sets: Sets, width: int) -> _Nodes:
        """The nodes over `width` features and, behind them, a column for each set."""
        nodes, at = cls(), width
        for feature, own in sets.items():
            nodes.starts[feature] = at
            at += len(own)
        for output, base in enumerate(forest.base):
            nodes._add(_leaf_alone(output, base), sets)
            for tree in forest.trees:
                if tree.output == output:
                    nodes._add(tree, sets)
        return nodes

    def attributes(self) -> dict[str, Any]:
        return {
            "n_targets": self.trees,
            "nodes_treeids": self.tree,
            "nodes_nodeids": self.place,
            "nodes_modes": self.mode,
            "nodes_featureids": self.feature,
            "nodes_values": self.threshold,
            "nodes_truenodeids": self.yes,
            "nodes_falsenodeids": self.no,
            "nodes_missing_value_tracks_true": self.missing,
            "target_treeids": self.leaf_tree,
            "target_nodeids": self.leaf_place,
            "target_ids": self.leaf_tree,
            "target_weights": self.leaf,
        }

    def _add(self, tree: Tree, sets: Sets) -> None:
        leaves, nodes = np.flatnonzero(tree.left < 0), len(tree.left)
        feature, threshold = tree.feature.copy(), tree.value.copy()
        for node, right in tree.sets.items():
            own = int(tree.feature[node])
            feature[node], threshold[node] = self.starts[own] + sets[own][tuple(right)], 0.5
        feature[leaves], threshold[leaves] = 0, 0.0
        self.tree += [self.trees] * nodes
        self.place += range(nodes)
        self.mode += ["LEAF" if left < 0 else "BRANCH_LT" for left in tree.left.tolist()]
        self.feature += feature.tolist()
        self.threshold += threshold.tolist()
        self.yes += np.maximum(tree.left, 0).tolist()
        self.no += np.maximum(tree.right, 0).tolist()
        self.missing += (tree.default_left & (tree.left >= 0)).astype(int).tolist()
        self.leaf_tree += [self.trees] * len(leaves)
        self.leaf_place += leaves.tolist()
        self.leaf += tree.value[leaves].tolist()
        self.trees += 1


def _leaf_alone(output: int, value: np.float32) -> Tree:
    """A tree without splits."""
    none, zero = np.array([-1]), np.array([0])
    own = np.array([value], dtype=np.float32)
    return Tree(output, none, none, zero, own, np.array([False]), {}, own, np.zeros(1))
