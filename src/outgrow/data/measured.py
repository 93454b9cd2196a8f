"""What is counted of a column of any type: numbers, categories, or only whether there is a value.

Numbers are integers, floats, booleans and decimals (the float64 nearest to each), dates and times
(microseconds since 1970, in UTC), times of day and durations (microseconds). Categories are text and
dictionaries of anything. A list is counted by its length and by its items, a vector by its numbers, bytes by
how many they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.exact import microseconds
from outgrow.data.kind import Kind, is_list, is_time
from outgrow.data.matrix import Matrix, numbers

WIDEST_VECTOR = 1_000
"""Vectors of more numbers are counted by how many of these are not zero."""
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}

Sort = Literal["number", "category", "presence"]


@dataclass(frozen=True)
class Measure:
    """Something that is counted of a column.

    Attributes
    ----------
    name : what it is called; the column's name where it is the column itself.
    column : of the rows.
    part : '' for the column itself, else 'length', 'items', 'bytes', 'nonzero', or the name of a number of a
        vector.
    sort : 'number', 'category', or 'presence' where only missing values are counted.
    type : of the values, as Arrow calls it.
    """

    name: str
    column: str
    part: str
    sort: Sort
    type: str


def measures(example: Batch) -> list[Measure]:
    """What is counted of the columns of a batch, in their order.

    Parameters
    ----------
    example : a batch with those columns; its rows do not count.
    """
    return [measure for name, column in example.columns.items() for measure in _measures(name, column)]


def _measures(name: str, column: Any) -> Iterator[Measure]:
    if isinstance(column, Matrix):
        if column.width > WIDEST_VECTOR:
            yield Measure(f"nonzero of {name}", name, "nonzero", "number", "int64")
        else:
            yield from (Measure(str(part), name, str(part), "number", "double") for part in column.names)
        return
    kind = column.type
    if is_list(kind):
        yield Measure(f"length of {name}", name, "length", "number", "int64")
        if (sort := _sort(kind.value_type)) != "presence":
            yield Measure(f"items of {name}", name, "items", sort, str(kind.value_type))
    elif pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        yield Measure(f"bytes of {name}", name, "bytes", "number", "int64")
    else:
        yield Measure(name, name, "", _sort(kind), str(kind))


def _sort(kind: pa.DataType) -> Sort:
    types = pa.types
    if is_categorical(kind) or types.is_null(kind):
        return "category"
    if is_numeric(kind) or is_time(kind) or types.is_time(kind) or types.is_duration(kind):
        return "number"
    return "presence"


def number_values(batch: Batch, measure: Measure) -> np.ndarray:
    """The numbers of a measure as float64, NaN for missing ones.

    Parameters
    ----------
    batch : the rows.
    measure : of the sort 'number'.

    Returns
    -------
    Shape (rows,), or (items,) for the items of lists.
    """
    column = batch[measure.column]
    if isinstance(column, Matrix):
        return _of_vectors(column, measure.part)
    if measure.part == "length":
        column = pc.list_value_length(column)
    elif measure.part == "bytes":
        column = pc.binary_length(column)
    elif measure.part == "items":
        column = pc.list_flatten(column)
    kind = column.type
    if is_time(kind):
        column = microseconds(column, measure.column)
    elif pa.types.is_time(kind) or pa.types.is_duration(kind):
        column = _micros_of_spans(column)
    return np.asarray(numbers(column), dtype=np.float64)


def _of_vectors(column: Matrix, part: str) -> np.ndarray:
    if part == "nonzero":
        stored = column.values
        counts = (stored != 0).sum(axis=1) if column.sparse else np.count_nonzero(stored, axis=1)
        return np.asarray(counts, dtype=np.float64).ravel()
    index = list(map(str, column.names)).index(part)
    values = column.values[:, [index]].toarray() if column.sparse else column.values[:, index]
    return np.asarray(values, dtype=np.float64).ravel()


def _micros_of_spans(column: pa.Array) -> pa.Array:
    unit = column.type.unit
    whole = column.cast(pa.int32() if pa.types.is_time32(column.type) else pa.int64())
    if unit == "ns":
        return pc.floor(pc.divide(whole.cast(pa.float64()), 1000.0))
    return pc.multiply(whole.cast(pa.float64()), float(_MICROSECONDS[unit]))


def words_of(batch: Batch, measure: Measure) -> tuple[pa.Array, np.ndarray, int]:
    """The texts of a measure, how often each occurs, and how many values are missing.

    Parameters
    ----------
    batch : the rows.
    measure : of the sort 'category'.

    Returns
    -------
    Texts, each once (but for those of equal spelling in a dictionary); int64 of as many; and a number.
    """
    column = _categories(batch, measure)
    codes = column.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(column.dictionary)).astype(np.int64)
    words = column.dictionary
    if len(words) > 1_000 and not counts.all():  # a dictionary may be of a whole file
        used = np.flatnonzero(counts)
        words, counts = words.take(pa.array(used)), counts[used]
    return words.cast(pa.string()), counts, len(column) - len(codes)


def word_codes(batch: Batch, measure: Measure) -> tuple[pa.Array, np.ndarray]:
    """The texts of a measure, and for each value which of them it is, -1 where it is missing.

    Parameters
    ----------
    batch : the rows.
    measure : of the sort 'category'.
    """
    column = _categories(batch, measure)
    codes = column.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return column.dictionary.cast(pa.string()), codes


def as_words(batch: Batch, name: str) -> tuple[pa.Array, np.ndarray]:
    """A column of any type as texts, and for each row which of them it is, -1 where it is missing.

    Parameters
    ----------
    batch : the rows.
    name : of a column of numbers, booleans, text, dates or times.
    """
    column: Any = batch[name]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = column.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return column.dictionary.cast(pa.string()), codes


def _categories(batch: Batch, measure: Measure) -> pa.DictionaryArray:
    column: Any = batch[measure.column]
    if measure.part == "items":
        column = pc.list_flatten(column)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def missing_values(batch: Batch, measure: Measure) -> int:
    """How many values of a measure are missing; of lists, how many lists.

    Parameters
    ----------
    batch : the rows.
    measure : of the sort 'presence'.
    """
    column: Any = batch[measure.column]
    return int(column.null_count)


def kinds_by_column(example: Batch) -> dict[str, str]:
    """The kind of each column of a batch, by name."""
    types = {
        name: Kind.vector(column.width) if isinstance(column, Matrix) else Kind.of(column.type)
        for name, column in example.columns.items()
    }
    return {name: str(kind) for name, kind in types.items()}
