"""Grown trees pruned, and written in XGBoost's terms, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.compiled import kernel
from outgrow.ml.trees.document import ROOT_PARENT
from outgrow.ml.trees.split_kernels import class_entropy


@kernel
def prune(nodes: Any, count: int, least: float) -> None:
    """Make leaves of the splits above two leaves that gain too little.

    Parameters
    ----------
    nodes, count : what `grow_tree` gave; changed.
    least : what a split must gain, in the units of `gain`.
    """
    for node in range(count - 1, -1, -1):
        left = nodes.left[node]
        if left >= 0 and nodes.left[left] < 0 and nodes.left[left + 1] < 0 and nodes.gain[node] < least:
            nodes.left[node] = -1


@kernel
def prune_for_size(nodes: Any, count: int, price: float) -> None:
    """Make leaves of the splits that gain, with all below them, at most a price for each leaf they add.

    What is left is the smallest of the trees that cost least, if a leaf costs it (Breiman et al. 1984).

    Parameters
    ----------
    nodes, count : what `grow_tree` gave; changed.
    price : of a leaf, in the units of `gain`.
    """
    gains, leaves = np.zeros(count), np.ones(count)
    for node in range(count - 1, -1, -1):
        left = nodes.left[node]
        if left < 0:
            continue
        gain = nodes.gain[node] + gains[left] + gains[left + 1]
        more = leaves[left] + leaves[left + 1]
        if gain <= price * (more - 1):
            nodes.left[node] = -1
        else:
            gains[node], leaves[node] = gain, more


@kernel
def _mean(nodes: Any, weights: Any, node: Any, output: int, classes: int) -> Any:
    """The weight of a node, and its mean of an output, in units of theirs."""
    weight = weights[node]
    return weight, nodes.sums[node, output if classes else 1] / weight if weight > 0 else 0.0


@kernel
def _joined(
    nodes: Any, weights: Any, count: int, output: int, classes: int, unit: float, value: Any, leaf: Any
) -> None:
    """Write what each node answers, and whether it is a leaf; also those below which all answer alike are."""
    for node in range(count - 1, -1, -1):
        left = nodes.left[node]
        value[node] = _mean(nodes, weights, node, output, classes)[1] * unit
        leaf[node] = left < 0 or (leaf[left] and leaf[left + 1] and value[left] == value[left + 1])
        if left >= 0 and leaf[node]:
            value[node] = value[left]


@kernel
def _part_of_entropy(nodes: Any, node: Any, output: int, classes: int) -> float:
    """A class's part of the entropy of a node."""
    weight = 0.0
    for k in range(classes):
        weight += nodes.sums[node, k]
    return class_entropy(nodes.sums[node, output], weight)


@kernel
def _entropy_lost(nodes: Any, node: Any, output: int, classes: int) -> float:
    """By how much a split lowers a class's part of the entropy; of two classes, those of both."""
    if classes == 2:
        return nodes.gain[node]
    left = np.int64(nodes.left[node])
    below = _part_of_entropy(nodes, left, output, classes)
    below += _part_of_entropy(nodes, left + 1, output, classes)
    return max(_part_of_entropy(nodes, np.int64(node), output, classes) - below, 0.0)


@kernel
def tree_of_output(
    nodes: Any, count: int, output: int, shape: Any, units: Any, rate: Any, cuts: Any, space: Any, tree: Any
) -> int:
    """Write the tree that answers one output in XGBoost's terms; how many nodes it has.

    Parameters
    ----------
    nodes, count : what `grow_tree` gave.
    output : which class; 0 for numbers.
    shape : with which it was grown.
    units : of a weight, and of a weighted target.
    rate : by which the answers of leaves are multiplied.
    cuts : below which values each bin lies, of shape (width, bins).
    space : for each node its weight, and room for a float32, a boolean, and an int32.
    tree : room for the nodes.
    """
    (weights, targets), classes = units, shape.classes
    weighs, value, leaf, place = space
    for node in range(count):
        place[node] = -1
    _joined(nodes, weighs, count, output, classes, weights / targets, value, leaf)
    place[0], tree.parent[0], made = 0, ROOT_PARENT, 1
    for node in range(count):
        at = place[node]
        if at < 0:
            continue
        left, weight = np.int64(nodes.left[node]), _mean(nodes, weighs, node, output, classes)[0]
        tree.hessian[at] = weight / weights
        if leaf[node]:
            tree.left[at], tree.right[at], tree.feature[at] = -1, -1, 0
            tree.default_left[at], tree.gain[at] = 0, 0
            tree.weight[at] = value[node] * rate
            tree.condition[at] = tree.weight[at]
            continue
        place[left], place[left + 1] = made, made + 1
        tree.left[at], tree.right[at], tree.parent[made], tree.parent[made + 1] = made, made + 1, at, at
        made += 2
        tree.feature[at], tree.default_left[at] = nodes.feature[node], nodes.missing_left[node]
        tree.condition[at], tree.weight[at] = cuts[nodes.feature[node], nodes.bin[node]], value[node]
        (w, m), (v, n) = (
            _mean(nodes, weighs, left, output, classes),
            _mean(nodes, weighs, left + 1, output, classes),
        )
        tree.gain[at] = w * v / weight * (m - n) * (m - n) * weights / targets / targets
        if shape.entropy:
            tree.gain[at] = _entropy_lost(nodes, node, output, classes) / weights
    return made
