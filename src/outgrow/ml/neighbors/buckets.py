"""Rows by their hashes, in several tables: rows that are near share a bucket in some of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from outgrow.data.hashing import mix

FEW_ROWS = 4096
"""Among so few rows all are compared: that is exact, and quicker."""
_TOGETHER = 1 << 21
"""Pairs of rows that are compared at once."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


class Buckets:
    """Finds rows that share a bucket.

    Parameters
    ----------
    hashes : uint64 of shape (rows, tables), which bucket each row is in.
    some : booleans of shape (rows,), which rows may be found at all.
    """

    def __init__(self, hashes: np.ndarray, some: np.ndarray) -> None:
        self._all = np.flatnonzero(some)
        self._places, self._keys = [], []
        for table in hashes[self._all].T:
            order = np.argsort(table, kind="stable")
            self._places.append(self._all[order])
            self._keys.append(table[order])

    def pairs(self, hashes: np.ndarray, some: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Queries and the rows that share a bucket with each, ascending, each pair once; a few at a time.

        Parameters
        ----------
        hashes : uint64 of shape (queries, tables).
        some : booleans of shape (queries,), which queries have any.
        """
        queries = np.flatnonzero(some)
        if len(self._all) <= FEW_ROWS:
            step = max(1, _TOGETHER // max(1, len(self._all)))
            for start in range(0, len(queries), step):
                few = queries[start : start + step]
                yield np.repeat(few, len(self._all)), np.tile(self._all, len(few))
            return
        low, high = (
            np.stack(
                [np.searchsorted(k, t, side) for k, t in zip(self._keys, hashes[queries].T, strict=True)]
            )
            for side in ("left", "right")
        )
        ends = np.cumsum((high - low).sum(axis=0))
        start = 0
        while start < len(queries):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + _TOGETHER, side="right")))
            part = slice(start, stop)
            yield self._met(queries[part], low[:, part], high[:, part])
            start = stop

    def _met(self, queries: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes, rows = [], np.uint64(self._all[-1] + 1)
        for places, first, last in zip(self._places, low, high, strict=True):
            counts = last - first
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            found = places[np.repeat(first, counts) + within].astype(np.uint64)
            codes.append(np.repeat(np.arange(len(queries), dtype=np.uint64), counts) * rows + found)
        once = np.unique(np.concatenate(codes))
        return queries[(once // rows).astype(np.int64)], (once % rows).astype(np.int64)


def joined(hashes: np.ndarray) -> np.ndarray:
    """Several hashes as one: equal where all are.

    Parameters
    ----------
    hashes : uint64 of shape (rows, tables, hashes of a table).

    Returns
    -------
    Shape (rows, tables).
    """
    made = np.zeros(hashes.shape[:2], dtype=np.uint64)
    for k in range(hashes.shape[2]):
        made = mix((made * _STEP + hashes[:, :, k]).ravel()).reshape(made.shape)
    return made


def least(
    queries: np.ndarray, places: np.ndarray, distances: np.ndarray, rows: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of some pairs.

    Parameters
    ----------
    queries, places, distances : of shape (pairs,).
    rows : how many queries there are.
    count : how many each gets; of pairs as far, those of the first places.

    Returns
    -------
    Distances and places, of shape (rows, count); NaN and -1 where a query has fewer.
    """
    order = np.lexsort((places, distances, queries))
    queries, places, distances = queries[order], places[order], distances[order]
    rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
    kept = rank < count
    far, at = np.full((rows, count), np.nan), np.full((rows, count), -1, dtype=np.int64)
    far[queries[kept], rank[kept]], at[queries[kept], rank[kept]] = distances[kept], places[kept]
    return far, at
