"""What an engine is: the questions asked of whoever works on the rows of a scan."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.scan import Scan
from outgrow.engine.groups import Groups, Packing
from outgrow.engine.journal import Identity
from outgrow.engine.record import Fitted
from outgrow.engine.shard import Shard

T = TypeVar("T")


class Table(Protocol):
    """A dataset, as far as a query needs it."""

    @property
    def scan(self) -> Scan: ...

    def to_arrow(self) -> pa.Table: ...


class Engine(Protocol):
    """Who works on the rows of a scan.

    What is not promised: that `fit` calls its argument in this process, or that batches of `map` keep the
    size they had in the source. What an engine cannot do, its attributes say; nobody asks for its class.

    Attributes
    ----------
    name : 'local' or 'spark'.
    needs_pieces : whether it works only on sources that have pieces.
    """

    name: str
    needs_pieces: bool

    @property
    def holds(self) -> bool:
        """Whether it has `hold`."""

    @property
    def slots(self) -> int:
        """How many independent calls run at once."""

    @property
    def host(self) -> str | None:
        """The address at which what runs there reaches this process; None where it is not known."""

    @property
    def shared_folder(self) -> str | None:
        """A folder for temporary files that this process and all who work reach; None where none is known."""

    def digest(self, scan: Scan) -> str:
        """What tells the rows of a scan from those of others in this session."""

    def lasting_digest(self, scan: Scan) -> str:
        """What tells the rows of a scan from those of others in any session.

        Raises
        ------
        ParameterError
            When nothing does.
        """

    def fit(
        self,
        fit: Callable[[Shard], T],
        scan: Scan,
        *,
        stage: str = "fit",
        keep: bool = True,
        identity: Identity | None = None,
    ) -> Fitted[T]:
        """Run `fit` on every rank over its own rows; the result is rank 0's, which an artifact can store.

        Parameters
        ----------
        fit : called once on each rank with the rows of that rank; it may have to be sent there.
        scan : the rows.
        stage : what is under way, as events and messages call it.
        keep : rows may be held between passes; else they are read anew at each, where that is possible.
        identity : tells this fit from others, so that an engine may keep its passes, to go on after a fault;
            None where they are not worth keeping.
        """

    def hold(self, scan: Scan, *, stage: str) -> Shard:
        """The rows of a scan for fits that follow one another in this process, and share what they need.

        Parameters
        ----------
        scan : the rows.
        stage : what is under way, as events call it.
        """

    def map(self, scan: Scan) -> Iterator[Batch]:
        """The batches of a scan, here."""

    def table(self, scan: Scan) -> Any:
        """The rows of a scan as an Arrow table, or where the engine has its own, as a Spark DataFrame."""

    def each_piece(
        self, scan: Scan, function: Callable[[int, Any], T], *, stage: str, skip: Container[int] = ()
    ) -> Iterator[T]:
        """What `function` makes, where they are, of the number and the rows of each piece, as they finish.

        Pieces are independent of each other, and may be tried again after a fault. The first failure ends the
        work. Not promised: their order, or that they are those of another engine.

        Parameters
        ----------
        scan : the rows.
        function : called with the number of a piece and something that has `batches()`; it may have to be
            sent there, and what it makes must be storable by an artifact.
        stage : what is under way, as events and messages call it.
        skip : numbers of pieces that need not be done; an engine may do them all the same.
        """

    def map_groups(
        self,
        scan: Scan,
        packing: Packing,
        function: Callable[[Groups], Iterator[T]],
        *,
        stage: str,
        processes: bool = False,
    ) -> Iterator[T]:
        """What `function` yields for the groups of each bin of a packing, one after the other.

        A failure ends the work. Not promised: the order of the bins.

        Parameters
        ----------
        scan : the rows.
        packing : which groups, and which of them together.
        function : called with groups, each as the hash of its key and all its rows, in an order that follows
            from their values. What it yields must be storable by an artifact.
        stage : what is under way, as messages call it.
        processes : the function holds Python's lock, so an engine that works on threads may prefer processes.
        """

    def tasks(self, function: Callable[[int], T], count: int, *, stage: str) -> Iterator[T]:
        """What `function` makes of 0, 1, ... in independent calls, all of which may run at once.

        Parameters
        ----------
        function : called with the number; it may have to be sent to where it runs, and what it makes must be
            storable by an artifact.
        count : how many calls there are. Not promised: that as many run at once.
        stage : what is under way, as messages call it.
        """

    def query(self, query: str, tables: Mapping[str, Table]) -> Scan:
        """The rows of a SQL query over datasets, by the engine's own database.

        Parameters
        ----------
        query : one SELECT in DuckDB's dialect, whichever the engine.
        tables : what the names in it mean, of datasets on this engine.
        """
