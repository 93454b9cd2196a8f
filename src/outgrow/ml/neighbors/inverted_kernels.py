"""Looking at the rows of cells, compiled by Numba."""

from __future__ import annotations

from typing import Any

from numba import types

from outgrow.ml.core.compiled import ROWS, typed_kernel

_NAMES = types.Array(types.int64, 1, "C", readonly=True)
_RANKS = types.Array(types.int64, 2, "C", readonly=True)


@typed_kernel(ROWS, _NAMES, _NAMES, ROWS, _RANKS, _NAMES, types.float64[:, ::1], types.int64[:, ::1])
def looked_at(
    rows: Any, order: Any, edges: Any, X: Any, ranked: Any, enough: Any, keys: Any, places: Any
) -> None:
    """Keep the nearest rows of the cells that each query looks at, the nearest first.

    Parameters
    ----------
    rows : of shape (n, width), cell by cell.
    order : of shape (n,), the place of each.
    edges : of shape (cells + 1,), where the rows of each cell begin.
    X : of shape (queries, width).
    ranked : of shape (queries, cells), the cells with the nearest first.
    enough : of shape (queries,), at how many of them each query looks.
    keys, places : of shape (queries, count), infinities and any numbers; to be filled with squared distances
        and places.
    """
    last = keys.shape[1] - 1
    for query in range(len(X)):
        for rank in range(enough[query]):
            cell = ranked[query, rank]
            for row in range(edges[cell], edges[cell + 1]):
                apart = 0.0
                for k in range(rows.shape[1]):
                    apart += (rows[row, k] - X[query, k]) * (rows[row, k] - X[query, k])
                place = order[row]
                if apart > keys[query, last] or (apart == keys[query, last] and place > places[query, last]):
                    continue
                at = last
                while at > 0 and (
                    keys[query, at - 1] > apart
                    or (keys[query, at - 1] == apart and places[query, at - 1] > place)
                ):
                    keys[query, at], places[query, at] = keys[query, at - 1], places[query, at - 1]
                    at -= 1
                keys[query, at], places[query, at] = apart, place
