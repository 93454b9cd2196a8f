"""Sums of events by time, as servers keep them: bytes for each key, from which windows are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from outgrow.errors import DataError
from outgrow.features.as_of import own
from outgrow.features.online.codec import KeyCodec
from outgrow.features.windows import HIGH, Windows

NEVER = -(1 << 62)
"""Up to when rows are materialised that were only pushed."""
_HEAD = np.dtype([("as_of", "<i8"), ("tag", "<i8")])
_PLACES = ("bucket", "known", "tag")


class EntryCodec:
    """Bytes of keys with windows: up to when they are materialised, then an entry for each bucket of time.

    Parameters
    ----------
    windows : the aggregations.
    keys : the types of the key.
    """

    def __init__(self, windows: Windows, keys: dict[str, pa.DataType]) -> None:
        self.windows, self.keys = windows, KeyCodec(keys)
        self._fields = [*_PLACES, *windows.fields]
        self._wide = [windows.fields.index(name) for name in windows.wide]
        self._size = 8 * len(self._fields)

    def encode(
        self, batches: Iterator[pa.RecordBatch], as_of: int, tag: int = 0
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and their bytes.

        Parameters
        ----------
        batches : of entries, those of a key one behind the other.
        as_of : up to when they are all there are, in microseconds since 1970.
        tag : of the batch that was pushed; 0 for none.
        """
        head = np.array([(as_of, tag)], _HEAD).tobytes()
        last: bytes | None = None
        parts: list[bytes] = []
        for batch in batches:
            keys = self.keys.encode({name: batch[name] for name in self.keys.columns})
            there, raw = self._entries(batch, tag)
            for key, stays, at in zip(keys, there, range(0, len(raw), self._size), strict=True):
                if key != last and last is not None:
                    yield last, head + b"".join(parts)
                if key != last:
                    last, parts = key, []
                if stays:
                    parts.append(raw[at : at + self._size])
        if last is not None:
            yield last, head + b"".join(parts)

    def merged(self, before: bytes | None, new: bytes, now: int) -> bytes:
        """The bytes of a key after others came; what had left every window when the last did is dropped.

        Parameters
        ----------
        before : what is there.
        new : what came: materialised, which takes the place of all that was known by then; or pushed, of
            which what was known by then is there. A batch with a tag takes the place of itself.
        now : microseconds since 1970; events of after that do not make others leave.
        """
        if before is None:
            return new
        (old_as_of, _), (new_as_of, tag) = _head(before), _head(new)
        ours, theirs = self._table(before), self._table(new)
        if new_as_of > NEVER:
            if new_as_of < old_as_of:
                return before
            ours = ours[ours[:, 1] > new_as_of]
        else:
            theirs = theirs[theirs[:, 1] > old_as_of]
            if tag:
                ours = ours[ours[:, 2] != tag]
        rows = np.concatenate([ours, theirs])
        newest = max([old_as_of, new_as_of, *rows[:, 1].tolist()])
        rows = rows[rows[:, 0] > min(now, newest) - self.windows.longest]
        head = np.array([(max(old_as_of, new_as_of), 0)], _HEAD)
        return bytes(head.tobytes() + rows.tobytes())

    def decode(self, rows: Sequence[bytes | None], now: int) -> dict[str, pa.Array]:
        """The features of keys at a moment.

        Parameters
        ----------
        rows : their bytes; None where there are none.
        now : microseconds since 1970.
        """
        there = np.array([row is not None for row in rows], bool)
        pushed = np.array([row is not None and _head(row)[0] == NEVER for row in rows], bool)
        bodies = [b"" if row is None else row[_HEAD.itemsize :] for row in rows]
        table = np.frombuffer(b"".join(bodies), "<i8").reshape(-1, len(self._fields))
        ends = np.cumsum([0, *(len(body) // self._size for body in bodies)])
        known = _by_key((table[:, 1:2] <= now).astype(np.int64), ends)[:, 0]
        there &= ~(pushed & (np.diff(ends) > 0) & (known == 0))  # what is not known yet is not there
        columns: dict[str, pa.Array] = {}
        for width in sorted({aggregation.width for aggregation in self.windows.view.aggregations}):
            inside = (table[:, 0] > now - width) & (table[:, 1] <= now)
            kept = np.where(inside[:, None], table[:, len(_PLACES) :], 0)
            sums = dict(zip(self.windows.fields, _by_key(kept, ends).T, strict=True))
            high = _by_key(kept[:, self._wide] >> 32, ends).T
            sums |= {name + HIGH: part for name, part in zip(self.windows.wide, high, strict=True)}
            for aggregation in self.windows.view.aggregations:
                if aggregation.width == width:
                    columns[aggregation.name] = _where(there, self.windows.values(aggregation, sums))
        return columns

    def _entries(self, batch: pa.RecordBatch, tag: int) -> tuple[list[bool], bytes]:
        table = np.full((batch.num_rows, len(self._fields)), tag, "<i8")
        bucket = batch[own("bucket")[1:-1]]
        for at, name in enumerate(self._fields):
            if name == "tag":
                continue
            column = batch[own(name)[1:-1]]
            if name in self.windows.wide and column.null_count:
                raise DataError(self._past_range(name))
            table[:, at] = np.asarray(column.fill_null(0))
        return np.asarray(bucket.is_valid()).tolist(), table.tobytes()

    def _past_range(self, name: str) -> str:
        inputs = list(self.windows.inputs)
        column = next(c for at, c in enumerate(inputs) if name in self.windows.fields_of(at))
        view = self.windows.view
        made = [wanted.name for wanted in view.aggregations if wanted.column == column]
        return (
            f"View {view.name!r}: {made} cannot be served, as sums of {column!r} at one moment go past "
            "2**63. Cast it to floats in the query of the source."
        )

    def _table(self, row: bytes) -> np.ndarray:
        return np.frombuffer(row, "<i8", offset=_HEAD.itemsize).reshape(-1, len(self._fields))


def _by_key(numbers: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of the rows of each key, modulo 2**64."""
    totals = np.zeros((len(numbers) + 1, numbers.shape[1]), np.int64)
    np.cumsum(numbers, axis=0, out=totals[1:])
    return totals[ends[1:]] - totals[ends[:-1]]


def _head(row: bytes) -> tuple[int, int]:
    as_of, tag = np.frombuffer(row, _HEAD, 1)[0].item()
    return as_of, tag


def _where(there: np.ndarray, values: pa.Array) -> pa.Array:
    gone = ~there | np.asarray(values.is_null())
    return pa.array(np.asarray(values.fill_null(0)), mask=gone) if gone.any() else values
