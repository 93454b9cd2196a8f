"""Trees that LightGBM grew, as a booster of XGBoost: the same answers to the last bit of float32.

LightGBM sends a row left whose value is at most the threshold, a number of float64; XGBoost one whose value
is below it, a float32 number. Values are float32, so the next one above the threshold says the same. LightGBM
sends the categories of a set left, and all others and missing ones right; XGBoost those of the set right: so
such nodes change sides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from outgrow.ml.trees.asking import restored
from outgrow.ml.trees.document import ROOT_PARENT, Nodes

Sets = dict[int, np.ndarray]
"""Of nodes that split on categories, those that go right."""
Write = Callable[[Nodes, np.ndarray], bytes]

_CATEGORY, _DEFAULT_LEFT, _MISSING = 1, 2, 2
_NEVER_MISSING = 0


def content_of(text: str, rate: float, kinds: Sequence[str] | None, write: Write) -> bytes:
    """A booster in XGBoost's UBJSON format.

    Parameters
    ----------
    text : LightGBM's model.
    rate : its learning rate.
    kinds : 'q' or 'c' (a category) of each feature, or None for all numbers.
    write : writes nodes of trees, of which each has so many.
    """
    made = [_nodes(fields, rate) for fields in _trees(text)]
    nodes = Nodes(*(np.concatenate(arrays) for arrays in zip(*(tree for tree, _ in made), strict=True)))
    content = write(nodes, np.array([len(tree.left) for tree, _ in made], dtype=np.int32))
    sets = [found for _, found in made]
    return content if kinds is None else _with_sets(content, sets, kinds)


def _trees(text: str) -> Iterator[dict[str, str]]:
    for part in text.split("\nTree=")[1:]:
        lines = part.split("\n\n", 1)[0].splitlines()[1:]
        yield dict(line.split("=", 1) for line in lines)


def _array(fields: dict[str, str], name: str, kind: Any) -> np.ndarray:
    return np.array(fields.get(name, "").split(), dtype=np.float64).astype(kind)


def _nodes(fields: dict[str, str], rate: float) -> tuple[Nodes, Sets]:
    """The nodes of a tree: the children of the i-th inner node are 2 i + 1 and 2 i + 2.

    XGBoost adds one to the left child to find the right one, so they have to be neighbours.
    """
    leaves = int(fields["num_leaves"])
    inner = leaves - 1
    nodes = Nodes(*(np.zeros(inner + leaves, dtype=kind) for kind in _KINDS))
    answer = _array(fields, "leaf_value", np.float64)[:leaves]
    nodes.left[:], nodes.right[:], nodes.parent[:] = -1, -1, ROOT_PARENT
    if not inner:
        nodes.condition[0] = nodes.weight[0] = answer[0]
        return nodes, {}
    kind, threshold = _array(fields, "decision_type", np.int64), _array(fields, "threshold", np.float64)
    by_category = (kind & _CATEGORY) > 0
    first = 2 * np.arange(inner) + 1
    place = np.zeros(inner + leaves, dtype=np.int64)  # of the inner nodes, then of the leaves
    for side, beside in (("left", by_category), ("right", ~by_category)):
        child = _array(fields, f"{side}_child", np.int64)
        place[np.where(child >= 0, child, inner + ~child)] = first + beside
    at, ends = place[:inner], place[inner:]
    nodes.left[at], nodes.right[at] = first, first + 1
    nodes.parent[first] = nodes.parent[first + 1] = at
    nodes.feature[at] = _array(fields, "split_feature", np.int32)
    nodes.condition[at] = np.where(by_category, 0.0, just_above(threshold))
    nodes.condition[ends] = nodes.weight[ends] = answer
    # where nothing was missing, what is missing later is a zero
    missing = (kind >> _MISSING) & 3
    goes_left = np.where(missing == _NEVER_MISSING, threshold >= 0, (kind & _DEFAULT_LEFT) > 0)
    nodes.default_left[at] = by_category | goes_left
    nodes.gain[at] = _array(fields, "split_gain", np.float32)
    nodes.weight[at] = _array(fields, "internal_value", np.float64) / rate
    nodes.hessian[ends] = _array(fields, "leaf_weight", np.float32)
    _add_up(nodes, at)
    return nodes, _sets(fields, np.flatnonzero(by_category), at, threshold)


_KINDS = [np.int32] * 4 + [np.float32, np.uint8] + [np.float32] * 3


def _add_up(nodes: Nodes, inner: np.ndarray) -> None:
    """The second derivatives of inner nodes, from those of the leaves; children come behind their parents."""
    hessian = nodes.hessian.astype(np.float64)
    for node in inner[::-1].tolist():
        hessian[node] = hessian[nodes.left[node]] + hessian[nodes.right[node]]
    nodes.hessian[inner] = hessian[inner]


def _sets(fields: dict[str, str], chosen: np.ndarray, at: np.ndarray, threshold: np.ndarray) -> Sets:
    bounds = _array(fields, "cat_boundaries", np.int64)
    words = _array(fields, "cat_threshold", np.uint32)
    found = {}
    for node in chosen.tolist():
        first = int(threshold[node])
        bits = np.unpackbits(words[bounds[first] : bounds[first + 1]].view(np.uint8), bitorder="little")
        found[int(at[node])] = np.flatnonzero(bits)
    return found


def just_above(threshold: np.ndarray) -> np.ndarray:
    """The least float32 numbers that are greater than thresholds of float64."""
    with np.errstate(over="ignore"):
        single = threshold.astype(np.float32)
    below = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
    with np.errstate(over="ignore"):
        return np.nextafter(below, np.float32(np.inf))


def _with_sets(content: bytes, sets: Sequence[Sets], kinds: Sequence[str]) -> bytes:
    """The booster with the categories that its trees split on."""
    document = json.loads(restored(content).save_raw("json"))
    learner = document["learner"]
    learner["feature_types"] = list(kinds)
    for tree, found in zip(learner["gradient_booster"]["model"]["trees"], sets, strict=True):
        sizes = [len(found[node]) for node in sorted(found)]
        for node in found:
            tree["split_type"][node] = 1
        tree["categories_nodes"] = sorted(found)
        tree["categories"] = [int(code) for node in sorted(found) for code in found[node]]
        tree["categories_sizes"] = sizes
        tree["categories_segments"] = (np.cumsum(sizes) - sizes).tolist() if sizes else []
    return bytes(restored(json.dumps(document).encode()).save_raw("ubj"))
