"""Statistics of many groups at once: one state, sorted by the hashes of the groups' keys, arrays stacked.

Merging is a union by key. Groups need not lie together: rows of one group may come in any batch of any rank,
so nothing is shuffled, and a group that holds half of all rows is no more work than any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.stats.state import State

_RADIX = 1 << 16
_TILE_ROWS = 8192


@dataclass(frozen=True, eq=False)
class Segments:
    """The rows of a batch in the order of their groups.

    Attributes
    ----------
    hashes : ndarray of shape (groups,), sorted.
    order : ndarray of shape (rows,) that sorts the rows by group.
    starts : ndarray of shape (groups,), where each group begins among the sorted rows.
    """

    hashes: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray) -> Segments:
        """The groups of rows whose keys have these hashes."""
        encoded = pa.array(hashes).dictionary_encode()
        return cls.coded(encoded.dictionary.to_numpy(), encoded.indices.to_numpy())

    @classmethod
    def coded(cls, hashes: np.ndarray, codes: np.ndarray) -> Segments:
        """The groups of rows, where codes say which hash is that of a row's key.

        Parameters
        ----------
        hashes : uint64 of shape (keys,), as `key_codes` gives them: in no order, not all used, some equal.
        codes : shape (rows,), places in `hashes`.
        """
        by_hash = np.argsort(hashes)
        ordered, used = hashes[by_hash], np.bincount(codes, minlength=len(hashes))
        if (ordered[1:] == ordered[:-1]).any() or not used.all():
            return cls.of(hashes[codes])
        small = np.uint16 if len(hashes) <= _RADIX else np.int64  # NumPy sorts 16 bits by radix
        rank = np.empty(len(hashes), dtype=small)
        rank[by_hash] = np.arange(len(hashes))
        counts = used[by_hash]
        return cls(ordered, np.argsort(rank[codes], kind="stable"), np.cumsum(counts) - counts)

    @property
    def firsts(self) -> np.ndarray:
        """The first row of each group."""
        return self.order[self.starts]

    @cached_property
    def counts(self) -> np.ndarray:
        """How many rows each group has."""
        return np.diff(np.append(self.starts, len(self.order)))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the groups of rows that are sorted already and lie along the last axis."""
        if not len(self.starts):
            return np.zeros((*values.shape[:-1], 0))
        return np.add.reduceat(values, self.starts, axis=-1, dtype=np.float64)

    def tiles(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Runs of sorted rows that fit in a cache: rows, groups, and where those begin among these rows."""
        for start in range(0, len(self.order), _TILE_ROWS):
            end = min(start + _TILE_ROWS, len(self.order))
            first = int(np.searchsorted(self.starts, start, side="right")) - 1
            last = int(np.searchsorted(self.starts, end))
            yield slice(start, end), slice(first, last), np.maximum(self.starts[first:last] - start, 0)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of groups, along the last axis, as values of their sorted rows."""
        return np.repeat(values, self.counts, axis=-1)


@dataclass(frozen=True, eq=False)
class Keys(State):
    """The keys there are: their hashes, sorted, and their values as an Arrow stream in the same order."""

    hashes: np.ndarray
    values: bytes

    @classmethod
    def of(cls, hashes: np.ndarray, values: pa.RecordBatch) -> Keys:
        """The keys of groups.

        Parameters
        ----------
        hashes : uint64 of shape (groups,), sorted.
        values : a row for each group, in the same order.
        """
        return cls(hashes, _stream(pa.Table.from_batches([values])))

    @property
    def table(self) -> pa.Table:
        return pa.ipc.open_stream(self.values).read_all()

    def merge(self, other: Keys) -> Keys:
        if np.array_equal(self.hashes, other.hashes):
            return self
        hashes, first = np.unique(np.concatenate([self.hashes, other.hashes]), return_index=True)
        both = pa.concat_tables([self.table, other.table]).combine_chunks()
        return Keys(hashes, _stream(both.take(pa.array(first))))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True, eq=False)
class GroupedSums(State):
    """Sums of each group: `sums` has shape (groups, columns)."""

    hashes: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, segments: Segments, values: np.ndarray) -> GroupedSums:
        """The sums of columns.

        Parameters
        ----------
        segments : the groups of the rows.
        values : shape (columns, rows), sorted as the segments are.
        """
        return cls(segments.hashes, segments.sums(values).T.copy())

    def merge(self, other: GroupedSums) -> GroupedSums:
        hashes, (sums,), at = united(self, other, "sums")
        sums[at] += other.sums
        return GroupedSums(hashes, sums)


@dataclass(frozen=True, eq=False)
class GroupedMoments(State):
    """`Moments` of each group: all fields but `hashes` have shape (groups, columns); NaN is no value.

    An infinite value makes those of its column in its own group NaN.
    """

    hashes: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray

    @classmethod
    def of(cls, segments: Segments, X: np.ndarray, weight: np.ndarray | None = None) -> GroupedMoments:
        """The moments of columns.

        Parameters
        ----------
        segments : the groups of the rows.
        X : shape (columns, rows), sorted as the segments are; NaN is no value.
        weight : shape (rows,), sorted as X; None where each row counts once.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            totals = segments.sums(X if weight is None else X * weight)
            if np.isnan(totals).any():
                return cls._of_some(segments, X, weight)
            of_rows = segments.counts.astype(np.float64) if weight is None else segments.sums(weight)
            n = np.broadcast_to(of_rows, totals.shape)
            mean = totals / np.where(n > 0, n, 1)
            mean[~np.isfinite(mean)] = np.nan
            apart = X - segments.spread(mean)
            squares = np.multiply(apart, apart, out=apart)
            m2 = segments.sums(squares if weight is None else squares * weight)
        return cls(segments.hashes, n.T.copy(), mean.T.copy(), m2.T.copy())

    @classmethod
    def _of_some(cls, segments: Segments, X: np.ndarray, weight: np.ndarray | None) -> GroupedMoments:
        """The moments of columns where values are missing."""
        present = ~np.isnan(X)
        counted = present.astype(np.float64) if weight is None else present * weight
        values = np.where(present, X, 0.0)
        n = segments.sums(counted)
        mean = segments.sums(values * counted) / np.where(n > 0, n, 1)
        mean[~np.isfinite(mean)] = np.nan
        m2 = segments.sums(counted * (values - segments.spread(mean)) ** 2)
        return cls(segments.hashes, n.T.copy(), mean.T.copy(), m2.T.copy())

    def merge(self, other: GroupedMoments) -> GroupedMoments:
        hashes, (n, mean, m2), at = united(self, other, "n", "mean", "m2")
        before, step = n[at].copy(), other.mean - mean[at]
        total = before + other.n
        share = other.n / np.where(total > 0, total, 1)
        n[at], mean[at] = total, mean[at] + step * share
        m2[at] += other.m2 + step**2 * before * share
        return GroupedMoments(hashes, n, mean, m2)


@dataclass(frozen=True, eq=False)
class GroupedCoMoments(State):
    """`CoMoments` of each group: weight `n` of shape (groups,), `mean` of shape (groups, p), and the products
    about it with i <= j, row by row of their matrix, of shape (groups, p (p + 1) / 2).

    A value that is missing or infinite makes those of its own group NaN, and no others.
    """

    hashes: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, segments: Segments, X: np.ndarray, weight: np.ndarray | None = None) -> GroupedCoMoments:
        """The joint moments of columns.

        Parameters
        ----------
        segments : the groups of the rows.
        X : shape (p, rows), sorted as the segments are.
        weight : shape (rows,), sorted as X; None where each row counts once.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            n = segments.counts.astype(np.float64) if weight is None else segments.sums(weight)
            mean = segments.sums(X if weight is None else X * weight) / np.where(n > 0, n, 1)
            mean[~np.isfinite(mean)] = np.nan
            products = np.zeros((len(X) * (len(X) + 1) // 2, len(n)))
            for rows, groups, starts in segments.tiles():
                centred = X[:, rows] - np.repeat(
                    mean[:, groups], np.diff(starts, append=rows.stop - rows.start), axis=-1
                )
                weighed = centred if weight is None else centred * weight[rows]
                at, room = 0, np.empty_like(centred)
                for i in range(len(X)):
                    part = np.multiply(centred[i:], weighed[i], out=room[i:])
                    products[at : at + len(part), groups] += np.add.reduceat(part, starts, axis=-1)
                    at += len(part)
        return cls(segments.hashes, n, mean.T.copy(), products.T.copy())

    def merge(self, other: GroupedCoMoments) -> GroupedCoMoments:
        hashes, (n, mean, products), at = united(self, other, "n", "mean", "products")
        before, step = n[at].copy(), other.mean - mean[at]
        total = before + other.n
        share = other.n / np.where(total > 0, total, 1)
        rows, columns = np.triu_indices(mean.shape[1])
        n[at], mean[at] = total, mean[at] + step * share[:, None]
        products[at] += other.products + step[:, rows] * step[:, columns] * (before * share)[:, None]
        return GroupedCoMoments(hashes, n, mean, products)

    def matrices(self, part: slice) -> np.ndarray:
        """The products of some groups as symmetric matrices, of shape (groups, p, p)."""
        p = self.mean.shape[1]
        rows, columns = np.triu_indices(p)
        full = np.empty((len(self.n[part]), p, p))
        full[:, rows, columns] = full[:, columns, rows] = self.products[part]
        return full


def united(
    left: Any, right: Any, *names: str, empty: float = 0.0
) -> tuple[np.ndarray, list[np.ndarray], Any]:
    """The keys of two states, the arrays of the left with room for all keys, and the indices of the right's.

    Parameters
    ----------
    left, right : states with `hashes`, sorted.
    *names : the fields of the left to be copied, whose first axis are its keys.
    empty : what stands where only the right has the key.
    """
    if np.array_equal(left.hashes, right.hashes):
        return left.hashes, [getattr(left, name).copy() for name in names], slice(None)
    hashes = np.union1d(left.hashes, right.hashes)
    left_index = np.searchsorted(hashes, left.hashes)

    def widened(array: np.ndarray) -> np.ndarray:
        wide = np.full((len(hashes), *array.shape[1:]), empty)
        wide[left_index] = array
        return wide

    return hashes, [widened(getattr(left, name)) for name in names], np.searchsorted(hashes, right.hashes)
