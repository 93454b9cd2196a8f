"""The resident blocks of a matrix over all ranks: what most algorithms fold."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from outgrow.data.hashing import unit
from outgrow.data.matrix import is_sparse, moved
from outgrow.engine.blocks import Block, MatrixSpec, gathered
from outgrow.engine.context import FitContext
from outgrow.engine.memory import Store
from outgrow.engine.outcome import guarded
from outgrow.errors import DataError
from outgrow.stats.counts import ValueCounts
from outgrow.stats.state import State

R = TypeVar("R")
T = TypeVar("T")

MADE = 2
"""So many things that were made of the rows of a view stay."""
_CHANGES = ("keep", "factors", "columns", "affine", "chosen", "recoded")
_WHOLE: dict[str, Any] = dict.fromkeys(_CHANGES)
"""Of a view of copied rows: what was chosen of them, and changed, is chosen and changed."""
MOMENTS = (1 / 12, 1 / 6, 1 / 3, 2 / 3)
"""After which share of its rounds a fit shows how it does: each has twice the rounds of the one before."""


@dataclass(frozen=True, eq=False)
class LabelCounts(State):
    """Of blocks: rows, what they weigh, how many have a weight, stored numbers; the weight of each class."""

    sums: np.ndarray
    weights: ValueCounts

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> LabelCounts:
        sums, weights = np.zeros(4), ValueCounts({})
        for block in blocks:
            weight = len(block) if block.weight is None else float(block.weight.sum())
            cells = block.X.nnz if is_sparse(block.X) else block.X.size
            sums += len(block), weight, 0 if block.weight is None else len(block), cells
            if block.values is not None:
                each = np.bincount(np.asarray(block.y), block.weight, len(block.values))
                weights = weights.merge(ValueCounts(dict(zip(block.values, each.tolist(), strict=True))))
        return cls(sums, weights)

    def merge(self, other: LabelCounts) -> LabelCounts:
        return LabelCounts(self.sums + other.sums, self.weights.merge(other.weights))


@dataclass(frozen=True, eq=False)
class Labels:
    """What all ranks agree on about a matrix: its size, whether rows have weights, the classes and theirs.

    `targets` is how many targets there are where they come as vectors, else None; `density` is the share
    of the features that are stored.
    """

    rows: int
    width: int
    classes: np.ndarray | None
    counts: np.ndarray | None
    weighted: bool = False
    targets: int | None = None
    density: float = 1.0

    @classmethod
    def of(cls, counted: LabelCounts, spec: MatrixSpec, width: int, targets: int | None = None) -> Labels:
        """What follows from the counts of all ranks.

        Parameters
        ----------
        counted : merged over the ranks.
        spec : whether y are classes.
        width : how many features there are.
        targets : how many numbers y is for each row, where it comes as vectors; else None.

        Raises
        ------
        DataError
            When there are no rows, or all weights are zero.
        """
        rows, weight, weighted, cells = counted.sums
        density = float(cells) / max(float(rows) * width, 1.0)
        if rows == 0:
            raise DataError(
                "Found array with 0 sample(s): there are no rows to learn from. "
                "Check the path, the conditions and the split."
            )
        if weight == 0:
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        if not spec.labels or targets is not None:
            return cls(int(rows), width, None, None, bool(weighted), targets, density)
        values, counts = counted.weights.values(), counted.weights.counts
        several = bool(values) and isinstance(values[0], tuple)  # of several targets, their combinations
        classes = np.fromiter(values, object, len(values)) if several else np.array(values)
        by_class = np.array([counts[value] for value in values])
        return cls(int(rows), width, classes, by_class, bool(weighted), density=density)


class Tiles:
    """The stored blocks of this rank, with y as indices into the classes that all ranks agreed on."""

    def __init__(self, store: Store[Block], classes: np.ndarray | None) -> None:
        self._store = store
        self._values = None if classes is None else tuple(classes.tolist())
        self._places = {value: place for place, value in enumerate(self._values or ())}

    def units(self) -> Sequence[Callable[[], Iterator[Block]]]:
        return [partial(self._tiles, i) for i in range(len(self._store))]

    def _tiles(self, index: int) -> Iterator[Block]:
        return self.block(index).tiles(index)

    def block(self, index: int) -> Block:
        block = self._store.get(index)
        if self._values is None or block.values in (None, self._values):
            return block  # as nearly all do, for nearly all have a row of each class
        table = np.array([self._places[value] for value in block.values] or [0], dtype=np.intp)
        return replace(block, y=table[block.y], values=None)

    def release(self) -> None:
        """Let go of the blocks: nobody reads them again."""
        for i in range(len(self._store)):
            self._store.pop(i)

    def __len__(self) -> int:
        return len(self._store)

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
    recoded : for each class of the blocks its index among the classes that are seen, -1 where its rows are
        left out; or None.
    factors : gives of a block what the weights of its rows are multiplied by; or None.
    """

    run: FitContext
    tiles: Tiles
    labels: Labels
    keep: np.ndarray | None = None
    columns: np.ndarray | None = None
    affine: tuple[np.ndarray, np.ndarray] | None = None
    chosen: int | None = None
    recoded: np.ndarray | None = None
    factors: Callable[[Block], np.ndarray] | None = None
    watch: ValidationRows | None = None
    _made: dict[tuple[Hashable, bytes | None], Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.labels.rows

    @property
    def width(self) -> int:
        return self.labels.width

    @property
    def cells(self) -> float:
        """The numbers that the features are stored as, over all ranks, about."""
        return self.labels.density * self.rows * self.width

    @property
    def sparse(self) -> bool:
        """Whether most of the features are zeros that are not stored."""
        return self.cells < 0.5 * self.rows * self.width

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
        if all(getattr(self, change) is None for change in _CHANGES):
            return self.run.reduce(self.tiles, fold)
        return self.run.reduce(self.tiles, lambda tile: fold(self._kept(tile)))

    def made(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes of these rows, such as bins; the last few are kept if other fits follow.

        Parameters
        ----------
        key : tells it from other things made of the same rows. Each choice of rows has its own.
        make : makes it, of the rows of this rank.
        """
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
        """The same rows with features changed anew at each pass: nothing is copied to stay.

        Parameters
        ----------
        shift : shape (width,), what is subtracted; a sparse feature with a shift becomes dense.
        factor : shape (width,), by what the rest is multiplied.
        """
        return replace(self, affine=(shift, factor), _made={})

    def selected(self, columns: np.ndarray) -> MatrixView:
        """The same rows with some of the features, copied.

        Parameters
        ----------
        columns : indices of shape (chosen,), ascending.
        """
        narrow = (replace(block, X=_columns(block.X, columns)) for block in self.blocks())
        return replace(self.of_blocks(narrow), labels=replace(self.labels, width=len(columns)))

    def narrowed(self, columns: np.ndarray) -> MatrixView:
        """The same rows with some of the features, chosen anew at each pass: nothing is copied to stay.

        Parameters
        ----------
        columns : indices of shape (chosen,), ascending.
        """
        before = columns if self.columns is None else self.columns[columns]
        affine = None if self.affine is None else (self.affine[0][columns], self.affine[1][columns])
        labels = replace(self.labels, width=len(columns))
        return replace(self, columns=before, affine=affine, labels=labels, _made={})

    def target(self, chosen: int) -> MatrixView:
        """The same rows with one of several targets."""
        return replace(self, chosen=chosen, _made={})

    def with_classes(self, recoded: np.ndarray, classes: np.ndarray) -> MatrixView:
        """The same rows with other classes, coded anew at each pass: nothing is copied to stay, no pass.

        Parameters
        ----------
        recoded : shape (classes,), for each class its index among the new ones; -1 leaves its rows out.
        classes : ndarray of the new classes.
        """
        assert self.labels.targets is None
        stays = recoded >= 0
        counts = np.bincount(recoded[stays], self.class_weights[stays], len(classes))
        labels = replace(self.labels, classes=classes, counts=counts)
        codes = np.asarray(recoded, dtype=np.intp)
        if self.recoded is not None:
            codes = np.where(self.recoded >= 0, codes[self.recoded], -1)
        part = replace(self, recoded=codes, labels=labels, _made={})
        if stays.all():
            return part
        rows = part.reduce(lambda block: np.array([float(len(block))]))
        return replace(part, labels=replace(labels, rows=int(rows[0])))

    def of_blocks(self, blocks: Iterable[Block]) -> MatrixView:
        """The same view of other blocks, with the same columns; no pass.

        Parameters
        ----------
        blocks : of this rank, made of `blocks()`.
        """
        store: Store[Block] = Store(self.run.memory)
        store.extend([store.hold(block, block.nbytes)] for block in blocks)
        return replace(self, tiles=Tiles(store, self.labels.classes), _made={}, **_WHOLE)

    def weighed(self, factors: Callable[[Block], np.ndarray], class_weights: np.ndarray | None) -> MatrixView:
        """The same rows with other weights, worked out anew at each pass: nothing is copied to stay, no pass.

        Parameters
        ----------
        factors : gives of a block what the weights of its rows are multiplied by, of shape (rows,).
        class_weights : what the rows of each class weigh then, where y are classes.
        """
        assert self.factors is None
        assert self.recoded is None
        labels = replace(self.labels, counts=class_weights, weighted=True)
        return replace(self, factors=factors, labels=labels, _made={})

    def mapped(self, change: Callable[[Block], Block], width: int) -> MatrixView:
        """The same rows with other features, copied, such as what models answer for them; no pass.

        All ranks call this together; what one cannot change raises that error on all.

        Parameters
        ----------
        change : gives a block with the same rows and so many features.
        width : how many features there are then.
        """
        store = self._copied(lambda block: [change(block)])
        labels = replace(self.labels, width=width, density=1.0)
        tiles = Tiles(store, self.labels.classes)
        return replace(self, tiles=tiles, labels=labels, _made={}, **_WHOLE)

    def placed(self, placing: Callable[[Block], np.ndarray]) -> MatrixView:
        """The same rows, copied, each at a place, so that parts can be chosen of them; no pass.

        Parameters
        ----------
        placing : gives the place of each row of a block: whole numbers from 0 on, of shape (rows,).
        """

        def change(block: Block) -> list[Block]:
            return [replace(block, place=placing(block).astype(np.int16)).by_place()]

        tiles = Tiles(self._copied(change), self.labels.classes)
        return replace(self, tiles=tiles, _made={}, **_WHOLE)

    def _copied(self, change: Callable[[Block], list[Block]]) -> Store[Block]:
        """What is made of the blocks of this rank, by several threads."""
        store: Store[Block] = Store(self.run.memory)

        def changed(index: int) -> list[Any]:
            made = change(self._kept(self.tiles.block(index)))
            return [store.hold(block, block.nbytes) for block in made]

        def build(nothing: None) -> np.ndarray:
            store.extend(self.run.map(changed, range(len(self.tiles))))
            return np.zeros(0)

        self.run.call(lambda: self.run.combine(guarded(build)(None)).get())
        return store

    def subset(self, keep: np.ndarray, *, watched: bool = False) -> MatrixView:
        """The rows at some places, chosen anew at each pass: nothing is copied to stay. One pass counts them.

        Parameters
        ----------
        keep : booleans of shape (places,), whether the rows at a place are chosen.
        watched : the rows only judge a fit, so they may lack a class.

        Raises
        ------
        DataError
            When there are none on any rank, or they lack a class.
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
        thin = gathered(block.take(np.arange(len(block)) % step == 0) for block in self.tiles)
        store.extend([store.hold(block, block.nbytes)] for block in thin)
        tiles = Tiles(store, self.labels.classes)
        return replace(self, tiles=tiles, labels=replace(self.labels, rows=self.rows // step), _made={})

    def sampled(self, share: float, seed: int) -> MatrixView:
        """About a share of the rows, copied; a row's hash decides, so any partitioning gives the same.

        Parameters
        ----------
        share : of the rows; from 1 on, all of them, not copied.
        seed : another one chooses others.
        """
        if share >= 1:
            return self
        part = self.of_blocks(block.take(unit(block.hashes(seed)) < share) for block in self.blocks())
        # of rows that are all alike there may be none
        rows = self.run.reduce(part.tiles, lambda block: np.array([float(len(block))]), empty=np.zeros(1))
        return replace(part, labels=replace(self.labels, rows=int(rows[0])))

    def changed(self, change: Callable[[Any], Any]) -> MatrixView:
        """The same rows with other features, copied; random choices still go by the rows as they were read.

        Parameters
        ----------
        change : gives the features of a block, of the same shape, from those it has.
        """
        return self.of_blocks(
            replace(block, X=change(block.X), source=block.source_hashes()) for block in self.blocks()
        )

    def dealt(self, places: int, seed: int) -> MatrixView:
        """The same rows, copied, each at a place that its hash decides, so that parts can be chosen of them.

        Parameters
        ----------
        places : how many there are.
        seed : another one deals otherwise.
        """
        return self.placed(lambda block: unit(block.hashes(seed)) * places)

    def block_units(self) -> Sequence[Callable[[], Block]]:
        """What gives the blocks of this rank, one by one."""
        return [partial(self._block, index) for index in range(len(self.tiles))]

    def _block(self, index: int) -> Block:
        return self._kept(self.tiles.block(index))

    def blocks(self) -> Iterator[Block]:
        """The blocks of this rank alone, for libraries that talk among themselves."""
        return map(self._kept, self.tiles)

    def _kept(self, block: Block) -> Block:
        if self.keep is not None:
            assert block.place is not None
            block = block.take(self.keep[block.place])
        if self.factors is not None:
            factor = self.factors(block)
            block = replace(block, weight=factor if block.weight is None else block.weight * factor)
        if self.columns is not None:
            block = replace(block, X=_columns(block.X, self.columns))
        if self.affine is not None:
            X = block.X.toarray(order="F") if is_sparse(block.X) and not self.sparse else block.X
            block = replace(block, X=moved(X, *self.affine))
        if self.chosen is not None:
            block = replace(block, y=np.asarray(block.y)[:, self.chosen])
        return block if self.recoded is None else _recoded(block, self.recoded)


def _recoded(block: Block, classes: np.ndarray) -> Block:
    """The rows of the classes that have an index among others, -1 for none, with these."""
    y = classes[np.asarray(block.y)]
    block = replace(block, y=y, values=None)
    return block if y.min(initial=0) >= 0 else block.take(y >= 0)


def _columns(X: Any, columns: np.ndarray) -> Any:
    """Some columns of a CSR array or of a matrix, column-major again."""
    return X[:, columns] if is_sparse(X) else np.take(X.T, columns, axis=0).T


@dataclass(eq=False)
class ValidationRows:
    """The rows at some places, as whoever judges a fit sees them.

    Attributes
    ----------
    keep : of shape (places,), whether the rows at a place are watched.
    tell : called at `MOMENTS` by fits that can, with the share of the rounds that is done and what the model
        then answers for the watched rows; what it raises ends the fit. None where nobody asks before the end.
    view : the watched rows as the model gets them; known once the model has asked for those it learns from.
    """

    keep: np.ndarray
    tell: Callable[[float, Any], None] | None = None
    view: MatrixView | None = None

    @property
    def rows(self) -> MatrixView:
        """The watched rows as the model gets them, for whoever comes after it has asked for its own."""
        assert self.view is not None
        return self.view
