"""Rows that came just now, checked against their view before any of them is written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.kind import is_list
from outgrow.data.spans import length_of, microseconds_of
from outgrow.errors import ColumnNotFoundError, DataError
from outgrow.features.as_of import micros
from outgrow.features.poison import moments_of
from outgrow.features.written import AppliedView

AHEAD = 60 * 10**6
"""How far clocks may be apart, in microseconds."""


def pushed_rows(applied: AppliedView, rows: pa.Table, now: int) -> pa.Table:
    """Rows in the types of their view.

    Parameters
    ----------
    applied : the view.
    rows : with its keys, features and times; the column of the time of writing may be left out.
    now : microseconds since 1970.

    Raises
    ------
    ColumnNotFoundError
        When columns are missing.
    SchemaError
        When a column of times holds none.
    DataError
        When values are of other types than in the view, or a training row of this moment would not see a row.
    """
    view, source = applied.view, applied.view.source
    kinds = applied.inputs if view.aggregations else applied.features
    needed = [*view.keys, source.timestamp_field, *kinds]
    missing = [name for name in dict.fromkeys(needed) if name not in rows.column_names]
    if missing:
        raise ColumnNotFoundError(
            f"Rows pushed to view {view.name!r} have no columns {missing}; they have {rows.column_names}. "
            "Give keys, times and features."
        )
    times = [name for name in source.times if name in rows.column_names]
    taken = {name: rows[name] for name in [*view.keys, *times]}
    for name in times:
        if pa.types.is_null(rows[name].type):
            taken[name] = rows[name].cast(pa.timestamp("us"))
        micros(name, taken[name].type)
    for name, kind in kinds.items():
        if name not in taken:
            taken[name] = _as_kind(rows[name], kind, name, view.name)
    checked = pa.table(taken)
    _check_known(applied, checked, now)
    return checked


def _as_kind(column: pa.ChunkedArray, kind: pa.DataType, name: str, view: str) -> pa.ChunkedArray:
    given = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        if not pa.types.is_null(given) and _family(given) != _family(kind):
            raise pa.ArrowInvalid(f"it holds {given}")
        return column.cast(kind)
    except pa.ArrowException as error:
        raise DataError(
            f"The column {name!r} of view {view!r} is of type {kind}, and of the pushed rows: {error}. "
            "Give values of that type."
        ) from None


def _family(kind: pa.DataType) -> str:
    """Types between which values are cast and not read anew, as numbers would be from text."""
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "moment"
    if is_list(kind):
        return f"list of {_family(kind.value_type)}"
    for family, belongs in (("time", types.is_time), ("duration", types.is_duration)):
        if belongs(kind):
            return family
    return str(kind).removeprefix("large_")


def _check_known(applied: AppliedView, rows: pa.Table, now: int) -> None:
    """Refuse rows that are not known yet: servers would know more than training rows of this moment."""
    view, source = applied.view, applied.view.source
    # the entries of windows wait for the delay by themselves
    delay = 0 if view.aggregations else microseconds_of(source.delay, "delay")
    there = np.asarray(rows[source.timestamp_field].is_valid())
    for name in source.times:
        moments = moments_of(rows, name) if name in rows.column_names else np.full(rows.num_rows, now)
        if name in rows.column_names:
            moments = np.where(np.asarray(rows[name].is_valid()), moments, now)
        late = np.flatnonzero(there & (moments > now + AHEAD - delay))
        if len(late):
            first = int(late[0])
            wait = f", and can be used {length_of(delay)} later" if delay else ""
            raise DataError(
                f"Row {first} pushed to view {view.name!r} has {name}={_shown(int(moments[first]))}{wait}; "
                f"now it is {_shown(now)}. Push rows once they are known; times without a zone are in UTC."
            )


def _shown(moment: int) -> str:
    return f"{pc.cast(pa.scalar(moment, pa.int64()), pa.timestamp('us'))} UTC"
