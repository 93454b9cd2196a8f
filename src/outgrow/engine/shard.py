"""What a fit is handed: the rows of this rank, seen only through `reduce`.

A fit runs once on every rank over that rank's `Shard`. `reduce` folds the local rows on threads and merges
the result over all ranks, so the code of a fit reads as if all rows were in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.hashing import source_hash
from outgrow.data.keys import key_hash
from outgrow.data.matrix import Matrix
from outgrow.data.names import numbered
from outgrow.data.scan import ScanPiece
from outgrow.engine.block_rows import BlockRows
from outgrow.engine.blocks import Block, MatrixSpec, build_blocks
from outgrow.engine.checks import check_numeric
from outgrow.engine.context import FitContext, Unit, runs
from outgrow.engine.exchange import ExchangedRows, bin_count
from outgrow.engine.groups import text_decoded
from outgrow.engine.matrix import LabelCounts, Labels, MatrixView, Tiles, ValidationRows
from outgrow.engine.memory import Store
from outgrow.engine.outcome import guarded
from outgrow.engine.row_ids import IdentifiedRows

R = TypeVar("R")
Step = Callable[[Batch], Batch]
Placing = Callable[[Batch], np.ndarray]
"""Gives each row of a batch a place, a small integer, by which rows can be chosen."""

JOINED_ROWS, JOINED_BYTES = 1 << 18, 32 << 20
"""How large joined batches become: more would leave the caches for good."""
SMALL_ROWS, SMALL_BYTES = 1 << 14, 1 << 22
"""Batches of a matrix that are smaller than both are joined up to so many rows."""
_PLACE, _ROW = "__place__", "__row__"


class Readable(Protocol):
    """A part of the rows of this rank that can be read, more than once."""

    @property
    def nbytes(self) -> int: ...

    def batches(self, *, encoded: bool = False) -> Iterator[Batch]: ...


class Resident:
    """The batches of this rank: read at the first pass, kept for the next ones as far as memory allows.

    With `keep=False` they are read again at each pass. Text stays as the dictionaries that a file holds;
    `plain` gives it the type that the dataset promised.
    """

    place: str | None = None
    identified: IdentifiedRows | None = None

    def __init__(
        self, run: FitContext, pieces: Sequence[Readable], example: Batch, *, keep: bool = True
    ) -> None:
        self.run = run
        self.pieces = pieces
        self.example = example
        self.matrices: dict[Any, MatrixView] = {}
        self._keep = keep
        self._store: Store[Batch] | None = None

    def units(self) -> Sequence[Unit]:
        if self._store is None and self._keep:
            self._store = self._read()
        return self._read_units() if self._store is None else self._store.units()

    def last_units(self) -> Sequence[Unit]:
        """The units for the last time: what was kept is let go, what was not is read and not kept."""
        return self._read_units() if self._store is None else self._store.last_units()

    def plain(self, batch: Batch) -> Batch:
        """The batch with text where it is a dictionary that the schema does not name."""
        decoded = {
            name: column.dictionary_decode()
            for name, column in batch.held.items()
            if not isinstance(column, Matrix)
            and pa.types.is_dictionary(column.type)
            and not isinstance(promised := self.example[name], Matrix)
            and not pa.types.is_dictionary(promised.type)
        }
        return batch.with_columns(decoded) if decoded else batch

    def _read_units(self) -> Sequence[Unit]:
        return [partial(piece.batches, encoded=True) for piece in self.pieces]

    def _read(self) -> Store[Batch]:
        store: Store[Batch] = Store(self.run.memory)

        def read(unit: Unit) -> list[Any]:
            return [store.hold(batch, batch.nbytes) for batch in unit()]

        at_hand = all(isinstance(piece, ScanPiece) and piece.at_hand for piece in self.pieces)
        # threads would only wait for each other's turn in Python
        store.extend(map(read, self._read_units()) if at_hand else self.run.map(read, self._read_units()))
        return store


class FoldedRows:
    """Resident rows, each with its place, which is computed when its batch is first read, and kept.

    Parameters
    ----------
    rows : the rows.
    placing : gives the places; it meets the batches as they were read.
    hidden : columns that only the placing needs; later readers do not see them.
    """

    place: str | None
    identified: IdentifiedRows | None = None

    def __init__(self, rows: Resident, placing: Placing, hidden: Sequence[str]) -> None:
        self.run = rows.run
        self.plain = rows.plain
        self.matrices: dict[Any, MatrixView] = {}
        self._rows = rows
        self._hidden = hidden
        self._placing = placing
        self.place = self._place = numbered(_PLACE, rows.example.columns)
        self._places: dict[int, list[np.ndarray]] = {}

    def count(self, places: int) -> np.ndarray:
        """How many rows there are at each place, over all ranks."""
        return self.run.reduce(
            self,
            lambda batch: np.bincount(np.asarray(batch[self._place]), minlength=places),
            empty=np.zeros(places, dtype=np.intp),
        )

    def units(self) -> Sequence[Unit]:
        return self._beside(self._rows.units())

    def last_units(self) -> Sequence[Unit]:
        return self._beside(self._rows.last_units())

    def _beside(self, units: Sequence[Unit]) -> Sequence[Unit]:
        return [partial(self._read, number, unit) for number, unit in enumerate(units)]

    def _read(self, number: int, unit: Unit) -> Iterator[Batch]:
        known, met = self._places.get(number), []
        for order, batch in enumerate(unit()):
            place = self._placing(batch) if known is None else known[order]
            met.append(place)
            yield batch.drop(self._hidden).with_columns({self._place: pa.array(place)})
        self._places[number] = met


Rows = Resident | FoldedRows | IdentifiedRows | ExchangedRows | BlockRows


@dataclass(frozen=True)
class Joined:
    """Rows in larger batches."""

    rows: Rows
    last: bool = False

    def units(self) -> Sequence[Unit]:
        units = self.rows.last_units() if self.last else self.rows.units()
        return [partial(_joined, unit) for unit in units]


@dataclass(frozen=True)
class Whole:
    """Rows whose units are handed over in a few parts as they are, to be read by the fold."""

    rows: Rows
    parts: int

    def units(self) -> Sequence[Unit]:
        return [partial(iter, (part,)) for part in runs(self.rows.units(), self.parts)]


def _not_small(units: Iterable[Iterator[Batch]]) -> Iterator[Batch]:
    """The batches of units, small ones joined: each block of a matrix takes time in each pass."""
    held: list[Batch] = []
    for batch in chain.from_iterable(units):
        rows = sum(part.num_rows for part in held) + batch.num_rows
        if held and (rows > SMALL_ROWS or batch.nbytes >= SMALL_BYTES):
            yield Batch.joined(held)
            held = []
        held.append(batch)
    if held:
        yield Batch.joined(held)


def _joined(unit: Unit) -> Iterator[Batch]:
    """The batches of a unit, as few as may be."""
    held: list[Batch] = []
    for batch in unit():
        held.append(batch)
        rows, size = sum(part.num_rows for part in held), sum(part.nbytes for part in held)
        if rows >= JOINED_ROWS or size >= JOINED_BYTES:
            yield Batch.joined(held)
            held = []
    if held:
        yield Batch.joined(held)


@dataclass(frozen=True, eq=False)
class Shard:
    """The rows of this rank, and what is done to each batch before a fold sees it.

    Attributes
    ----------
    run : the fit this belongs to; `run.comm` has the rank and the number of ranks.
    example : a batch without rows, with the columns that `reduce` will see.
    watch : rows that are held out of these, or None.
    steps_unseen : what is done to rows that are held out, where that is something else than `steps`.
    """

    run: FitContext
    example: Batch
    rows: Rows
    steps: tuple[Step, ...] = ()
    keep: np.ndarray | None = None
    encoded: bool = True
    watch: ValidationRows | None = None
    steps_unseen: tuple[Step, ...] | None = None

    @classmethod
    def of(cls, run: FitContext, pieces: Sequence[Readable], example: Batch, *, keep: bool = True) -> Shard:
        """The rows of pieces as they are.

        Parameters
        ----------
        run : the fit they are for.
        pieces : those of this rank; nothing is read before the first pass.
        example : a batch without rows, as the dataset promised them.
        keep : hold the rows after the first pass, as far as memory allows; else each pass reads them anew.
        """
        return cls(run, example, Resident(run, pieces, example, keep=keep))

    def reduce(
        self,
        fold: Callable[[Batch], R | None],
        *,
        encoded: bool = False,
        large: bool = False,
        empty: R | None = None,
    ) -> R:
        """Merge `fold(batch)` over every batch of every rank: one pass.

        Parameters
        ----------
        fold : returns a `State`, an array (arrays add), or a tuple of those, and must not change the batch.
        encoded : `fold` also takes text as dictionaries, which some files hold.
        large : join batches first, for folds that cost much for each batch.
        empty : the answer where there are no rows.

        Raises
        ------
        DataError
            When there are no rows, and `empty` is not given.
        """
        rows = Joined(self.rows) if large else self.rows
        if not self.steps and isinstance(self.rows, Resident) and encoded:
            return self.run.reduce(rows, fold, empty=empty)
        return self.run.reduce(
            rows, lambda batch: fold(self._stepped_rows(batch, encoded=encoded)), empty=empty
        )

    def reduce_units(
        self, fold: Callable[[Iterator[Batch]], R | None], *, encoded: bool = False, empty: R | None = None
    ) -> R:
        """Merge `fold(batches)` over parts of the rows of every rank: one pass, for states that fill up.

        Parameters
        ----------
        fold : called with the batches of a few pieces, one after the other, all of which it takes; as in
            `reduce`.
        encoded, empty : as in `reduce`.
        """

        def batches(units: Sequence[Unit]) -> Iterator[Batch]:
            for unit in units:
                yield from (self._stepped_rows(batch, encoded=encoded) for batch in self.run.read(unit))

        return self.run.reduce(
            Whole(self.rows, 2 * self.run.threads), lambda units: fold(batches(units)), empty=empty
        )

    def batches(self) -> Iterator[Batch]:
        """The batches of this rank alone, for code that learns from all rows at once."""
        for unit in self.rows.units():
            for batch in unit():
                yield self._stepped_rows(batch, encoded=False)

    def transformed(self, step: Step, *, encoded: bool = False, unseen: Step | None = None) -> Shard:
        """The same rows seen through a step, which is applied at each pass.

        Parameters
        ----------
        step : changes a batch, row by row; it also meets the example, which has no rows. It is hashable: rows
            after equal steps share a matrix.
        encoded : the step also takes text as dictionaries; else text is decoded before it.
        unseen : the step in its place for rows that are held out, where that is another.
        """
        decode = () if encoded or not self.encoded else (self.rows.plain,)
        before = self.steps if self.steps_unseen is None else self.steps_unseen
        apart = unseen is not None or self.steps_unseen is not None
        return replace(
            self,
            example=step(self.example),
            steps=(*self.steps, *decode, step),
            encoded=encoded and self.encoded,
            steps_unseen=(*before, *decode, unseen or step) if apart else None,
        )

    @property
    def every_step(self) -> Sequence[tuple[Step, ...]]:
        """What is done to the rows, and what to those held out."""
        return [steps for steps in (self.steps, self.steps_unseen) if steps is not None]

    def identified(self, columns: Sequence[str]) -> tuple[Shard, str]:
        """The same rows with a number for each in a further column, and what that is called; one pass.

        Parameters
        ----------
        columns : whose values, as they were read, tell rows apart; equal rows are numbered (see `row_ids`).
        """
        assert not self.steps, "rows get their numbers before they are changed"
        rows = self.run.call(lambda: self._identified(columns))
        return replace(
            self, rows=rows, example=self.example.with_columns({rows.name: pa.array([], pa.uint64())})
        ), rows.name

    def _identified(self, columns: Sequence[str]) -> IdentifiedRows:
        """The numbered rows, which fits of the same rows share."""
        assert isinstance(self.rows, Resident | FoldedRows | BlockRows), (
            "rows get their numbers once, where they were read"
        )
        if self.rows.identified is None:
            name = numbered(_ROW, self.example.columns)
            self.rows.identified = IdentifiedRows(self.rows, columns, name)
        return self.rows.identified

    def placed(self, placing: Placing, *, hidden: Sequence[str] = ()) -> Shard:
        """The same rows, each with a place.

        Parameters
        ----------
        placing : gives the places of a batch as it was read, with text as dictionaries where a file holds
            them; it also meets the example, and refuses there what it cannot use.
        hidden : columns that serve the placing alone; later readers do not see them.
        """
        assert not self.steps, "rows get their places before they are changed"
        assert isinstance(self.rows, Resident), "rows get their places once"
        placing(self.example)  # whose columns it cannot use are refused before anything is read
        return replace(self, rows=FoldedRows(self.rows, placing, hidden), example=self.example.drop(hidden))

    def exchange(self, by: Sequence[str], *, nbytes: float | None = None, last: bool = False) -> Shard:
        """The same rows placed by a key: each batch of a pass has all rows of its keys, which no other has.

        Rows of a key are side by side in it, in an order that their values give. A pass, unless `nbytes` is
        given, and one shuffle, in which each row goes from its rank to that of its key; past the memory
        budget rows wait in a file. A batch has many keys; one key with more rows than fit in memory still is
        one batch. Text is text behind it, and so are categories.

        Parameters
        ----------
        by : the columns of the key; see `key_hash`.
        nbytes : about what all rows take, over all ranks, where that is known.
        last : nobody needs the rows where they are afterwards, so their memory may go.

        Raises
        ------
        SchemaError
            When a column cannot be a key.
        """
        example = text_decoded(self.example)
        key_hash(example, by)  # refuses what cannot be a key before any row is read
        if nbytes is None:
            nbytes = float(self.reduce(_nbytes, empty=np.zeros(1))[0])
        rows = self.run.call(partial(self._exchanged, list(by), example, nbytes, last))
        return Shard(self.run, example, rows, encoded=False)

    def _exchanged(self, by: list[str], example: Batch, nbytes: float, last: bool) -> ExchangedRows:
        def stepped(unit: Unit) -> Iterator[Batch]:
            return (text_decoded(self._stepped_rows(batch, encoded=False)) for batch in unit())

        run = self.rows.run
        rows = ExchangedRows(run, by, example, bin_count(run, nbytes))
        rows.fill([partial(stepped, unit) for unit in Joined(self.rows, last).units()])
        return rows

    def subset(self, keep: np.ndarray) -> Shard:
        """The rows at the places where `keep`, a boolean for each place, is true."""
        assert not self.steps, "rows are chosen before they are changed"
        return replace(self, keep=keep)

    def matrix(self, spec: MatrixSpec, *, last: bool = False) -> MatrixView:
        """The rows as resident blocks of one matrix with target and weight.

        Parameters
        ----------
        spec : which columns, and what they must be.
        last : nobody needs the batches afterwards, so their memory may go.
        """
        if self.watch is None:
            return self._part(spec, self.keep, last)
        unseen = self if self.steps_unseen is None else replace(self, steps=self.steps_unseen)
        self.watch.view = unseen._part(spec, self.watch.keep, last=False, watched=True)
        return replace(self._part(spec, self.keep, last), watch=self.watch)

    def _part(
        self, spec: MatrixSpec, keep: np.ndarray | None, last: bool, watched: bool = False
    ) -> MatrixView:
        """The matrix of the rows at some places; without steps, all places share one."""
        shard = replace(self, keep=keep if self.steps else None)
        view = self.run.call(lambda: shard._matrix(spec, last, self.run.shared)).on(self.run)
        return view if keep is None or self.steps else view.subset(keep, watched=watched)

    def count_places(self, places: int) -> np.ndarray:
        """How many rows there are at each place, over all ranks."""
        assert isinstance(self.rows, FoldedRows)
        return self.rows.count(places)

    def forget_matrices(self, but: Collection[tuple[Step, ...]] = ()) -> None:
        """Let go of all matrices that were made of these rows, but those of rows after certain steps."""
        for key in [key for key in self.rows.matrices if key[1] not in but]:
            self.rows.matrices.pop(key).tiles.release()

    def _matrix(self, spec: MatrixSpec, last: bool, shared: bool) -> MatrixView:
        if not self.steps or self.run.many:  # rows as they were read, or all of a key at one place: X tells
            spec = replace(spec, hashed=())
        key = (spec, self.steps, None if self.keep is None else self.keep.tobytes())
        if key not in self.rows.matrices:
            run = self.rows.run
            store: Store[Block] = Store(run.memory)
            check_numeric(self.example, spec.columns)

            def convert(part: Sequence[Unit]) -> list[Any]:
                return [
                    store.hold(block, block.nbytes)
                    for batch, place in map(self._chosen, _not_small(map(run.read, part)))
                    for block in build_blocks(self._stepped(batch), spec, place, _hashed(batch, spec))
                ]

            units = runs(self.rows.last_units() if last else self.rows.units(), 8 * run.threads)

            def build() -> LabelCounts:
                with run.work.timed():
                    store.extend(run.map(convert, units))
                    return LabelCounts.of(store.get(i) for i in range(len(store)))

            counted = _agreed(run, build) if shared else run.combine(build())
            width = self.example.matrix(spec.columns).shape[1]
            targets = None if spec.target is None else self.example[spec.target]
            several = targets.width if isinstance(targets, Matrix) and not spec.labels else None
            labels = Labels.of(counted, spec, width, several)
            self.rows.matrices[key] = MatrixView(run, Tiles(store, labels.classes), labels)
        return self.rows.matrices[key]

    def _stepped_rows(self, batch: Batch, *, encoded: bool = True) -> Batch:
        batch = self._stepped(self._chosen(batch)[0])
        return batch if encoded or not self.encoded else self.rows.plain(batch)

    def _stepped(self, batch: Batch) -> Batch:
        for step in self.steps:
            batch = step(batch)
        return batch

    def _chosen(self, batch: Batch) -> tuple[Batch, np.ndarray | None]:
        """The rows to be seen of a batch, and their places."""
        if self.rows.place is None:
            return batch, None
        place = np.asarray(batch[self.rows.place])
        batch = batch.drop([self.rows.place])
        if self.keep is None:
            return batch, place
        kept = self.keep[place]
        return batch.filter(kept), place[kept]


def _nbytes(batch: Batch) -> np.ndarray:
    return np.array([float(batch.nbytes)])


def _hashed(batch: Batch, spec: MatrixSpec) -> np.ndarray | None:
    return source_hash(batch, spec.hashed) if spec.hashed else None


def _agreed(run: FitContext, work: Callable[[], R]) -> R:
    """What each rank makes, merged; where one fails, all raise that error, and go on in step."""
    merged: R = run.combine(guarded(lambda _: work())(None)).get()
    return merged
