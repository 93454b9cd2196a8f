"""Records as rows of a table of SQL."""

from __future__ import annotations

from typing import Any

from outgrow.log.record import Fact, Record, decode, encode
from outgrow.log.store import Query

COLUMNS = "position, origin, number, time, kind, subject, body, author, cause, previous, digest"


def schema(position: str, whole: str, real: str) -> str:
    """The statements that make the tables where they are not there.

    Parameters
    ----------
    position : the type of a key that counts up.
    whole, real : the types of whole numbers and of float64.
    """
    return f"""
CREATE TABLE IF NOT EXISTS origin (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    position {position},
    origin TEXT NOT NULL,
    number {whole} NOT NULL,
    time {real} NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    author TEXT NOT NULL,
    cause TEXT,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL,
    UNIQUE (origin, number)
);
CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, position);
CREATE INDEX IF NOT EXISTS records_by_subject ON records (subject, position);
"""


def select(query: Query, mark: str) -> tuple[str, list[Any]]:
    """The SQL of a query, and its values.

    Parameters
    ----------
    query : which records are wanted.
    mark : what stands for a value: ? or %s.
    """
    conditions = [f"position > {mark}"]
    values: list[Any] = [query.after]
    if query.kinds:
        conditions.append(f"kind IN ({', '.join([mark] * len(query.kinds))})")
        values += query.kinds
    if query.subject is not None:
        conditions.append(f"subject = {mark}")
        values.append(query.subject)
    order = "DESC" if query.latest else "ASC"
    text = f"SELECT {COLUMNS} FROM records WHERE {' AND '.join(conditions)} ORDER BY position {order}"
    if query.limit is not None:
        text += f" LIMIT {mark}"
        values.append(query.limit)
    return text, values


def values_of(fact: Fact) -> tuple[Any, ...]:
    """The columns from `time` to `cause`."""
    return fact.time, fact.kind, fact.subject, fact.text, fact.by, fact.cause


def row_of(record: Record) -> tuple[Any, ...]:
    """All columns but the position."""
    return (
        *(record.origin, record.number, record.time, record.kind, record.subject),
        *(encode(record.body), record.by, record.cause, record.previous, record.digest),
    )


def record_of(row: tuple[Any, ...]) -> Record:
    """The record of a row with all columns."""
    position, origin, number, time, kind, subject, body, *rest = row
    return Record(position, origin, number, time, kind, subject, decode(body), *rest)
