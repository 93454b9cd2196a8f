"""The trees inside a booster, as arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from outgrow.errors import EngineError
from outgrow.ml.trees.asking import restored


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree of XGBoost; node 0 is the root.

    Attributes
    ----------
    output : to which of the sums it adds.
    left, right : the children of each node; -1 for a leaf.
    feature : on which each node splits.
    value : float32, of a leaf what it adds, of a node the threshold below which rows go left.
    default_left : whether rows without a value go left.
    sets : of nodes that split on categories, those that go right.
    weight : what each node would add, not yet multiplied by the learning rate; of leaves it is.
    cover : the second derivatives of the loss summed over the rows of each node.
    """

    output: int
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    value: np.ndarray
    default_left: np.ndarray
    sets: Mapping[int, list[float]]
    weight: np.ndarray
    cover: np.ndarray

    def values(self, learning_rate: float) -> np.ndarray:
        """What each node would answer by itself: as if the learning rate were 1."""
        leaf = self.left < 0
        return np.divide(self.value, np.float32(learning_rate), out=self.weight.copy(), where=leaf)


@dataclass(frozen=True, eq=False)
class Forest:
    """All trees, and the float32 numbers they add to, of shape (outputs,)."""

    trees: list[Tree]
    base: np.ndarray

    @property
    def outputs(self) -> int:
        return len(self.base)


def forest_of(booster: Any, width: int) -> Forest:
    """The trees of a booster.

    Parameters
    ----------
    booster : an `xgboost.Booster`; not changed.
    width : how many features it has.

    Raises
    ------
    EngineError
        When it is one without plain trees, as of 'dart'.
    """
    document = json.loads(booster.save_raw("json"))
    gradient = document["learner"]["gradient_booster"]
    if gradient["name"] != "gbtree":
        raise EngineError(f"XGBoost's {gradient['name']} holds no plain trees. Fit with this outgrow.")
    model = gradient["model"]
    trees = list(_trees(model["trees"], model["tree_info"]))
    model |= {"trees": [], "tree_info": [], "iteration_indptr": [0]}
    model["gbtree_model_param"]["num_trees"] = "0"
    return Forest(trees, _base(document, width))


@lru_cache(4)
def trees_in(content: bytes, width: int) -> Forest:
    """The trees of a stored booster; the last few are kept, as users walk through one model.

    Parameters
    ----------
    content : a booster in XGBoost's UBJSON format.
    width : how many features it has.
    """
    return forest_of(restored(content), width)


def rescaled(content: bytes, factor: float) -> bytes:
    """A stored booster whose leaves are multiplied; the mean of a forest that grows needs it.

    Parameters
    ----------
    content : a booster in XGBoost's UBJSON format.
    factor : by which each leaf is multiplied; base scores stay.
    """
    document = json.loads(restored(content).save_raw("json"))
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        for node, left in enumerate(tree["left_children"]):
            if left < 0:
                tree["split_conditions"][node] *= factor
                tree["base_weights"][node] *= factor
    return bytes(restored(json.dumps(document).encode()).save_raw("ubj"))


def _base(document: Any, width: int) -> np.ndarray:
    """What trees add to: XGBoost's answer without any, as its versions keep the base score in many ways."""
    treeless = restored(json.dumps(document).encode())
    row = np.zeros((1, width))
    return np.ravel(treeless.inplace_predict(row, predict_type="margin", validate_features=False))


def _trees(trees: list[Any], outputs: list[int]) -> Iterator[Tree]:
    for tree, output in zip(trees, outputs, strict=True):
        yield Tree(
            output,
            np.array(tree["left_children"], dtype=np.int64),
            np.array(tree["right_children"], dtype=np.int64),
            np.array(tree["split_indices"], dtype=np.int64),
            np.array(tree["split_conditions"], dtype=np.float32),
            np.array(tree["default_left"], dtype=bool),
            dict(_sets(tree)),
            np.array(tree["base_weights"], dtype=np.float32),
            np.array(tree["sum_hessian"], dtype=np.float32),
        )


def _sets(tree: Any) -> Iterator[tuple[int, list[float]]]:
    columns = ("categories_nodes", "categories_segments", "categories_sizes")
    for node, start, size in zip(*(tree[name] for name in columns), strict=True):
        yield node, [float(code) for code in tree["categories"][start : start + size]]
