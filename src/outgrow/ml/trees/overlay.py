"""The one tree of several classes, from those that answer each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from outgrow.ml.trees.forest import Tree, trees_in
from outgrow.ml.trees.tree import TreeStructure, shares_of

Places = tuple[int, ...]
"""Of the tree of each class, the node in which the rows of a node of the one tree are."""


@lru_cache(4)
def structure(content: bytes, width: int, classes: bool) -> TreeStructure | None:
    """The tree in a booster that holds one, for numbers or for each class but the first of two.

    Parameters
    ----------
    content : a booster in XGBoost's UBJSON format.
    width : how many features it has.
    classes : whether it answers shares of classes.

    Returns
    -------
    None where the trees of classes do not follow the same splits.
    """
    trees = trees_in(content, width).trees
    tree, values = overlaid(trees)
    if tree is None:
        return None
    return TreeStructure(tree, shares_of(np.clip(values, 0.0, 1.0)) if classes else values)


def overlaid(trees: Sequence[Tree]) -> tuple[Tree | None, np.ndarray]:
    """The tree that has all splits of several, and what each of them answers at its nodes.

    They were one tree once, from which each has lost the splits on whose sides it answers alike.

    Parameters
    ----------
    trees : one for each answer.

    Returns
    -------
    tree : None where their splits differ.
    values : float64 of shape (nodes, trees).
    """
    answers = [tree.values(1.0) for tree in trees]
    places: list[Places] = [(0,) * len(trees)]
    source, left = [0], []
    for node, at in enumerate(places):  # which grows on the way
        inner = [k for k, place in enumerate(at) if trees[k].left[place] >= 0]
        if not inner:
            left.append(-1)
            continue
        if len({_split(trees[k], at[k]) for k in inner}) > 1:
            return None, np.zeros((0, len(trees)))
        source[node] = inner[0]
        left.append(len(places))
        for side in ("left", "right"):
            places.append(tuple(_below(tree, place, side) for tree, place in zip(trees, at, strict=True)))
            source.append(inner[0])
    values = np.array([[answer[place] for answer, place in zip(answers, at, strict=True)] for at in places])
    return _tree(trees, places, source, np.array(left)), values.astype(np.float64)


def _below(tree: Tree, place: int, side: str) -> int:
    """The child of a node; a leaf stands for those it has lost."""
    return int(getattr(tree, side)[place]) if tree.left[place] >= 0 else place


def _split(tree: Tree, place: int) -> tuple[object, ...]:
    sets = tuple(tree.sets.get(place, ()))
    return int(tree.feature[place]), float(tree.value[place]), bool(tree.default_left[place]), sets


def _tree(trees: Sequence[Tree], places: Sequence[Places], source: Sequence[int], left: np.ndarray) -> Tree:
    """The nodes, each as the tree says it that has not lost it."""
    own = [(trees[k], at[k]) for k, at in zip(source, places, strict=True)]

    def of(name: str) -> np.ndarray:
        return np.array([getattr(tree, name)[place] for tree, place in own])

    sets = {node: tree.sets[place] for node, (tree, place) in enumerate(own) if place in tree.sets}
    right = np.where(left < 0, -1, left + 1)
    return Tree(
        0, left, right, of("feature"), of("value"), of("default_left"), sets, of("weight"), of("cover")
    )
