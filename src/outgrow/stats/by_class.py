"""Sums and moments of the rows of each class."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.stats.grouped import GroupedMoments, GroupedSums, Segments, united
from outgrow.stats.moments import CoMoments
from outgrow.stats.state import State


def class_sums(X: Any, classes: np.ndarray, weight: np.ndarray | None = None) -> GroupedSums:
    """The sums of the columns over each class.

    Parameters
    ----------
    X : shape (rows, columns), dense or CSR, without NaN.
    classes : whole numbers of shape (rows,), or hashes.
    weight : shape (rows,); None where each row counts once.
    """
    segments = Segments.of(classes.astype(np.uint64, copy=False))
    if bool(sp.issparse(X)):
        return GroupedSums(segments.hashes, _sparse_sums(X, segments, weight))
    values, ordered = _in_order(X, segments, weight)
    return GroupedSums.of(segments, values if ordered is None else values * ordered)


def class_moments(X: Any, classes: np.ndarray, weight: np.ndarray | None = None) -> GroupedMoments:
    """The moments of the columns in each class.

    Parameters
    ----------
    X, classes, weight : as for `class_sums`.
    """
    segments = Segments.of(classes.astype(np.uint64, copy=False))
    if not bool(sp.issparse(X)):
        return GroupedMoments.of(segments, *_in_order(X, segments, weight))
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    ordered = None if weight is None else weight[segments.order]
    total = segments.counts.astype(np.float64) if ordered is None else segments.sums(ordered)
    n = np.repeat(total[:, None], X.shape[1], axis=1)
    mean = _sparse_sums(X, segments, weight) / np.where(n > 0, n, 1)
    return GroupedMoments(segments.hashes, n, mean, _sparse_squares(X, segments, n, mean, weight))


def _sparse_squares(
    X: Any, segments: Segments, n: np.ndarray, mean: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """Squares about the means of the classes: of what is stored, and of the zeros that are not."""
    code = np.empty(X.shape[0], dtype=np.intp)
    code[segments.order] = np.repeat(np.arange(len(segments.hashes)), segments.counts)
    stored = np.diff(X.indptr)
    cell = np.repeat(code * X.shape[1], stored) + X.indices
    w = np.ones(len(cell)) if weight is None else np.repeat(weight, stored)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = X.data - mean.ravel()[cell]
        squares = np.bincount(cell, w * apart * apart, mean.size).reshape(mean.shape)
        zeros = np.maximum(n - np.bincount(cell, w, mean.size).reshape(mean.shape), 0.0)
        return np.asarray(squares + zeros * mean * mean)


def _in_order(X: Any, segments: Segments, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The columns of a matrix, and the weights, in the order of the classes."""
    ordered = np.take(np.asarray(X).T, segments.order, axis=1)
    return ordered, None if weight is None else weight[segments.order]


def _sparse_sums(X: Any, segments: Segments, weight: np.ndarray | None) -> np.ndarray:
    """The sums of the columns of a CSR matrix over each class, of shape (classes, columns)."""
    rows = X[segments.order]
    values = rows.data
    if weight is not None:
        values = values * np.repeat(weight[segments.order], np.diff(rows.indptr))
    sums = np.empty((len(segments.hashes), X.shape[1]))
    ends = rows.indptr[np.append(segments.starts, len(segments.order))].tolist()
    for out, (start, end) in zip(sums, pairwise(ends), strict=True):
        out[:] = np.bincount(rows.indices[start:end], values[start:end], X.shape[1])
    return sums


@dataclass(frozen=True, eq=False)
class CategoryCounts(State):
    """How often the categories of columns occur in each class.

    Attributes
    ----------
    hashes : ndarray of shape (classes,), sorted.
    sizes : ndarray of shape (columns,), how many categories each column has.
    sums : ndarray of shape (classes, sum of sizes), column after column.
    """

    hashes: np.ndarray
    sizes: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, classes: np.ndarray, weight: np.ndarray | None = None) -> CategoryCounts:
        """The counts of the categories.

        Parameters
        ----------
        codes : whole numbers of at least 0, of shape (rows, columns).
        classes : whole numbers of shape (rows,).
        weight : shape (rows,); None where each row counts once.
        """
        hashes, code = np.unique(classes.astype(np.uint64), return_inverse=True)
        sizes = codes.max(axis=0, initial=-1) + 1
        counts = [
            np.bincount(code * size + column, weight, len(hashes) * size).reshape(len(hashes), size)
            for column, size in zip(codes.T, sizes.tolist(), strict=True)
        ]
        return cls(hashes, sizes, np.concatenate([np.empty((len(hashes), 0)), *counts], axis=1))

    def merge(self, other: CategoryCounts) -> CategoryCounts:
        sizes = np.maximum(self.sizes, other.sizes)
        left, right = self.widened(sizes), other.widened(sizes)
        hashes, (sums,), at = united(left, right, "sums")
        sums[at] += right.sums
        return CategoryCounts(hashes, sizes, sums)

    def widened(self, sizes: np.ndarray) -> CategoryCounts:
        """The same counts with room for so many categories of each column, no fewer than there are."""
        if np.array_equal(sizes, self.sizes):
            return self
        starts = np.cumsum(sizes) - sizes
        within = np.arange(self.sizes.sum()) - np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        sums = np.zeros((len(self.hashes), int(sizes.sum())))
        sums[:, np.repeat(starts, self.sizes) + within] = self.sums
        return CategoryCounts(self.hashes, sizes, sums)

    def columns(self) -> list[np.ndarray]:
        """The counts of each column, of shape (classes, categories)."""
        return np.split(self.sums, np.cumsum(self.sizes)[:-1], axis=1)


@dataclass(frozen=True, eq=False)
class ClassCoMoments(State):
    """`CoMoments` of each class.

    Attributes
    ----------
    hashes : ndarray of shape (classes,), sorted.
    n : ndarray of shape (classes,), the weight of the rows.
    mean : ndarray of shape (classes, p).
    products : ndarray of shape (classes, p, p), the products about the means.
    """

    hashes: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, X: Any, classes: np.ndarray, weight: np.ndarray | None = None) -> ClassCoMoments:
        """The joint moments of the columns in each class.

        Parameters
        ----------
        X, classes, weight : as for `class_sums`.
        """
        segments = Segments.of(classes.astype(np.uint64, copy=False))
        if bool(sp.issparse(X)):
            rows, ordered = X[segments.order], None if weight is None else weight[segments.order]
        else:
            columns, ordered = _in_order(X, segments, weight)
            rows = columns.T
        moments = []
        for start, count in zip(segments.starts.tolist(), segments.counts.tolist(), strict=True):
            part = slice(start, start + count)
            moments.append(CoMoments.of(rows[part], None if ordered is None else ordered[part]))
        width = X.shape[1]
        return cls(
            segments.hashes,
            np.array([one.n for one in moments if one is not None]),
            np.array([one.mean for one in moments if one is not None]).reshape(-1, width),
            np.array([one.products for one in moments if one is not None]).reshape(-1, width, width),
        )

    def merge(self, other: ClassCoMoments) -> ClassCoMoments:
        hashes, (n, mean, products), at = united(self, other, "n", "mean", "products")
        before, step = n[at].copy(), other.mean - mean[at]
        total = before + other.n
        share = other.n / np.where(total > 0, total, 1)
        n[at], mean[at] = total, mean[at] + step * share[:, None]
        between = step[:, :, None] * step[:, None, :]
        products[at] += other.products + between * (before * share)[:, None, None]
        return ClassCoMoments(hashes, n, mean, products)
