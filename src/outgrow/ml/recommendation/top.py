"""The best of many candidates for each of many rows, by products of factors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from outgrow.engine.context import one_blas_thread

_CELLS = 1 << 20
"""Scores that are made at once."""
_PARTS = 8
"""Parts of the candidates for each that is wanted: the best of the parts bound what the best of all are."""
_LOWEST = np.finfo(np.float64).min
"""Less than any score, and more than that of what is left out."""


def best(
    rows: np.ndarray, candidates: np.ndarray, k: int, seen: Any = None, threads: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The candidates with the highest scores for each row, the best first; of equals the first.

    Parameters
    ----------
    rows : factors of shape (rows, components).
    candidates : of shape (candidates, components).
    k : how many for each row, at most.
    seen : CSR array of shape (rows, candidates): candidates with an entry are left out. None for none.
    threads : how many work.

    Returns
    -------
    The row, the candidate and the score of each choice.
    """
    step = max(1, _CELLS // max(1, len(candidates)))

    def part(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scores = rows[start : start + step] @ candidates.T
        if seen is not None:
            out = seen[start : start + step]
            scores[np.repeat(np.arange(len(scores)), np.diff(out.indptr)), out.indices] = -np.inf
        own, chosen = np.nonzero(scores >= np.maximum(_bounds(scores, k), _LOWEST)[:, None])
        values = scores[own, chosen]
        order = np.lexsort((-values, own))
        begins = np.searchsorted(own, np.arange(len(scores)))
        kept = order[np.arange(len(order)) - begins[own[order]] < k]
        return start + own[kept], chosen[kept], values[kept]

    starts = range(0, len(rows), step)
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, starts))
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return tuple(map(np.concatenate, zip(nothing, *parts, strict=True)))  # type: ignore[return-value]


def _bounds(scores: np.ndarray, k: int) -> np.ndarray:
    """A number for each row that at least k of its scores reach, and few more."""
    rows, columns = scores.shape
    width = columns // (_PARTS * k)
    if width < 2:
        return np.full(rows, -np.inf)
    highest = scores[:, : columns // width * width].reshape(rows, -1, width).max(axis=2)
    return np.asarray(np.partition(highest, highest.shape[1] - k, axis=1)[:, -k])
