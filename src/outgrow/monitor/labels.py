"""Labels by key: true values that come later, twice, contradict each other, or were never asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.hashing import mix, value_hash
from outgrow.data.spans import as_times, microseconds
from outgrow.errors import ColumnNotFoundError, SchemaError
from outgrow.stats.state import State

NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Met(State):
    """Which labels have met a prediction.

    Attributes
    ----------
    bits : uint8 ndarray, eight labels each.
    """

    bits: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, total: int) -> Met:
        """Of some labels.

        Parameters
        ----------
        rows : their places.
        total : how many labels there are.
        """
        met = np.zeros(total, dtype=bool)
        met[rows] = True
        return cls(np.packbits(met))

    def merge(self, other: Met) -> Met:
        return Met(self.bits | other.bits)

    @property
    def count(self) -> int:
        """How many have."""
        return int(np.unpackbits(self.bits).sum())


@dataclass(frozen=True, eq=False)
class TrueValues:
    """One label for each key, found by the hash of the key.

    Attributes
    ----------
    keys : the columns that say which label belongs to which prediction.
    hashes : uint64 ndarray, sorted.
    values : the labels, in that order.
    times : int64 ndarray, when each was known, in microseconds since 1970; `NO_TIME` where that is not known.
    twice : labels that came again with the same value.
    contradicted : labels that came again with another value; the latest counts, and none where none is later.
    without_key : labels whose key has a missing value.
    """

    keys: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    hashes: np.ndarray
    values: pa.Array
    times: np.ndarray
    twice: int = 0
    contradicted: int = 0
    without_key: int = 0

    @classmethod
    def of(cls, rows: pa.Table, keys: Sequence[str], label: str, time: str | None) -> TrueValues:
        """Of a table of labels.

        Parameters
        ----------
        rows : in any order.
        keys, label, time : its columns.
        """
        batch = Batch.from_arrow(rows.combine_chunks().to_batches()[0]) if len(rows) else None
        values = rows[label].combine_chunks() if len(rows) else pa.array([], rows[label].type)
        types = tuple(rows.schema.field(name).type for name in keys)
        if batch is None:
            none = np.zeros(0, dtype=np.uint64)
            return cls(tuple(keys), types, none, values, none.astype(np.int64))
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        hashes, complete = key_hashes(batch, keys)
        moments = np.full(len(rows), NO_TIME)
        if time is not None:
            moments = microseconds(as_times(batch[time], time))
        codes = values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        chosen = np.flatnonzero(complete)
        order = chosen[np.lexsort((codes[chosen], moments[chosen], hashes[chosen]))]
        last, twice, contradicted = _latest(hashes[order], moments[order], codes[order])
        kept = order[last]
        return cls(
            tuple(keys),
            types,
            hashes[kept],
            values.take(pa.array(kept)),
            moments[kept],
            twice,
            contradicted,
            int((~complete).sum()),
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def find(self, batch: Batch) -> np.ndarray:
        """The place of the label of each row; -1 where there is none."""
        hashes, complete = key_hashes(batch, self.keys)
        places = np.searchsorted(self.hashes, hashes)
        places[places == len(self.hashes)] = 0
        there = (
            complete & (self.hashes[places] == hashes) if len(self.hashes) else np.zeros(len(hashes), bool)
        )
        return np.where(there, places, -1)

    def check_types(self, schema: pa.Schema) -> None:
        """Refuse keys of another type in the predictions: 7 and '7' never meet."""
        for name, kind in zip(self.keys, self.types, strict=True):
            other = schema.field(name).type
            if _family(kind) != _family(other):
                raise SchemaError(
                    f"{name!r} is {other} in the predictions and {kind} in the labels: they never meet. Cast "
                    "one of them."
                )


def _latest(hashes: np.ndarray, times: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Of sorted labels: which count, how many came again, and how many of those with another value."""
    n = len(hashes)
    same_key = hashes[1:] == hashes[:-1]
    differs = same_key & (codes[1:] != codes[:-1])
    is_last = np.append(~same_key, True)[:n]
    # of those at the latest time of a key, all must have one value: the first has that of the last
    starts = np.append(True, ~(same_key & (times[1:] == times[:-1])))[:n]
    first = np.maximum.accumulate(np.where(starts, np.arange(n), 0))
    return (
        np.flatnonzero(is_last & (codes == codes[first])),
        int((same_key & ~differs).sum()),
        int(differs.sum()),
    )


def key_hashes(batch: Batch, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """One hash for the key of each row, and which rows have a whole key.

    Parameters
    ----------
    batch : the rows.
    keys : columns; their order counts.
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    complete = np.ones(batch.num_rows, dtype=bool)
    for name in keys:
        column: Any = batch[name]
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        total = mix(total) + value_hash(column, name)
        complete &= column.is_valid().to_numpy(zero_copy_only=False)
    return total, complete


def _family(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "time" if pa.types.is_temporal(kind) else str(kind)


def check_columns(schema: pa.Schema, names: Sequence[str], what: str) -> None:
    """Refuse a table without some columns.

    Parameters
    ----------
    schema : of the table.
    names : what is needed.
    what : the table, as the message begins.
    """
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise ColumnNotFoundError(f"{what} have no column {missing[0]!r}. They have {schema.names}.")
