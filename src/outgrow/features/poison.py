"""Rows as they would be had the future been another: without it, or with other values in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.kind import is_time
from outgrow.data.scan import check_columns
from outgrow.errors import SchemaError

LARGE = 1e9


def moments_of(table: pa.Table, name: str) -> np.ndarray:
    """A column of times in microseconds since 1970; missing ones come last.

    Parameters
    ----------
    table : the rows.
    name : of the column.

    Raises
    ------
    SchemaError
        When it holds no times.
    """
    check_columns(table.schema, [name])
    column = table[name]
    if not is_time(column.type):
        raise SchemaError(f"Column {name!r} is of type {column.type}; dates or times are needed. Cast it.")
    whole = column.cast(pa.timestamp("us")) if pa.types.is_date(column.type) else column
    if pa.types.is_timestamp(whole.type) and whole.type.unit != "us":
        whole = whole.cast(pa.timestamp("us", whole.type.tz), safe=False)
    ticks = whole.cast(pa.int64())
    return np.asarray(pc.fill_null(ticks, np.iinfo(np.int64).max).to_numpy(zero_copy_only=False))


def is_later(table: pa.Table, times: Sequence[str], moment: int, delay: int = 0) -> np.ndarray:
    """Which rows were not known at a moment: one of their times, and the delay, lies behind it.

    Parameters
    ----------
    table : the rows.
    times : the columns that say when.
    moment, delay : microseconds.
    """
    late = np.zeros(table.num_rows, bool)
    for name in times:
        late |= moments_of(table, name) > moment - delay
    return late


def poisoned(table: pa.Table, late: np.ndarray, kept: Collection[str]) -> pa.Table:
    """Rows in which the values of some are others: numbers far away, text and truth values turned round.

    Parameters
    ----------
    table : the rows.
    late : which of them change.
    kept : the columns that stay, such as keys and times.
    """
    mask = pa.array(late)
    for at, field in enumerate(table.schema):
        if field.name in kept:
            continue
        other = _other(field.type)
        if other is not None:
            values = pc.if_else(mask, pa.scalar(other, field.type), table.column(at))
            table = table.set_column(at, field, values)
    return table


def _other(kind: pa.DataType) -> Any:
    if pa.types.is_floating(kind):
        return LARGE if kind != pa.float16() else 6e4
    if pa.types.is_integer(kind):
        return 2 ** (kind.bit_width - 1) // 2 - 7
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "\U0010ffffpoison"
    return None
