"""Rows within a radius, told by products of matrices, compiled by Numba."""

from __future__ import annotations

from typing import Any

from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, kernel, typed_kernel
from outgrow.ml.neighbors.kd_tree_kernels import root

_ROUNDED = 2.3e-16
"""What rounding changes at most, as a share."""


@kernel
def _is_near(rows: Any, squares: Any, i: Any, j: Any, product: Any, radius: Any) -> Any:
    """Whether two rows are within a squared radius; differences tell where products do not."""
    both = squares[i] + squares[j]
    apart, doubt = both - 2 * product, 4 * (rows.shape[1] + 4) * _ROUNDED * (both + radius)
    if apart > radius + doubt:
        return False
    if apart < radius - doubt:
        return True
    total = 0.0
    for k in range(rows.shape[1]):
        total += (rows[i, k] - rows[j, k]) ** 2
    return total <= radius


@typed_kernel(
    ROWS, GIVEN, ROWS, types.int64, types.int64, GIVEN, types.float64, types.float64, types.float64[::1]
)
def weighed(
    rows: Any,
    squares: Any,
    products: Any,
    start: Any,
    beside: Any,
    weight: Any,
    radius: Any,
    enough: Any,
    found: Any,
) -> None:
    """Add what rows within a radius weigh, unless a row has enough.

    Parameters
    ----------
    rows, squares : of shape (n, width), and their squared lengths.
    products : of some rows with some others.
    start, beside : the first of the rows, and of the others.
    weight : of shape (n,).
    radius : squared.
    enough : it stops counting from there on.
    found : of shape (n,), is added to.
    """
    for i in range(products.shape[0]):
        heavy = found[start + i]
        for j in range(products.shape[1]):
            if heavy >= enough:
                break
            if _is_near(rows, squares, start + i, beside + j, products[i, j], radius):
                heavy += weight[beside + j]
        found[start + i] = heavy


@typed_kernel(ROWS, GIVEN, ROWS, types.int64, types.int64, types.float64, types.int64[::1])
def tied(rows: Any, squares: Any, products: Any, start: Any, beside: Any, radius: Any, above: Any) -> None:
    """Tie rows that are within a radius.

    Parameters
    ----------
    rows, squares, products, start, beside, radius : as for `weighed`.
    above : of shape (n,), what each row hangs under; is updated.
    """
    for i in range(products.shape[0]):
        mine = root(above, start + i)
        for j in range(products.shape[1]):
            if above[beside + j] == mine:
                continue
            if _is_near(rows, squares, start + i, beside + j, products[i, j], radius):
                other = root(above, beside + j)
                if other < mine:
                    above[mine] = other
                    mine = other
                else:
                    above[other] = mine
