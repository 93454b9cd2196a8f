"""This machine: threads over blocks, in one process or several, within a budget of memory."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from outgrow._process import default_threads
from outgrow._settings import is_whole
from outgrow.data.batch import Batch
from outgrow.data.duck import QuerySource
from outgrow.data.files import FilesSource
from outgrow.data.scan import Scan, ScanPiece
from outgrow.engine.context import FitContext, one_blas_thread
from outgrow.engine.events import Event, emit
from outgrow.engine.groups import Bins, Groups, Packing
from outgrow.engine.journal import Checkpoint, Identity, Journal, open_checkpoint
from outgrow.engine.memory import (
    Memory,
    available_bytes,
    parse_size,
    peak_bytes,
    warn_of_address_space,
)
from outgrow.engine.protocol import Engine, Table
from outgrow.engine.ranks.local import LocalRanks
from outgrow.engine.ranks.rank import FEW_BYTES
from outgrow.engine.record import FitRecord, Fitted, MemoryPlan, work_bytes
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError

T = TypeVar("T")


@dataclass(frozen=True)
class Local:
    """Run on this machine.

    Parameters
    ----------
    threads : how many; all cores by default, or what OUTGROW_THREADS says.
    memory : the most the process may hold, in bytes or like '2GiB'; past it, rows go to a file. By default
        three quarters of what is available, or what OUTGROW_MEMORY says.
    spill_dir : the folder for that file; the system's temporary folder by default.
    checkpoint : folder for the passes of fits under way; a fit that is called again with the same folder goes
        on where the last one stopped, even when the process was killed.
    processes : on how many processes fits work, each with its share of the rows, of the threads and of the
        memory; by default in this one. They pay where code holds Python's lock, as a network's does, and for
        trying out here what a cluster will do. They stand ready for other fits for a minute.
    elastic : when a process is lost, the others go on with its rows at once, from where they are, and another
        joins them as soon as it is there; by default all wait for that one, and go on from the last snapshot.
        Networks whose strategy allows it join in the midst of a training, and other fits when they begin.

    Examples
    --------
    >>> import outgrow as og
    >>> engine = og.Local(threads=1, memory="1GiB")
    >>> engine.name
    'local'
    >>> import pyarrow as pa
    >>> table = pa.table({"hour": [1.0, 2.0, 3.0, 4.0], "delay": [2.0, 4.0, 6.0, 8.0]})
    >>> rows = og.dataset(table, engine=og.Local(processes=2))
    >>> og.LinearRegression().fit(rows, "delay").fit_record_.ranks
    2
    """

    threads: int | None = None
    memory: int | str | None = None
    spill_dir: str | None = None
    checkpoint: str | None = None
    processes: int = 1
    elastic: bool = False

    name = "local"
    needs_pieces = True
    host = "127.0.0.1"

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ParameterError(f"threads={self.threads}: at least 1 is needed.")
        if not is_whole(self.processes):
            raise ParameterError(f"processes={self.processes!r}: at least 1 is needed.")
        if self.elastic and self.processes == 1:
            raise ParameterError("elastic=True is for several ranks: give processes=, at least 2.")
        if self.memory is not None:
            parse_size(self.memory)
        warn_of_address_space()

    def fit(
        self,
        fit: Callable[[Shard], T],
        scan: Scan,
        *,
        stage: str = "fit",
        keep: bool = True,
        identity: Identity | None = None,
    ) -> Fitted[T]:
        """Run `fit` over the rows of a scan, in this process or in several others.

        Parameters
        ----------
        fit : called once, with all rows; with several processes once in each, with the rows of that.
        scan : the rows.
        stage : how events call the work.
        keep : hold the rows after the first pass, within the memory budget; else each pass reads them anew.
        identity : tells the fit from others in the checkpoint folder; None keeps no passes.

        Raises
        ------
        OutgrowError
            What the process that failed first raised, with its rank and the pass.
        RankLostError
            When processes were killed or stopped time and again.
        """
        checkpoint = open_checkpoint(self.checkpoint, identity, scan)
        if self.processes > 1:
            return self._on_processes(fit, scan, stage, keep, checkpoint)
        journal = Journal(checkpoint.entries(), checkpoint.keep) if checkpoint else None
        began, threads, pieces = time.perf_counter(), self.slots, scan.pieces()
        few = sum(piece.nbytes for piece in pieces) <= FEW_BYTES
        limited = bool(self.memory or os.environ.get("OUTGROW_MEMORY"))
        # few rows fit, however much there is: to look takes longer than they do
        budget = self._budget() if limited or not few else None
        memory = Memory(budget or self._budget, self.spill_dir, work=threads * work_bytes(pieces))
        plan = MemoryPlan.of([pieces], budget, base=memory.base, threads=threads, keep=keep)
        plan.announce(stage)
        run = FitContext(threads=threads, memory=memory, stage=stage, journal=journal)
        try:
            with one_blas_thread() if few else nullcontext():
                result = fit(Shard.of(run, pieces, scan.example(), keep=keep))
        finally:
            run.close()
        if checkpoint:
            checkpoint.clear()
        seconds = time.perf_counter() - began
        return Fitted(
            result, FitRecord(self.name, 1, 1, run.passes, seconds, plan.peak, peak_bytes(), memory.spilled)
        )

    def _on_processes(
        self, fit: Callable[[Shard], T], scan: Scan, stage: str, keep: bool, checkpoint: Checkpoint | None
    ) -> Fitted[T]:
        threads, budget = max(1, self.slots // self.processes), self._budget() // self.processes
        folder = self.spill_dir or tempfile.gettempdir()
        elastic = secrets.token_hex(8) if self.elastic else ""
        return LocalRanks(
            fit, scan, stage, keep, self.processes, threads, budget, folder, checkpoint, elastic
        ).run()

    @property
    def holds(self) -> bool:
        """Whether fits can follow one another on rows that stay in this process."""
        return self.processes == 1

    def hold(self, scan: Scan, *, stage: str) -> Shard:
        """The rows of a scan for fits that follow one another in this process, and share what they need.

        Parameters
        ----------
        scan : the rows; they are read at the first pass, and stay as long as the shard.
        stage : how events call the work.
        """
        threads, pieces = self.slots, scan.pieces()
        memory = Memory(self._budget(), self.spill_dir, work=threads * work_bytes(pieces))
        run = FitContext(threads=threads, memory=memory, stage=stage)
        run.reuse = True
        return Shard.of(run, pieces, scan.example())

    def map(self, scan: Scan) -> Iterator[Batch]:
        """The batches of a scan, in order; a few are prepared ahead on the threads."""
        pieces, ahead = scan.pieces(), self.slots
        if len(pieces) < 2 or ahead < 2:
            for piece in pieces:
                yield from piece.batches()
            return
        with ThreadPoolExecutor(ahead) as pool:
            waiting: list[Future[list[Batch]]] = []
            try:
                for piece in pieces:
                    waiting.append(pool.submit(_read, piece))
                    if len(waiting) > ahead:
                        yield from waiting.pop(0).result()
                while waiting:
                    yield from waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()

    @property
    def shared_folder(self) -> str:
        """Where the system has temporary files, or where rows past the memory budget go."""
        return self.spill_dir or tempfile.gettempdir()

    def digest(self, scan: Scan) -> str:
        """A hash of what is read, and how."""
        return str(scan.describe()["sha256"])

    def lasting_digest(self, scan: Scan) -> str:
        """A hash of what is read, and how; files count with their sizes and dates."""
        return self.digest(scan)

    def table(self, scan: Scan) -> pa.Table:
        """The rows of a scan as an Arrow table."""
        return pa.Table.from_batches(
            (batch.to_arrow() for batch in self.map(scan)), scan.example().to_arrow().schema
        )

    def each_piece(
        self, scan: Scan, function: Callable[[int, Any], T], *, stage: str, skip: Container[int] = ()
    ) -> Iterator[T]:
        """What `function` makes of each piece and its number, as they finish.

        The first failure ends the work, and is raised.

        Parameters
        ----------
        scan : the rows, in pieces.
        function : called with the number and the piece, on several threads at once.
        stage : how events call the work; there is one for each piece.
        skip : numbers of pieces to leave out.
        """
        pieces = [(number, piece) for number, piece in enumerate(scan.pieces()) if number not in skip]
        began, done, failed = time.perf_counter(), 0, threading.Event()

        def work(number: int, piece: ScanPiece) -> T:
            if failed.is_set():
                raise CancelledError
            try:
                return function(number, piece)
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(self.slots) as pool:
            futures = [pool.submit(work, number, piece) for number, piece in pieces]
            try:
                for future in as_completed(futures):
                    if isinstance(future.exception(), CancelledError):
                        continue  # another failed before it, and comes too
                    yield future.result()
                    done += 1
                    emit(Event(stage, "piece", done, len(pieces), elapsed=time.perf_counter() - began))
            finally:
                failed.set()

    def tasks(self, function: Callable[[int], T], count: int, *, stage: str) -> Iterator[T]:
        """What `function` makes of 0, 1, ... in `count` calls at the same time, as they finish.

        Parameters
        ----------
        function : called with the number, on a thread of its own.
        count : how many calls; each has its thread, however many `threads` says.
        stage : the threads are named after it.
        """
        with ThreadPoolExecutor(count, thread_name_prefix=f"outgrow {stage}") as pool:
            for future in as_completed([pool.submit(function, number) for number in range(count)]):
                yield future.result()

    def map_groups(
        self,
        scan: Scan,
        packing: Packing,
        function: Callable[[Groups], Iterator[T]],
        *,
        stage: str,
        processes: bool = False,
    ) -> Iterator[T]:
        """What `function` yields for the groups of each bin; rows past the memory budget wait in a file.

        Parameters
        ----------
        scan : the rows, which are read once.
        packing : which groups, and which of them together.
        function : called with the groups of a bin.
        stage : not used here.
        processes : the function holds Python's lock: where the bins take long, processes work on them, and it
            and what it yields must be picklable.
        """
        memory = Memory(self._budget(), self.spill_dir)
        bins = Bins.of(scan.pieces(), packing, memory, self.slots)
        yield from bins.each(function, self.slots, processes=processes)

    def query(self, query: str, tables: Mapping[str, Table]) -> Scan:
        """The rows of a SQL query over datasets, by DuckDB.

        Parameters
        ----------
        query : one SELECT in DuckDB's dialect.
        tables : what its names mean. Files without steps are scanned as needed; the rows of others are held.
        """
        sources = {name: table.scan.source for name, table in tables.items()}
        return Scan(QuerySource(query, {name: _for_duckdb(table) for name, table in tables.items()}, sources))

    @property
    def slots(self) -> int:
        """On how many threads it works."""
        return self.threads or default_threads()

    def _budget(self) -> int:
        memory: Any = self.memory or os.environ.get("OUTGROW_MEMORY") or available_bytes() * 3 // 4
        return parse_size(memory)


def _read(piece: ScanPiece) -> list[Batch]:
    return list(piece.batches())


def _for_duckdb(table: Table) -> Any:
    """What DuckDB scans: a dataset of Parquet lets it skip columns and row groups."""
    source = table.scan.source
    if isinstance(source, FilesSource) and not table.scan.steps:
        return source.arrow_dataset
    return table.to_arrow()


if TYPE_CHECKING:
    _: Engine = Local()
