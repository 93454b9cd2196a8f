"""What a fit was expected to need, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from outgrow.data.source import BATCH_BYTES
from outgrow.engine.events import Event, emit, heard
from outgrow.engine.memory import describe_size
from outgrow.errors import EngineError

T = TypeVar("T")

LIBRARIES = 190 << 20
"""About what a process holds that has loaded NumPy, SciPy, PyArrow and scikit-learn."""


class Sized(Protocol):
    """Something of a known size in memory."""

    @property
    def nbytes(self) -> int: ...


def work_bytes(pieces: Sequence[Sized]) -> int:
    """About what one thread needs beside the rows it keeps: a piece being decoded, copies of a few batches.

    The factors are measured: PyArrow holds raw, decoded and prefetched parts of a piece at the same time.
    """
    largest = max((piece.nbytes for piece in pieces), default=0)
    return (16 << 20) + 4 * largest + 6 * min(BATCH_BYTES, largest)


@dataclass(frozen=True)
class MemoryPlan:
    """What the busiest rank will need at its peak.

    Attributes
    ----------
    least : what it needs however little it keeps: the libraries, and a piece of rows at work on each thread.
    rows : what its rows take when all of them are kept; None where nobody can tell beforehand.
    budget : what it may hold; None where only the rank will know.
    """

    least: int
    rows: int | None
    budget: int | None

    @classmethod
    def of(
        cls,
        shares: Sequence[Sequence[Sized]] | None,
        budget: int | None,
        *,
        base: int = LIBRARIES,
        threads: int = 1,
        keep: bool = True,
    ) -> MemoryPlan:
        """The plan for ranks that read these pieces.

        Parameters
        ----------
        shares : the pieces of each rank; None for rows whose size is not known.
        budget : bytes that a rank may hold; None where only the rank will know.
        base : bytes that a rank's process holds before; by default about what the libraries take.
        threads : of a rank, each with a piece at work.
        keep : rows are kept between passes.
        """
        if shares is None:
            return cls(base, None, budget)
        work = max((work_bytes(pieces) for pieces in shares), default=0)
        rows = max((sum(piece.nbytes for piece in pieces) for pieces in shares), default=0) if keep else 0
        return cls(base + threads * work, rows, budget)

    @property
    def peak(self) -> int | None:
        """The memory expected at the peak; None where nobody can tell."""
        if self.rows is None:
            return None
        whole = self.least + self.rows
        return whole if self.budget is None else max(self.least, min(whole, self.budget))

    @property
    def spilled(self) -> int:
        """How many bytes of rows will go to a file."""
        if self.rows is None or self.budget is None:
            return 0
        return max(0, min(self.rows, self.least + self.rows - self.budget))

    def check(self, setting: str) -> None:
        """Refuse a budget in which nothing could be done; `setting` is what to change."""
        if self.budget is not None and self.rows is not None and self.least > self.budget:
            raise EngineError(
                f"A rank needs at least {describe_size(self.least)}: the libraries, and a piece of the rows "
                f"at work. It may hold {describe_size(self.budget)}. Set {setting}={_round_up(self.least)!r} "
                "or more, or write the data in smaller row groups."
            )

    def announce(self, stage: str) -> None:
        """Tell listeners what to expect, where it is known before the rows arrive."""
        if self.peak is not None and heard():
            emit(Event(stage, "plan", 0, memory=self.peak, note=str(self)))

    def __str__(self) -> str:
        if self.peak is None:
            return "not known before the rows arrive"
        budget = "" if self.budget is None else f" of {describe_size(self.budget)}"
        spills = f", {describe_size(self.spilled)} of rows on disk" if self.spilled else ""
        return f"about {describe_size(self.peak)}{budget} a rank{spills}"


@dataclass(frozen=True)
class FitRecord:
    """How a fit went.

    Attributes
    ----------
    engine : 'local' or 'spark'.
    ranks : how many there were at the end.
    attempts : how often it was started.
    passes : over the rows, those included that were replayed.
    seconds : in all.
    predicted_peak, measured_peak : memory of the rank that took most, in bytes; the first is None where
        nobody could tell. The measured one is that of the whole process since it began.
    spilled : bytes of rows that went to files, on all ranks.
    run : the id of the run in the event log that the fit was recorded as, or as a part of; None where
        nobody recorded it.
    data : which rows it learned from, as `DatasetVersion.to_dict` has it.
    """

    engine: str
    ranks: int
    attempts: int
    passes: int
    seconds: float
    predicted_peak: int | None
    measured_peak: int
    spilled: int
    run: str | None = None
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fitted(Generic[T]):
    """What a fit returned, and how it went."""

    result: T
    record: FitRecord


def _round_up(nbytes: int) -> str:
    return f"{-(-nbytes // (1 << 20))}MiB"


def as_tree(record: FitRecord) -> dict[str, Any]:
    """A record as an artifact can store it."""
    return dict(vars(record))


def record_of(tree: Mapping[str, Any]) -> FitRecord | None:
    """What `as_tree` made; None for what another version wrote that knew other things."""
    known = {name: tree[name] for name in FitRecord.__dataclass_fields__ if name in tree}
    try:
        return FitRecord(**known)
    except TypeError:
        return None
