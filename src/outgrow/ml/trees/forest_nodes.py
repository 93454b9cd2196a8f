"""What the kernels of forests are told and fill: limits of a tree, and room for its nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_TWICE = 1 << 26
"""Values of which there is room for a second copy: 128 MB."""


class Shape(NamedTuple):
    """What limits a tree.

    Attributes
    ----------
    depth : most splits above a leaf.
    leaves : most leaves, taken where the most is gained; -1 for no limit.
    tried : features tried at each split; more where those are constant in a node.
    least : weight of a leaf, in units of weight.
    split : weight of a node that may be split, in units of weight.
    classes : how many there are; 0 for numbers.
    entropy : whether splits lower the entropy of classes, not their squares.
    drawn : whether each feature tried is split at a number drawn between its least and its greatest.
    """

    depth: int
    leaves: int
    tried: int
    least: float
    split: float
    classes: int
    entropy: bool
    drawn: bool


class Codes(NamedTuple):
    """The bin of each value, feature by feature; and behind that once more, row by row, where there is room.

    Nodes of few rows read the latter: all features of a row lie together, and stay in a core's cache.

    Attributes
    ----------
    values : uint16 of shape (values,) or (2 * values,).
    rows, width : of the matrix.
    by_row : where the values row by row begin; 0 where there is no room for them.
    """

    values: np.ndarray
    rows: int
    width: int
    by_row: int

    @classmethod
    def of(cls, columns: np.ndarray) -> Codes:
        """The bins of a matrix.

        Parameters
        ----------
        columns : uint16 of shape (width, rows).
        """
        width, rows = columns.shape
        cells = width * rows
        if cells > MOST_TWICE:
            return cls(np.ascontiguousarray(columns).ravel(), rows, width, 0)
        values = np.empty(2 * cells, np.uint16)
        values[:cells].reshape(width, rows)[...] = columns
        values[cells:].reshape(rows, width)[...] = columns.T
        return cls(values, rows, width, cells)


class NodesInBins(NamedTuple):
    """Nodes of a tree, as arrays of shape (nodes,), and `sums` of shape (nodes, slots).

    `bin` is the last that goes left. Sums are, of numbers, the weight and the weighted target; of classes,
    the weight of each. `gain` is by how much a split lowers the weighted squares, in units of weight.
    """

    left: np.ndarray
    feature: np.ndarray
    bin: np.ndarray
    missing_left: np.ndarray
    gain: np.ndarray
    sums: np.ndarray

    @classmethod
    def room(cls, most: int, slots: int) -> NodesInBins:
        """Arrays to be filled.

        Parameters
        ----------
        most : nodes.
        slots : sums of each.
        """
        kinds = (np.int32, np.int32, np.int32, np.uint8, np.float64)
        return cls(*[*(np.empty(most, kind) for kind in kinds), np.empty((most, slots))])
