"""Rows as blocks of one matrix, and how batches become them.

Blocks are allocated large (the operating system then backs them with large pages) and folded in tiles that
fit in a core's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.hashing import matrix_hash, seeded
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.data.times import moments
from outgrow.engine.checks import (
    check_finite,
    label_column,
    number_column,
    target_column,
    weight_column,
)

TILE_BYTES, TILE_BYTES_BY_ROWS = 1 << 22, 1 << 23
"""Of tiles: whoever looks at whole rows has more to do for each tile than for each number."""
SPARSE_ROWS, SPARSE_BYTES = 16_384, 1 << 23
"""Of sparse blocks, whichever makes them larger: a pass works for each block, however few its numbers."""


@dataclass(frozen=True)
class MatrixSpec:
    """Which columns become a matrix, and what is required of them.

    Attributes
    ----------
    columns : the features, in order; vectors count with their full width.
    target, weight : columns for y and for the weight of each row.
    labels : y are classes of any type, not numbers.
    missing : NaN is allowed in the features.
    hashed : columns of the source whose values decide random choices of rows, however the rows change on
        their way to the matrix; empty where nothing is chosen.
    roles : names of what else rows bring, such as an exposure, and the columns of numbers that hold it.
    labelled : those of the roles whose columns hold values of any kind, for which rows bring numbers.
    timed : those whose columns hold moments: numbers, dates or times.
    by_rows : a dense matrix has its rows one after the other in memory, rather than its columns.
    """

    columns: tuple[str, ...]
    target: str | None = None
    weight: str | None = None
    labels: bool = False
    missing: bool = False
    hashed: tuple[str, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    labelled: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()
    by_rows: bool = False


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a matrix.

    Attributes
    ----------
    X : ndarray of shape (rows, width), column-major unless the view is by rows, or a CSR array.
    y : ndarray of shape (rows,): numbers, or indices into the view's classes; of shape (rows, targets) where
        there are several; None without a target.
    weight : ndarray of shape (rows,), or None where every row weighs one.
    place : the place of each row, by which rows can be chosen, where they were given places.
    values : of a block with classes, what its own y stand for.
    source : the `source_hash` of each row as it was read, where it has changed since.
    roles : what else the rows bring, by name: ndarrays of shape (rows,).
    at : of a tile, which of the stored blocks of this rank it is from, and its first row there.
    """

    X: Any
    y: np.ndarray | None = None
    weight: np.ndarray | None = None
    place: np.ndarray | None = None
    values: tuple[Any, ...] | None = None
    source: np.ndarray | None = None
    roles: Mapping[str, np.ndarray] = field(default_factory=dict)
    at: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def num_rows(self) -> int:
        return len(self)

    @property
    def nbytes(self) -> int:
        beside = (self.y, self.weight, self.place, self.source, *self.roles.values())
        return Matrix(self.X, ()).nbytes + sum(part.nbytes for part in beside if part is not None)

    def hashes(self, seed: int) -> np.ndarray:
        """One uint64 for each row, which follows from the row as it was read and decides random choices."""
        return seeded(self.source_hashes(), seed)

    def source_hashes(self) -> np.ndarray:
        """One uint64 for each row, as it was read."""
        return matrix_hash(self.X) if self.source is None else self.source

    def take(self, rows: slice | np.ndarray) -> Block:
        """Some of the rows: a view for a slice, a copy for a mask or an array of row numbers."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool:
            rows = np.flatnonzero(rows)
        beside = (self.y, self.weight, self.place, self.source)
        y, weight, place, source = (None if part is None else part[rows] for part in beside)
        if isinstance(rows, slice) or is_sparse(self.X) or self.X.flags.c_contiguous:
            X = self.X[rows]
        else:
            X = np.take(self.X.T, rows, axis=1).T  # column by column, and column-major again
        roles = {name: column[rows] for name, column in self.roles.items()}
        return replace(self, X=X, y=y, weight=weight, place=place, source=source, roles=roles)

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """The rows of blocks that agree on what their y stand for, as one."""
        if len(blocks) == 1:
            return blocks[0]
        first = blocks[0]
        parts = [block.X for block in blocks]
        if is_sparse(first.X):
            X = sp.vstack(parts, format="csr")
        elif all(part.flags.c_contiguous for part in parts):
            X = np.concatenate(parts)
        else:
            X = np.concatenate([part.T for part in parts], axis=1).T
        y, weight, place, source = (
            concatenated([getattr(block, name) for block in blocks])
            for name in ("y", "weight", "place", "source")
        )
        roles = {name: np.concatenate([block.roles[name] for block in blocks]) for name in first.roles}
        return cls(X, y, weight, place, source=source, roles=roles)

    def by_place(self) -> Block:
        """The rows ordered by their places, so that those of a place are a slice."""
        if self.place is None:
            return self
        return self.take(np.argsort(self.place, kind="stable"))

    def tiles(self, index: int = 0) -> Iterator[Block]:
        """Some rows at a time, which fit a cache.

        Parameters
        ----------
        index : which of the stored blocks this is.
        """
        whole = len(self) if is_sparse(self.X) else 0
        size = TILE_BYTES_BY_ROWS if not whole and self.X.flags.c_contiguous else TILE_BYTES
        step = whole or max(256, size // max(1, self.X.dtype.itemsize * self.X.shape[1]))
        for start in range(0, len(self), step):
            part = self if len(self) <= step else self.take(slice(start, start + step))
            yield part if part.at == (index, start) else replace(part, at=(index, start))


def concatenated(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Arrays of several blocks as one; None where they have none."""
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if given else None


def gathered(blocks: Iterable[Block]) -> Iterator[Block]:
    """Small blocks joined to larger ones, each in the order of its places."""
    held: list[Block] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= SPARSE_ROWS:
            yield Block.joined(held).by_place()
            held = []
    if held:
        yield Block.joined(held).by_place()


def build_blocks(
    batch: Batch, spec: MatrixSpec, place: np.ndarray | None = None, source: np.ndarray | None = None
) -> Iterator[Block]:
    """A batch as blocks, ordered by the places of its rows: one block if dense, short ones if sparse.

    Parameters
    ----------
    batch : with the columns that `spec` names; others are not looked at.
    spec : which columns, and what they must be.
    place : shape (rows,), the place of each row; None leaves the rows in their order.
    source : uint64 of shape (rows,), the `source_hash` of each row as it was read; None where X tells.

    Raises
    ------
    SchemaError
        When a feature is not a number.
    DataError
        When a number is missing or infinite where it must not be.
    """
    order = None if place is None else np.argsort(place, kind="stable")
    features = batch.matrix(spec.columns, rows=order, order="C" if spec.by_rows else "F")
    check_finite(features.data if is_sparse(features) else features, "X", missing=spec.missing)
    y, values = target_column(batch, spec.target, labels=spec.labels)
    weight = None if spec.weight is None else weight_column(batch, spec.weight)
    roles = {role: _role_numbers(batch, name, role, spec) for role, name in spec.roles}
    if order is not None:
        beside = (y, weight, place, source)
        y, weight, place, source = (None if part is None else part[order] for part in beside)
        roles = {role: column[order] for role, column in roles.items()}
    whole = Block(features, y, weight, place, values, source, roles)
    if not is_sparse(features):
        yield whole
        return
    step = max(SPARSE_ROWS, SPARSE_BYTES * len(whole) // max(1, Matrix(features, ()).nbytes))
    for start in range(0, len(whole), step):
        yield whole if len(whole) <= step else whole.take(slice(start, start + step))


def _role_numbers(batch: Batch, name: str, role: str, spec: MatrixSpec) -> np.ndarray:
    """The numbers that a column brings for a role."""
    if role in spec.timed:
        return moments(batch, name, f"{role}={name!r}")
    found: np.ndarray = (label_column if role in spec.labelled else number_column)(batch, name, role)
    return found
