"""Rows as blocks of one matrix: what most algorithms fold.

Blocks are allocated large (the operating system then backs them with large pages) and folded in tiles that
fit in a core's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch, Matrix, is_sparse
from outgrow.data.hashing import matrix_hash, seeded, unit
from outgrow.engine.checks import check_finite, target_column, weight_column
from outgrow.engine.memory import Store
from outgrow.engine.validation_rows import ValidationRows
from outgrow.errors import DataError
from outgrow.stats.counts import ValueCounts

if TYPE_CHECKING:
    from outgrow.engine.context import FitContext

R = TypeVar("R")
T = TypeVar("T")

TILE_BYTES = 1 << 22
SPARSE_ROWS = 16_384
MADE = 2
"""So many things that were made of the rows of a view stay."""


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
    """

    columns: tuple[str, ...]
    target: str | None = None
    weight: str | None = None
    labels: bool = False
    missing: bool = False
    hashed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a matrix.

    Attributes
    ----------
    X : ndarray of shape (rows, width), column-major, or a CSR array.
    y : ndarray of shape (rows,): numbers, or indices into the view's classes; of shape (rows, targets) where
        there are several; None without a target.
    weight : ndarray of shape (rows,), or None where every row weighs one.
    place : the place of each row, by which rows can be chosen, where they were given places.
    values : of a block with classes, what its own y stand for.
    source : the `source_hash` of each row as it was read, where it has changed since.
    """

    X: Any
    y: np.ndarray | None = None
    weight: np.ndarray | None = None
    place: np.ndarray | None = None
    values: tuple[Any, ...] | None = None
    source: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def nbytes(self) -> int:
        beside = (self.y, self.weight, self.place, self.source)
        return Matrix(self.X, ()).nbytes + sum(part.nbytes for part in beside if part is not None)

    def hashes(self, seed: int) -> np.ndarray:
        """One uint64 for each row, which follows from the row as it was read and decides random choices."""
        return seeded(matrix_hash(self.X) if self.source is None else self.source, seed)

    def take(self, rows: slice | np.ndarray) -> Block:
        """Some of the rows: a view for a slice, a copy for a mask or an array of row numbers."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool:
            rows = np.flatnonzero(rows)
        beside = (self.y, self.weight, self.place, self.source)
        y, weight, place, source = (None if part is None else part[rows] for part in beside)
        if isinstance(rows, slice) or is_sparse(self.X):
            X = self.X[rows]
        else:
            X = np.take(self.X.T, rows, axis=1).T  # column by column, and column-major again
        return replace(self, X=X, y=y, weight=weight, place=place, source=source)

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """The rows of blocks that agree on what their y stand for, as one."""
        if len(blocks) == 1:
            return blocks[0]
        first = blocks[0]
        X = (
            sp.vstack([block.X for block in blocks], format="csr")
            if is_sparse(first.X)
            else np.concatenate([block.X.T for block in blocks], axis=1).T
        )
        y, weight, place, source = (
            concatenated([getattr(block, name) for block in blocks])
            for name in ("y", "weight", "place", "source")
        )
        return cls(X, y, weight, place, source=source)

    def by_place(self) -> Block:
        """The rows ordered by their places, so that those of a place are a slice."""
        if self.place is None:
            return self
        return self.take(np.argsort(self.place, kind="stable"))

    def tiles(self) -> Iterator[Block]:
        if is_sparse(self.X):
            yield self
            return
        step = max(256, TILE_BYTES // max(1, self.X.dtype.itemsize * self.X.shape[1]))
        for start in range(0, len(self), step):
            yield self.take(slice(start, start + step))


@dataclass(frozen=True, eq=False)
class Labels:
    """What all ranks agree on about a matrix: its size, whether rows have weights, the classes and theirs.

    `targets` is how many targets there are where they come as vectors, else None.
    """

    rows: int
    width: int
    classes: np.ndarray | None
    counts: np.ndarray | None
    weighted: bool = False
    targets: int | None = None

    @classmethod
    def agree(
        cls, run: FitContext, store: Store[Block], spec: MatrixSpec, width: int, targets: int | None = None
    ) -> Labels:
        counts, rows, total, weighted = ValueCounts({}), 0, 0.0, False
        for i in range(len(store)):
            block = store.get(i)
            rows += len(block)
            total += len(block) if block.weight is None else float(block.weight.sum())
            weighted = weighted or block.weight is not None
            if block.values is not None:
                sums = np.bincount(block.y, block.weight, len(block.values))  # type: ignore[arg-type]
                counts = counts.merge(ValueCounts(dict(zip(block.values, sums.tolist(), strict=True))))
        sums, every = run.comm.allreduce((np.array([float(rows), total, weighted]), counts))
        rows = int(sums[0])
        if rows == 0:
            raise DataError(
                "Found array with 0 sample(s): there are no rows to learn from. "
                "Check the path, the conditions and the split."
            )
        if sums[1] == 0:
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        if not spec.labels or targets is not None:
            return cls(rows, width, None, None, bool(sums[2]), targets)
        values = every.values()
        several = bool(values) and isinstance(values[0], tuple)  # of several targets, their combinations
        classes = np.fromiter(values, object, len(values)) if several else np.array(values)
        return cls(rows, width, classes, np.array([every.counts[v] for v in values]), bool(sums[2]))


class Tiles:
    """The stored blocks of this rank, with y as indices into the classes that all ranks agreed on."""

    def __init__(self, store: Store[Block], classes: np.ndarray | None) -> None:
        self._store = store
        self._places = (
            None if classes is None else {value: place for place, value in enumerate(classes.tolist())}
        )

    def units(self) -> Sequence[Callable[[], Iterator[Block]]]:
        return [lambda i=i: self.block(i).tiles() for i in range(len(self._store))]  # type: ignore[misc]

    def block(self, index: int) -> Block:
        block = self._store.get(index)
        if block.values is None or self._places is None:
            return block
        table = np.array([self._places[value] for value in block.values] or [0], dtype=np.intp)
        return replace(block, y=table[block.y], values=None)

    def release(self) -> None:
        """Let go of the blocks: nobody reads them again."""
        for i in range(len(self._store)):
            self._store.pop(i)

    def __iter__(self) -> Iterator[Block]:
        return (self.block(i) for i in range(len(self._store)))


@dataclass(frozen=True, eq=False)
class MatrixView:
    """Resident blocks of one matrix over all ranks.

    Attributes
    ----------
    rows : number of rows over all ranks.
    classes : ndarray of the classes, sorted, where y are classes.
    class_weights : ndarray of the summed weight of each class.
    watch : rows held out of these, or None.
    affine : two ndarrays of shape (width,): what is subtracted from the features of each block, and by what
        they are multiplied then; or None.
    chosen : the one of several targets that is seen, or None for all.
    """

    run: FitContext
    tiles: Tiles
    labels: Labels
    keep: np.ndarray | None = None
    affine: tuple[np.ndarray, np.ndarray] | None = None
    chosen: int | None = None
    watch: ValidationRows | None = None
    _made: dict[tuple[Hashable, bytes | None], Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.labels.rows

    @property
    def width(self) -> int:
        return self.labels.width

    @property
    def targets(self) -> int | None:
        """How many targets there are where they come as vectors, and none is chosen."""
        return self.labels.targets if self.chosen is None else None

    @property
    def classes(self) -> np.ndarray:
        assert self.labels.classes is not None
        return self.labels.classes

    @property
    def class_weights(self) -> np.ndarray:
        assert self.labels.counts is not None
        return self.labels.counts

    def on(self, run: FitContext) -> MatrixView:
        """The same rows in another run."""
        run.rows = max(run.rows, self.rows)
        return self if run is self.run else replace(self, run=run)

    def reduce(self, fold: Callable[[Block], R | None]) -> R:
        """Merge `fold(tile)` over every tile of every rank: one pass."""
        if self.keep is None and self.affine is None and self.chosen is None:
            return self.run.reduce(self.tiles, fold)
        return self.run.reduce(self.tiles, lambda tile: fold(self._kept(tile)))

    def made(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes of these rows, such as bins; the last few are kept if other fits follow."""
        if not self.run.reuse:
            return make()
        own = self._own(key)
        if own not in self._made:
            alike = [other for other in self._made if other[1] == own[1]]
            for oldest in alike[: len(alike) + 1 - MADE]:
                del self._made[oldest]
            self._made[own] = make()
        found: T = self._made[own]
        return found

    def has_made(self, key: Hashable) -> bool:
        """Whether `made` still has what belongs to a key."""
        return self._own(key) in self._made

    def _own(self, key: Hashable) -> tuple[Hashable, bytes | None]:
        return key, None if self.keep is None else self.keep.tobytes()

    def shifted(self, shift: np.ndarray, factor: np.ndarray) -> MatrixView:
        """The same rows, dense: `shift` is subtracted anew at each pass, and the rest multiplied."""
        return replace(self, affine=(shift, factor), _made={})

    def target(self, chosen: int) -> MatrixView:
        """The same rows with one of several targets."""
        return replace(self, chosen=chosen, _made={})

    def subset(self, keep: np.ndarray, *, watched: bool = False) -> MatrixView:
        """The rows at places where `keep` is true, chosen anew at each pass: nothing is copied to stay.

        Rows that are only `watched` may lack a class.
        """
        part = replace(self, keep=keep)
        classes = self.labels.classes

        def count(block: Block) -> np.ndarray:
            if classes is None:
                return np.array([len(block)], dtype=np.float64)
            by_class = np.bincount(np.asarray(block.y), block.weight, len(classes))
            return np.array([len(block), *by_class], dtype=np.float64)

        totals = part.reduce(count)
        if totals[0] == 0:
            raise DataError("A fold has no rows to learn from. Use fewer folds, or more rows.")
        present = None if classes is None else totals[1:]
        if classes is not None and not watched and (totals[1:] == 0).any():
            missing = classes[totals[1:] == 0].tolist()
            raise DataError(f"A fold lacks the class(es) {missing}. Use fewer folds.")
        return replace(part, labels=replace(self.labels, rows=int(totals[0]), counts=present))

    def thinned(self, step: int) -> MatrixView:
        """Every `step`-th row of each block, copied, for rough work; which ones depends on the partitions."""
        store: Store[Block] = Store(self.run.memory)
        thin = _gathered(block.take(np.arange(len(block)) % step == 0) for block in self.tiles)
        store.extend([store.hold(block, block.nbytes)] for block in thin)
        tiles = Tiles(store, self.labels.classes)
        return replace(self, tiles=tiles, labels=replace(self.labels, rows=self.rows // step), _made={})

    def sampled(self, share: float, seed: int) -> MatrixView:
        """About this share of the rows, copied; a row's hash decides, so any partitioning gives the same."""
        if share >= 1:
            return self
        store: Store[Block] = Store(self.run.memory)
        chosen = (block.take(unit(block.hashes(seed)) < share) for block in self.blocks())
        store.extend([store.hold(block, block.nbytes)] for block in chosen)
        part = replace(self, tiles=Tiles(store, self.labels.classes), keep=None, _made={})
        rows = part.reduce(lambda block: np.array([float(len(block))]))
        return replace(part, labels=replace(self.labels, rows=int(rows[0])))

    def blocks(self) -> Iterator[Block]:
        """The blocks of this rank alone, for libraries that talk among themselves."""
        return map(self._kept, self.tiles)

    def _kept(self, block: Block) -> Block:
        if self.keep is not None:
            assert block.place is not None
            block = block.take(self.keep[block.place])
        if self.affine is not None:
            X = block.X.toarray(order="F") if is_sparse(block.X) else block.X
            block = replace(block, X=(X - self.affine[0]) * self.affine[1])
        if self.chosen is not None:
            block = replace(block, y=np.asarray(block.y)[:, self.chosen])
        return block


def concatenated(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Arrays of several blocks as one; None where they have none."""
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if given else None


def _gathered(blocks: Iterable[Block]) -> Iterator[Block]:
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

    Raises
    ------
    SchemaError
        When a feature is not a number.
    DataError
        When a number is missing or infinite where it must not be.
    """
    order = None if place is None else np.argsort(place, kind="stable")
    features = batch.matrix(spec.columns, rows=order)
    check_finite(features.data if is_sparse(features) else features, "X", missing=spec.missing)
    y, values = target_column(batch, spec.target, labels=spec.labels)
    weight = None if spec.weight is None else weight_column(batch, spec.weight)
    if order is not None:
        beside = (y, weight, place, source)
        y, weight, place, source = (None if part is None else part[order] for part in beside)
    whole = Block(features, y, weight, place, values, source)
    if not is_sparse(features):
        yield whole
        return
    for start in range(0, len(whole), SPARSE_ROWS):
        yield whole.take(slice(start, start + SPARSE_ROWS))
