"""Labels by key: true values that come later, twice, contradict each other, or were never asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.hashing import mix, value_hash
from outgrow.data.spans import as_times, microseconds
from outgrow.errors import ColumnNotFoundError, DataError, SchemaError
from outgrow.stats.state import State

NO_TIME = np.iinfo(np.int64).min
MOST_STRANGERS = 0.25
"""From this share of the labels on, those of no known class are the known classes, written another way."""
_FEW_STRANGERS, _MOST_NAMED = 10, 10


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


def class_places(values: Any, classes: Sequence[Any]) -> np.ndarray:
    """The place of the class of each value among the classes, -1 for a stranger.

    It is the one rule by which a label is a class. `True`, `true` and a boolean are one class, and so are 1,
    1.0 and '1'; a boolean among numbers is 1 or 0. A class that is written just as the value goes first, and
    one that could be meant by several others is none of them.

    Parameters
    ----------
    values : an Arrow array, or chunks of one.
    classes : values, or their texts.

    Examples
    --------
    >>> import pyarrow as pa
    >>> class_places(pa.array([True, False, None]), ["False", "True"]).tolist()
    [1, 0, -1]
    >>> class_places(pa.array(["1.0", "2", "yes"]), [1, 2]).tolist()
    [0, 1, -1]
    """
    known = [class_text(value) for value in classes]
    texts = texts_of_labels(values)
    places = np.array(pc.index_in(texts, pa.array(known, pa.string())).fill_null(-1))
    strange = (places < 0) & texts.is_valid().to_numpy(zero_copy_only=False)
    if strange.any():
        meant: dict[Decimal | str, list[int]] = {}
        for code, text in enumerate(known):
            meant.setdefault(_meaning(text), []).append(code)
        only = {meaning: codes[0] for meaning, codes in meant.items() if len(codes) == 1}
        others = texts.filter(pa.array(strange)).dictionary_encode()
        others_meant = [only.get(_meaning(text), -1) for text in others.dictionary.to_pylist()]
        places[strange] = np.array(others_meant)[others.indices.to_numpy()]
    return places


def class_text(value: Any) -> str:
    """A class as Arrow writes it as text."""
    return str(pa.scalar(value).cast(pa.string()).as_py())


def texts_of_labels(values: Any) -> pa.Array:
    """Labels as Arrow writes them as text.

    Parameters
    ----------
    values : an Arrow array, or chunks of one.
    """
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return (whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole).cast(pa.string())


def strangers(values: Any, places: np.ndarray, classes: Sequence[Any]) -> str | None:
    """The labels of no known class, counted and named; None where there are none.

    Parameters
    ----------
    values : the labels. Missing ones, and NaN, are no strangers.
    places : of their classes, as `class_places` gives them.
    classes : the known ones.

    Raises
    ------
    DataError
        When no label is of a known class, or so many are not that they must be written another way: what
        would be measured then is how they are written.
    """
    strange = places < 0
    if not strange.any():
        return None
    texts = texts_of_labels(values)
    there = texts.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type):
        there &= ~np.isnan(values.to_numpy(zero_copy_only=False))
    strange &= there
    count, total = int(strange.sum()), int(there.sum())
    if not count:
        return None
    refused = count == total or (count >= _FEW_STRANGERS and count >= MOST_STRANGERS * total)
    shown = texts.filter(pa.array(there if refused else strange))
    fact = (
        f"{count:,} of {total:,} labels are of no known class: labels {named_classes(shown)}, classes "
        f"{named_classes(pa.array([class_text(value) for value in classes], pa.string()))}."
    )
    if refused:
        raise DataError(f"{fact} Write the labels as the classes are written.")
    return fact


def named_classes(texts: pa.Array) -> str:
    """Some different texts, as an error names them.

    Parameters
    ----------
    texts : without missing ones.
    """
    different = sorted(pc.unique(texts).to_pylist())
    more = f" and {len(different) - _MOST_NAMED:,} more" if len(different) > _MOST_NAMED else ""
    return f"{different[:_MOST_NAMED]}{more}"


def _meaning(text: str) -> Decimal | str:
    """What a class is, however it is written: equal numbers are equal, and truth is 1."""
    word = text.lower()
    if word in ("true", "false"):
        return Decimal(word == "true")
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if number.is_finite() and "_" not in text else text
