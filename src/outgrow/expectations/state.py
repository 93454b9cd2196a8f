"""What one pass learns of rows about which something is expected; it merges, whichever rows come first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.stats.state import State, merge

EXAMPLES = 5
"""Values that break a rule that are kept, the first in the order of text."""
MOST_KEYS = 1 << 26
"""Keys whose hashes are held at once, in 512 MiB; more of them are looked at in a pass of their own."""
MOST_BYTES = 1 << 28
"""Of rows that are set aside and held; more of them are read once more."""
NEVER = np.iinfo(np.int64).min
"""The newest time where there is none."""


@dataclass(frozen=True, eq=False)
class KeyHashes(State):
    """The hashes of the keys of some rows, as they came.

    Attributes
    ----------
    count : how many there are.
    parts : arrays of uint64; none where there are too many to be held.
    """

    count: int
    parts: list[np.ndarray]

    @classmethod
    def of(cls, hashes: np.ndarray) -> KeyHashes:
        """Those of a batch."""
        return cls(len(hashes), [hashes] if 0 < len(hashes) <= MOST_KEYS else [])

    def merge(self, other: KeyHashes) -> KeyHashes:
        count = self.count + other.count
        return KeyHashes(count, [] if count > MOST_KEYS else [*self.parts, *other.parts])

    @property
    def held(self) -> bool:
        """Whether all of them are here."""
        return self.count <= MOST_KEYS

    def in_order(self) -> np.ndarray:
        """All hashes, sorted."""
        assert self.held
        hashes = np.concatenate([np.zeros(0, np.uint64), *self.parts])
        hashes.sort()
        return hashes

    def repeated(self) -> np.ndarray:
        """The hashes that come more than once, in order."""
        hashes = self.in_order()
        again = hashes[1:] == hashes[:-1]
        return np.unique(hashes[1:][again])


@dataclass(frozen=True, eq=False)
class RowsAside(State):
    """Rows that are set aside, each with its reasons.

    Attributes
    ----------
    rows, nbytes : how many, and what they take.
    parts : Arrow streams, as arrays of bytes; none where there is too much to be held.
    """

    rows: int
    nbytes: int
    parts: list[np.ndarray]

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> RowsAside:
        """Those of a batch."""
        if not rows.num_rows:
            return cls(0, 0, [])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_batch(rows)
        part = np.frombuffer(sink.getvalue(), np.uint8)
        return cls(rows.num_rows, len(part), [part] if len(part) <= MOST_BYTES else [])

    def merge(self, other: RowsAside) -> RowsAside:
        nbytes = self.nbytes + other.nbytes
        parts = [] if nbytes > MOST_BYTES else [*self.parts, *other.parts]
        return RowsAside(self.rows + other.rows, nbytes, parts)

    @property
    def held(self) -> bool:
        """Whether all of them are here."""
        return self.nbytes <= MOST_BYTES

    def table(self, schema: pa.Schema) -> pa.Table:
        """All of them."""
        assert self.held
        tables = [pa.ipc.open_stream(pa.py_buffer(part)).read_all() for part in self.parts]
        return pa.concat_tables([schema.empty_table(), *tables]) if tables else schema.empty_table()


@dataclass(frozen=True, eq=False)
class CheckedRows(State):
    """Rows, and how many of them break which rule.

    Attributes
    ----------
    rows : how many there are.
    aside : how many of them break a rule for which rows are set aside.
    failing : rows that break each rule, int64 of shape (rules,).
    examples : values that break each rule, as text.
    missing : rows without a value, of each column for which a share is given; int64.
    newest : the newest time of each column of which one is expected, in microseconds; int64.
    keys : the keys of which each is expected once.
    kept : the rows set aside themselves; None where nobody wants them.
    """

    rows: int
    aside: int
    failing: np.ndarray
    examples: list[list[str]]
    missing: np.ndarray
    newest: np.ndarray
    keys: tuple[KeyHashes, ...]
    kept: RowsAside | None = None

    def merge(self, other: CheckedRows) -> CheckedRows:
        pairs = zip(self.examples, other.examples, strict=True)
        return CheckedRows(
            self.rows + other.rows,
            self.aside + other.aside,
            self.failing + other.failing,
            [sorted({*mine, *theirs})[:EXAMPLES] for mine, theirs in pairs],
            self.missing + other.missing,
            np.maximum(self.newest, other.newest),
            merge(self.keys, other.keys),
            merge(self.kept, other.kept),
        )

    def without_rows(self) -> CheckedRows:
        """The same without what tells rows: neither those set aside, nor keys."""
        return replace(self, keys=(), kept=None)

    def to_dict(self) -> dict[str, Any]:
        """The counts, as JSON has them."""
        return {"rows": self.rows, "aside": self.aside, "failing": self.failing.tolist()}
