"""Words and the numbers that stand for them: of columns in memory, and which of a Parquet file are worth it.

To look for a dictionary among numbers that never come again takes five times as long as to write them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LOOKED_AT, _ENOUGH = 10_000, 100
"""Values that are looked at, and how many say something."""


def repeating(batch: pa.RecordBatch) -> list[str]:
    """The paths, as Parquet calls them, of the columns whose values come again.

    Parameters
    ----------
    batch : the first rows of what is to be written.

    Examples
    --------
    >>> import pyarrow as pa
    >>> batch = pa.record_batch({"id": list(range(1_000)), "size": ["small", "large"] * 500})
    >>> repeating(batch)
    ['size']
    """
    first = batch.slice(0, _LOOKED_AT)
    leaves = (leaf for name in first.schema.names for leaf in _leaves(name, first.column(name)))
    return [path for path, values in leaves if _repeats(values)]


def not_null(column: pa.Array) -> pa.Array:
    """A column without a type, as all its values are missing, as one of text.

    Parameters
    ----------
    column : of any type.
    """
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def places_among(column: pa.Array, values: Sequence[Any], first: int = 0) -> pa.Array:
    """The place of each value among some, NaN for others.

    Parameters
    ----------
    column : of any type, encoded or not.
    values : in the order of their places.
    first : the place of the first of them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> places_among(pa.array(["b", None, "a", "c"]), ["a", "b"], first=1).to_pylist()
    [2.0, nan, 1.0, nan]
    """
    if pa.types.is_null(column.type):
        return pa.array(np.full(len(column), np.nan))
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    places = {value: float(position) for position, value in enumerate(values, start=first)}
    words = encoded.dictionary.to_pylist()
    table = np.array([places.get(word, np.nan) for word in words] + [np.nan])
    return pa.array(table[encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)])


def _leaves(path: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The columns that Parquet makes of one, with their values."""
    kind = column.type
    if pa.types.is_map(kind):
        yield from _leaves(f"{path}.key_value.key", column.keys)
        yield from _leaves(f"{path}.key_value.value", column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(f"{path}.list.element", column.flatten())
    elif pa.types.is_struct(kind):
        for field, values in zip(kind, column.flatten(), strict=True):
            yield from _leaves(f"{path}.{field.name}", values)
    else:
        yield path, column


def _repeats(values: pa.Array) -> bool:
    kind, values = values.type, values.slice(0, _LOOKED_AT)
    known = pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not known or len(values) < _ENOUGH:
        return True
    return 2 * pc.count_distinct(values, mode="all").as_py() <= len(values)
