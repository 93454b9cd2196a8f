"""Boosters of strangers, checked before XGBoost gets them.

XGBoost follows children and looks up features, groups and categories without asking whether they are there.
So the document is decoded here, and all that it uses as a place must be one; `document` tells the format.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.errors import ArtifactError
from outgrow.ml.trees.document import decoded

_OBJECTIVES = (
    *("binary:logistic", "multi:softprob", "reg:squarederror", "reg:absoluteerror", "reg:quantileerror"),
    *("count:poisson", "reg:gamma"),
)
_OF_NODES = (
    "base_weights",
    "default_left",
    "left_children",
    "loss_changes",
    "parents",
    "right_children",
    "split_conditions",
    "split_indices",
    "split_type",
    "sum_hessian",
)
_NO_PARENT = 2**31 - 1


def check_booster(content: bytes, width: int, categories: int) -> None:
    """Refuse a booster in UBJSON that XGBoost could not follow safely.

    Parameters
    ----------
    width : how many features there are.
    categories : the most values that one of them has.

    Raises
    ------
    ArtifactError
        When it is damaged.
    """
    try:
        _check_learner(decoded(content), width, categories)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        struct.error,
    ) as error:
        raise ArtifactError(
            f"The trees of the model are damaged ({type(error).__name__}: {error}). Restore it from a copy."
        ) from error


def _must(right: Any, what: str) -> None:
    if not right:
        raise ValueError(what)


def _check_learner(document: Any, width: int, categories: int) -> None:
    _must(set(document) == {"learner", "version"}, "other parts than a booster has")
    learner = document["learner"]
    parameters, objective = learner["learner_model_param"], learner["objective"]
    _must(objective["name"] in _OBJECTIVES, "an objective that no model here has")
    _must(int(parameters["num_feature"]) == width, "another number of features than the model")
    classes, targets = int(parameters["num_class"]), int(parameters.get("num_target", "1"))
    groups = max(1, classes, targets)
    softmax = objective.get("softmax_multiclass_param", {"num_class": str(classes)})
    _must(int(softmax["num_class"]) == classes, "another number of classes in its objective")
    scores = parameters["base_score"].strip("[]").split(",")
    _must(len(list(map(float, scores))) in (1, groups), "base scores of other groups")
    for names in (learner.get("feature_names", []), learner.get("feature_types", [])):
        _must(len(names) in (0, width), "names of other features")
        _must(all(isinstance(name, str) for name in names), "a name that is no text")
    booster = learner["gradient_booster"]
    _must(booster["name"] == "gbtree", "no trees")
    _check_trees(booster["model"], groups, width, categories)


def _check_trees(model: Any, groups: int, width: int, categories: int) -> None:
    trees, told = model["trees"], model["gbtree_model_param"]
    _must(not any(map(len, model.get("cats", {}).values())), "categories of its own")
    _must(int(told["num_trees"]) == len(trees) == len(model["tree_info"]), "another number of trees")
    _must(1 <= int(told["num_parallel_tree"]) <= max(1, len(trees)), "no parallel trees")
    info, rounds = np.asarray(model["tree_info"]), np.asarray(model.get("iteration_indptr", [0, len(trees)]))
    _must(((info >= 0) & (info < groups)).all(), "a tree of no group")
    _must(rounds[0] == 0 and rounds[-1] == len(trees) and (np.diff(rounds) >= 0).all(), "rounds out of order")
    if trees:
        _check_nodes(trees, width, categories)


def _check_nodes(trees: Sequence[Any], width: int, categories: int) -> None:
    """All trees at once, node numbers counted on from tree to tree."""
    sizes = np.array([_size(tree, width) for tree in trees])
    whole = {name: np.concatenate([tree[name] for tree in trees]) for name in _OF_NODES}
    starts = np.cumsum(sizes) - sizes
    first, count = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    left, right = whole["left_children"].astype(np.int64), whole["right_children"].astype(np.int64)
    parents = whole["parents"]
    for children in (left, right):
        _must(((children >= -1) & (children < count)).all(), "a child that is not there")
    _must(
        ((parents == _NO_PARENT) | ((parents >= 0) & (parents < count))).all(), "a parent that is not there"
    )
    reached = _reached(starts, first, left, right)
    splits = reached & (left >= 0)
    kinds, features = whole["split_type"][splits], whole["split_indices"][splits]
    _must(((features >= 0) & (features < width)).all(), "a split on a feature that is not there")
    _must((kinds <= 1).all(), "a split of no kind")
    by_category = np.zeros(len(left), dtype=bool)
    for tree, start in zip(trees, starts, strict=True):
        if len(tree["categories_nodes"]):
            by_category[start + _nodes_of_categories(tree, categories)] = True
    _must((by_category[splits] == (kinds == 1)).all(), "a split on categories without any")


def _size(tree: Any, width: int) -> int:
    told = tree["tree_param"]
    size = int(told["num_nodes"])
    _must(size > 0 and all(len(tree[name]) == size for name in _OF_NODES), "arrays of other lengths")
    _must(int(told["num_feature"]) in (0, width), "a tree of other features")
    _must(0 <= int(told["num_deleted"]) < size, "more nodes deleted than there are")
    _must(told["size_leaf_vector"] in ("0", "1"), "leaves of several values")
    return size


def _reached(starts: np.ndarray, first: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The nodes below the roots; each may be reached in one way only."""
    reached, level, count = np.zeros(len(left), dtype=bool), starts, len(starts)
    reached[starts] = True
    while len(level := level[left[level] >= 0]):
        _must((right[level] >= 0).all(), "a split with one side")
        below = np.concatenate([left[level] + first[level], right[level] + first[level]])
        count += len(below)
        _must(count <= len(left) and not reached[below].any(), "a node below two others")
        reached[below] = True
        level = below
    _must(count == reached.sum(), "a node below two others")
    return reached


def _nodes_of_categories(tree: Any, categories: int) -> np.ndarray:
    nodes, values = np.asarray(tree["categories_nodes"]), np.asarray(tree["categories"])
    begins, sizes = np.asarray(tree["categories_segments"]), np.asarray(tree["categories_sizes"])
    _must(len(nodes) == len(begins) == len(sizes), "categories of other nodes")
    _must(((nodes >= 0) & (nodes < len(tree["parents"]))).all(), "categories of a node that is not there")
    _must((np.diff(nodes) > 0).all(), "categories out of order")
    ends = np.append(0, np.cumsum(sizes))
    _must((sizes >= 0).all() and (begins == ends[:-1]).all() and ends[-1] == len(values), "categories cut")
    _must(((values >= 0) & (values <= categories)).all(), "a category that is not there")
    return nodes
