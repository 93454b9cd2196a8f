"""Which index finds the neighbours of some rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outgrow._optional import optional
from outgrow.errors import MissingExtraError

if TYPE_CHECKING:
    from outgrow.ml.neighbors.kd_tree import KdTree

COMPILED_FROM = 256
"""Rows from which on compiled code, which has to be loaded, is worth it."""
_LOOK, _COLUMN = 1.5, 0.1
"""What a row costs that a tree looks at, and each of its columns; one of a product of matrices costs 1."""
_FEW_COLUMNS = 3
"""Up to so many columns a tree always pays."""
_WANTED = 5
"""Neighbours that are looked for to see whether a tree pays."""
_ASKED_ALL, _SOME, _NEARLY = 1 << 15, 1 << 13, 0.9
"""Past so many rows, so many of them are asked first; a tree of these that sees such a share settles it."""

_MOST = 20_000
"""Rows of which all pairs are looked at in a few seconds."""
_MOST_OF_FEW = {5: 500_000, 10: 100_000}
"""Rows that a tree joins in about as much time, by the columns that there are at most."""


def compiled() -> bool:
    """Whether code can be compiled: Numba is installed."""
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return False
    return True


def rows_in_seconds(width: int) -> int:
    """How many rows a spanning tree joins in a few seconds.

    Parameters
    ----------
    width : how many columns they have.
    """
    few = [most for columns, most in _MOST_OF_FEW.items() if width <= columns]
    return few[0] if few and compiled() else _MOST


def tree_of(rows: np.ndarray, power: float) -> KdTree | None:
    """A k-d tree of rows, where it finds neighbours faster than a look at all rows does; else None.

    What a tree has to look at depends on how rows lie, not on the columns alone, so some rows are asked for
    their neighbours. Where products of matrices say nothing of distances, the tree is never slower.

    Parameters
    ----------
    rows : shape (n, width).
    power : of the metric of Minkowski; infinity for the largest difference.
    """
    if len(rows) < COMPILED_FROM or not compiled():
        return None
    from outgrow.ml.neighbors.kd_tree import KdTree

    if power != 2 or rows.shape[1] <= _FEW_COLUMNS:
        return KdTree(rows, power)
    if len(rows) > _ASKED_ALL and KdTree(rows[:: len(rows) // _SOME], power).share_seen(_WANTED) > _NEARLY:
        return None  # in so many directions the tree of all rows sees most of them, too, and takes long
    tree = KdTree(rows, power)
    return tree if tree.share_seen(_WANTED) * (_LOOK + _COLUMN * rows.shape[1]) < 1 else None
