"""Trees as a booster in XGBoost's UBJSON format, written without XGBoost's help for each.

What the format holds beside trees is taken from a booster without any, so it is what the installed XGBoost
writes; https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html describes the schema, and
https://ubjson.org the encoding.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from outgrow._optional import optional
from outgrow.ml.trees.asking import restored

_NODES = (
    ("base_weights", "d", "weight"),
    ("default_left", "U", "default_left"),
    ("left_children", "l", "left"),
    ("loss_changes", "d", "gain"),
    ("parents", "l", "parent"),
    ("right_children", "l", "right"),
    ("split_conditions", "d", "condition"),
    ("split_indices", "l", "feature"),
    ("split_type", "U", None),
    ("sum_hessian", "d", "hessian"),
)
"""XGBoost's name of each array of a tree, the mark of its type, and our name; None for zeros."""
_EMPTY = {"categories": "l", "categories_nodes": "l", "categories_segments": "L", "categories_sizes": "L"}
_TYPES = {"d": ">f4", "U": "u1", "l": ">i4"}
_TREES, _BASE = "<trees>", "<base>"

ROOT_PARENT = 2**31 - 1


class Nodes(NamedTuple):
    """The nodes of trees in XGBoost's terms, as arrays: of one tree after the other, or a row for each."""

    left: np.ndarray
    right: np.ndarray
    parent: np.ndarray
    feature: np.ndarray
    condition: np.ndarray
    default_left: np.ndarray
    gain: np.ndarray
    weight: np.ndarray
    hessian: np.ndarray

    def part(self, chosen: Any) -> Nodes:
        """Those at some places of each array, copied."""
        return Nodes(*(array[chosen].copy() for array in self))

    def gains(self, width: int) -> np.ndarray:
        """What all splits on each of so many features gained."""
        inner = self.left >= 0
        return np.bincount(self.feature[inner], self.gain[inner], width)

    @classmethod
    def room(cls, shape: Any) -> Nodes:
        """Arrays of a shape to be filled."""
        kinds = [np.int32] * 4 + [np.float32, np.uint8] + [np.float32] * 3
        return cls(*(np.empty(shape, dtype=kind) for kind in kinds))


Write = Callable[[Nodes, np.ndarray, Sequence[float]], bytes]


@lru_cache(16)
def writer(objective: str, classes: int | None, width: int, rounds: int, targets: int = 1) -> Write:
    """What writes boosters that differ in their trees and base scores alone.

    Parameters
    ----------
    objective : XGBoost's name of it.
    classes : how many there are, with one output each; None for one output.
    width : features.
    rounds : of boosting, each of a tree for each output.
    targets : how many numbers are learned, with one output each; 1 where there are classes.

    Returns
    -------
    A function of nodes (of one tree after the other), how many of them each tree has, and base scores.
    """
    outputs = classes or targets
    document = _treeless(objective, classes, width, targets)
    model = document["learner"]["gradient_booster"]["model"]
    model["gbtree_model_param"]["num_trees"] = str(rounds * outputs)
    model["iteration_indptr"] = [outputs * step for step in range(rounds + 1)]
    model["tree_info"] = list(range(outputs)) * rounds
    model["trees"] = _TREES
    learned = document["learner"]["learner_model_param"]
    listed = learned["base_score"].startswith("[")  # as XGBoost does from 3.1 on
    learned["base_score"] = _BASE
    whole = encoded(document)
    head, rest = whole.split(encoded(_TREES))
    middle, tail = rest.split(encoded(_BASE))

    def write(nodes: Nodes, sizes: np.ndarray, base: Sequence[float]) -> bytes:
        score = ",".join(str(np.float32(value)) for value in base)
        return b"".join(
            [
                head,
                b"[#",
                _length(len(sizes)),
                *_trees(nodes, sizes, width),
                middle,
                encoded(f"[{score}]" if listed else score),
                tail,
            ]
        )

    return write


def _treeless(objective: str, classes: int | None, width: int, targets: int) -> Any:
    """What XGBoost saves before it has grown a tree."""
    xgb = optional("xgboost", "trees")
    names = [f"f{j}" for j in range(width)]
    label = np.zeros((2, targets)) if targets > 1 else [0, 1]
    rows = xgb.QuantileDMatrix(np.zeros((2, width)), label=label, feature_names=names)
    parameters: dict[str, Any] = {"tree_method": "hist", "objective": objective, "base_score": 0.5}
    if classes is not None:
        parameters |= {"num_class": classes}
        del parameters["base_score"]  # several can only be estimated
    booster = xgb.train(parameters, rows, 0)
    booster.feature_names = names
    return json.loads(booster.save_raw("json"))


def _trees(nodes: Nodes, sizes: np.ndarray, width: int) -> list[bytes | memoryview]:
    """The trees one after the other, in parts."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    columns = []
    for _, mark, name in _NODES:
        values = np.zeros(int(ends[-1]), np.uint8) if name is None else getattr(nodes, name)
        kind = np.dtype(_TYPES[mark])
        whole = memoryview(values.astype(kind).view(np.uint8))  # type: ignore[arg-type]
        columns.append([whole[start:end] for start, end in pairwise((ends * kind.itemsize).tolist())])
    parts: list[bytes | memoryview] = []
    for number, size in enumerate(sizes.tolist()):
        keys, end = _tree_text(size, width)
        parts.append(b"{" + _key("id") + b"l" + struct.pack(">i", number))
        for key, column in zip(keys, columns, strict=True):
            parts += (key, column[number])
        parts.append(end)
    return parts


@lru_cache(4096)
def _tree_text(size: int, width: int) -> tuple[list[bytes], bytes]:
    """What stands before each array of a tree of so many nodes, and behind the last."""
    keys = [_key(key) + b"[$" + mark.encode() + b"#" + _length(size) for key, mark, _ in _NODES]
    beside = {"num_deleted": "0", "num_feature": str(width), "num_nodes": str(size), "size_leaf_vector": "1"}
    empty = [_key(key) + b"[$" + mark.encode() + b"#" + _length(0) for key, mark in _EMPTY.items()]
    return keys, b"".join([*empty, _key("tree_param"), encoded(beside), b"}"])


def encoded(value: Any) -> bytes:
    """A value in UBJSON: dictionaries, lists, text, and whole numbers."""
    if isinstance(value, dict):
        return b"{" + b"".join(_key(key) + encoded(entry) for key, entry in value.items()) + b"}"
    if isinstance(value, list):
        return b"[#" + _length(len(value)) + b"".join(map(encoded, value))
    if isinstance(value, str):
        return b"S" + _length(len(value.encode())) + value.encode()
    if isinstance(value, int) and not isinstance(value, bool):
        return b"l" + struct.pack(">i", value)
    raise TypeError(
        f"XGBoost's document of a booster without trees holds {value!r}; expected text or an integer."
    )


def _key(name: str) -> bytes:
    return _length(len(name.encode())) + name.encode()


def _length(count: int) -> bytes:
    return b"L" + struct.pack(">q", count)


def joined(before: bytes, grown: bytes) -> bytes:
    """Two stored boosters, alike but in their trees, as one.

    Parameters
    ----------
    before : whose trees come first; all else is its own.
    grown : whose trees follow.
    """
    whole, added = (json.loads(restored(content).save_raw("json")) for content in (before, grown))
    model, more = (document["learner"]["gradient_booster"]["model"] for document in (whole, added))
    rounds, trees = model["iteration_indptr"], len(model["trees"])
    model["trees"] += [{**tree, "id": trees + tree["id"]} for tree in more["trees"]]
    model["tree_info"] += more["tree_info"]
    model["iteration_indptr"] = rounds + [trees + end for end in more["iteration_indptr"][1:]]
    model["gbtree_model_param"]["num_trees"] = str(len(model["trees"]))
    return bytes(restored(json.dumps(whole).encode()).save_raw("ubj"))


def decoded(content: bytes) -> Any:
    """The value that XGBoost wrote in UBJSON; typed arrays as NumPy's.

    Raises
    ------
    ValueError, IndexError, KeyError, struct.error
        When it is none.
    """
    value, end = _decode(content, 0, 0)
    if end != len(content):
        raise ValueError(f"{len(content) - end} bytes follow the document")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins there, and where the next does."""
    mark, at = data[at], at + 1
    if mark == _TEXT:
        return _decode_text(data, at)
    if mark not in (_OBJECT, _ARRAY):
        form = _SCALARS[mark]
        return form.unpack_from(data, at)[0], at + form.size
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    return (_decode_object if mark == _OBJECT else _decode_array)(data, at, depth + 1)


def _decode_object(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while data[at] != _END:
        key, at = _decode_text(data, at)
        if key in found:
            raise ValueError(f"it has {key!r} twice")
        found[key], at = _decode(data, at, depth)
    return found, at + 1


def _decode_array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if data[at] == _TYPED:
        kind = np.dtype(_ARRAYS[data[at + 1]])
        count, at = _decode_length(data, at + 3, at + 2)
        return np.frombuffer(data, kind, count, at), at + count * kind.itemsize
    count, at = _decode_length(data, at + 1, at)
    values = []
    for _ in range(count):
        value, at = _decode(data, at, depth)
        values.append(value)
    return values, at


def _decode_length(data: bytes, at: int, counted: int | None = None) -> tuple[int, int]:
    """A count, which a mark stands before; and the sign that it is one, in arrays."""
    if data[at] != _LONG or (counted is not None and data[counted] != _COUNTED):
        raise ValueError(f"no length where one should be, at byte {at}")
    (count,) = _SCALARS[_LONG].unpack_from(data, at + 1)
    if not 0 <= count <= len(data):
        raise ValueError(f"a length of {count}")
    return count, at + 9


def _decode_text(data: bytes, at: int) -> tuple[str, int]:
    count, at = _decode_length(data, at)
    if at + count > len(data):
        raise ValueError("a text ends too early")
    return data[at : at + count].decode(), at + count


_OBJECT, _END, _ARRAY, _TYPED, _COUNTED, _TEXT, _LONG = b"{}[$#SL"
_SCALARS = {ord(mark): struct.Struct(f">{form}") for mark, form in zip("iUIlLd", "bBhiqf", strict=True)}
_ARRAYS = {ord(mark): kind for mark, kind in {**_TYPES, "L": ">i8"}.items()}
_DEEPEST = 12
