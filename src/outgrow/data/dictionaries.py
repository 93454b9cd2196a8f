"""Which columns of a Parquet file are worth a dictionary: to look for one among numbers that never come again
takes five times as long as to write them."""

from __future__ import annotations

from collections.abc import Iterator

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
