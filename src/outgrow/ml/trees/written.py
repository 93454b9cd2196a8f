"""A tree as lines of text, laid out as scikit-learn's `export_text` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from outgrow.ml.trees.tree import TreeStructure


def written(
    tree: TreeStructure,
    names: Sequence[str],
    leaf: Callable[[int], str],
    categories: Mapping[str, Sequence[Any]],
    *,
    max_depth: int,
    decimals: int,
    spacing: int,
) -> str:
    """The splits and leaves of a tree, one a line.

    Parameters
    ----------
    tree : its nodes.
    names : of the features.
    leaf : what the line of a leaf says.
    categories : the values of the features that are words.
    max_depth : splits deeper than this are told by how many levels are left out.
    decimals : of thresholds.
    spacing : by how many characters each level stands further right.
    """
    heights = _heights(tree)

    def split(node: int) -> tuple[str, str]:
        name = names[tree.feature[node]]
        if (right := tree.sets.get(node)) is not None:
            words = [str(categories[name][int(code) - 1]) for code in right if code]
            return f"{name} not in {{{', '.join(words)}}}", f"{name} in {{{', '.join(words)}}}"
        threshold = f"{tree.threshold[node]:.{decimals}f}"
        return f"{name} <= {threshold}", f"{name} >  {threshold}"

    def lines() -> Iterator[str]:
        waiting: list[tuple[int, int, str | None]] = [(0, 1, None)]
        while waiting:
            node, depth, title = waiting.pop()
            if title is not None:
                yield f"{_indent(depth - 1, spacing)} {title}"
            if tree.children_left[node] < 0:
                yield f"{_indent(depth, spacing)}{leaf(node)}"
            elif depth > max_depth + 1:
                yield f"{_indent(depth, spacing)} truncated branch of depth {heights[node] + 1}"
            else:
                left, right = split(node)
                waiting.append((int(tree.children_right[node]), depth + 1, right))
                waiting.append((int(tree.children_left[node]), depth + 1, left))

    return "".join(f"{line}\n" for line in lines())


def _indent(depth: int, spacing: int) -> str:
    bars = ("|" + " " * spacing) * depth
    return bars[:-spacing] + "-" * spacing


def _heights(tree: TreeStructure) -> np.ndarray:
    """How many splits lie below each node, on the longest way."""
    heights = np.zeros(tree.node_count, dtype=np.int64)
    for node in np.flatnonzero(tree.children_left >= 0)[::-1]:
        heights[node] = 1 + max(heights[tree.children_left[node]], heights[tree.children_right[node]])
    return heights
