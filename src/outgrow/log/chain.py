"""How records are chained when they are written, and whether they still are when they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from outgrow.errors import LogError
from outgrow.log.record import FIRST, Fact, Record, encode


def chained(
    facts: Sequence[Fact], origin: str, number: int, previous: str
) -> Iterator[tuple[Fact, int, str, str]]:
    """Each fact with its number, the digest before it and its own.

    Parameters
    ----------
    facts : in the order in which they are written.
    origin : the log they are written in.
    number : of the last record of this origin; 0 where there is none.
    previous : that record's digest; `FIRST` where there is none.
    """
    for fact in facts:
        number += 1
        digest = fact.digest(origin, number, previous)
        yield fact, number, previous, digest
        previous = digest


def verify(records: Iterable[Record]) -> int:
    """Check that no record was changed, removed or put between others; how many there are.

    Raises
    ------
    LogError
        Naming the first record that is not what was written.
    """
    ends: dict[str, tuple[int, str]] = {}
    count = 0
    for record in records:
        number, digest = ends.get(record.origin, (0, FIRST))
        name = f"Record {record.number} of log {record.origin} (position {record.position}, {record.kind})"
        if record.number != number + 1:
            raise LogError(
                f"{name} follows record {number}: what lay between is missing. Restore the log from a copy."
            )
        fact = Fact(record.time, record.kind, record.subject, encode(record.body), record.by, record.cause)
        if record.previous != digest or fact.digest(record.origin, record.number, digest) != record.digest:
            raise LogError(f"{name} was changed after it was written. Restore the log from a copy.")
        ends[record.origin] = record.number, record.digest
        count += 1
    return count
