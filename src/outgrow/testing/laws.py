"""The laws of a state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from outgrow.stats.state import from_tree, merge, to_tree


def check_state_laws(
    of: Callable[[np.ndarray], Any],
    rows: np.ndarray,
    read: Callable[[Any], Any],
    *,
    cuts: tuple[int, ...] = (),
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> None:
    """Check that a state says the same of rows however they are cut, ordered and grouped, and travels intact.

    Parameters
    ----------
    of : makes the state of some rows (possibly none).
    rows : ndarray whose first axis are the rows.
    read : the result of a state, as numbers.
    cuts : where the rows are cut; equal cuts give empty parts.

    Raises
    ------
    AssertionError
        Naming the law that does not hold.
    """
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [rows[a:b] for a, b in pairwise(edges)]
    whole = read(of(rows))

    def same(state: Any, law: str) -> None:
        np.testing.assert_allclose(read(state), whole, rtol=rtol, atol=atol, equal_nan=True, err_msg=law)

    def fold(pieces: list[np.ndarray]) -> Any:
        total = None
        for piece in pieces:
            total = merge(total, of(piece))
        return total

    same(fold(parts), "merging the parts gives the whole")
    same(fold(parts[::-1]), "merge is commutative")
    right = of(parts[-1])
    for part in parts[-2::-1]:
        right = merge(of(part), right)
    same(right, "merge is associative")
    same(merge(of(rows), of(rows[:0])), "the state of no rows is an identity")
    same(merge(of(rows[:0]), of(rows)), "the state of no rows is an identity on the left")
    same(from_tree(to_tree(of(rows))), "a state survives its tree")
