"""The newest row of each key, as it was known at a moment: what is written to an online store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.schema_file import arrow_type
from outgrow.data.spans import microseconds_of
from outgrow.engine.dataset import Dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.sql import sql
from outgrow.errors import SchemaError
from outgrow.features.as_of import has_order, micros, own, quoted
from outgrow.features.definitions import FeatureView
from outgrow.features.joined import lasting, open_source
from outgrow.features.online.codec import KeyCodec, RowCodec
from outgrow.features.online.entries import NEVER, EntryCodec
from outgrow.features.online.store import OnlineStore
from outgrow.features.pushed import pushed_rows
from outgrow.features.windows import Windows
from outgrow.features.written import AppliedView

_BATCH_ROWS = 100_000


def write_newest(
    online: OnlineStore, applied: AppliedView, engine: Engine, since: int | None, end: int, now: int
) -> int:
    """Write what a join as of `end` would take of each key for servers; how many keys.

    Parameters
    ----------
    online : where.
    applied : the view.
    engine : where the work is done.
    since : keys of which nothing was known only later are left out; None: none are.
    end, now : microseconds since 1970.
    """
    name = applied.view.name
    if not applied.view.aggregations:
        return online.put(name, _encoded(applied, newest_rows(applied, engine, since, end)))
    rows = open_source(applied.view.source, engine)
    windows = Windows(applied.view, applied.inputs)
    codec = EntryCodec(windows, applied.keys)
    entries = sql(windows.entries(rows.schema, since, end), {"rows": rows}, engine=engine)
    pairs = codec.encode(entries.to_batches(), end)
    return online.merge(name, pairs, partial(codec.merged, now=min(end, now)))


def write_pushed(online: OnlineStore, applied: AppliedView, rows: pa.Table, now: int, tag: int) -> int:
    """Write rows that came just now for servers; how many of them, or of keys with aggregations.

    Parameters
    ----------
    online : where.
    applied : the view.
    rows : with its keys, features and times; without the column of the time of writing, that is `now`.
    now : microseconds since 1970.
    tag : of the batch; 0 for none.

    Raises
    ------
    ColumnNotFoundError, SchemaError, DataError
        See `pushed.pushed_rows`; nothing is written.
    """
    name = applied.view.name
    if not rows.num_rows:
        return 0
    rows = pushed_rows(applied, rows, now)
    if not applied.view.aggregations:
        return online.put(name, _pushed(applied, rows, now))
    windows = Windows(applied.view, applied.inputs)
    codec = EntryCodec(windows, applied.keys)
    entries = sql(windows.pushed(rows.schema, now), {"rows": rows}).to_batches()
    return online.merge(name, codec.encode(entries, NEVER, tag), partial(codec.merged, now=now))


def newest_rows(applied: AppliedView, engine: Engine, start: int | None, end: int) -> Dataset:
    """The row of each key that a join as of `end` would take, of those known after `start`.

    Parameters
    ----------
    applied : the view.
    engine : where the work is done.
    start : rows known up to then are left out; None: none are.
    end : microseconds since 1970, as `start`.
    """
    rows = open_source(applied.view.source, engine)
    return sql(_query(applied, rows.schema, start, end), {"rows": rows}, engine=engine)


def _query(applied: AppliedView, columns: pa.Schema, start: int | None, end: int) -> str:
    view, source = applied.view, applied.view.source
    event = micros(source.timestamp_field, columns.field(source.timestamp_field).type)
    created = source.created_timestamp_column
    known = event if created is None else micros(created, columns.field(created).type)
    delay = microseconds_of(source.delay, "delay")
    features = ", ".join(map(quoted, applied.features))
    keys = ", ".join(map(quoted, view.keys))
    chosen = f"SELECT {keys}, {features}, {event} AS {own('event')}, {known} AS {own('known')} FROM rows"
    moment = f"GREATEST({own('event')}, {own('known')}) + {delay}"
    there = [f"{quoted(key)} IS NOT NULL" for key in view.keys]
    there += [f"{own('event')} IS NOT NULL", f"{own('known')} IS NOT NULL", f"{moment} <= {end}"]
    if start is not None:
        there.append(f"{moment} > {start}")
    ordered = [quoted(name) for name, kind in applied.features.items() if has_order(kind)]
    order = ", ".join(f"{name} DESC NULLS LAST" for name in [own("event"), own("known"), *ordered])
    number = f"ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}) AS {own('number')}"
    return (
        f"SELECT {keys}, {features}, {own('event')}, {own('known')} FROM (SELECT *, {number} "
        f"FROM ({chosen}) AS chosen WHERE {' AND '.join(there)}) AS numbered WHERE {own('number')} = 1"
    )


def _encoded(applied: AppliedView, rows: Dataset) -> Iterator[tuple[bytes, bytes]]:
    """Keys and rows as bytes, by and by.

    Parameters
    ----------
    applied : the view.
    rows : what `newest_rows` gave.
    """
    keys, codec = KeyCodec(applied.keys), RowCodec(applied.features)
    for batch in rows.to_batches():
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            part = pa.Table.from_batches([batch.slice(start, _BATCH_ROWS)])
            yield from _pairs(part, keys, codec)


def _pushed(applied: AppliedView, rows: pa.Table, now: int) -> list[tuple[bytes, bytes]]:
    """Keys and rows as bytes, of rows that came just now; those without key or time are left out.

    Parameters
    ----------
    applied : the view.
    rows : with its keys, features and times; without the column of the time of writing, that is `now`.
    now : microseconds since 1970.
    """
    source = applied.view.source
    created = source.created_timestamp_column
    event = micros(source.timestamp_field, rows.schema.field(source.timestamp_field).type)
    if created is None:
        known = event
    elif created in rows.column_names:
        known = f"COALESCE({micros(created, rows.schema.field(created).type)}, {now})"
    else:
        known = str(now)
    features = ", ".join(map(quoted, applied.features))
    keys = ", ".join(map(quoted, applied.view.keys))
    query = f"SELECT {keys}, {features}, {event} AS {own('event')}, {known} AS {own('known')} FROM rows"
    there = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in applied.view.keys)
    table = sql(
        f"SELECT * FROM ({query}) AS rows WHERE {there} AND {own('event')} IS NOT NULL", {"rows": rows}
    )
    pairs = list(_pairs(table.to_arrow(), KeyCodec(applied.keys), RowCodec(applied.features)))
    return sorted(pairs, key=lambda pair: pair[1][:16])


def _pairs(table: pa.Table, keys: KeyCodec, codec: RowCodec) -> Iterator[tuple[bytes, bytes]]:
    event, known = (np.asarray(table[name[1:-1]].combine_chunks()) for name in (own("event"), own("known")))
    named = keys.encode({name: table[name] for name in keys.columns})
    pairs: Any = zip(named, codec.encode(table, event, known), strict=True)
    return iter(sorted(pairs))


def checked_types(view: FeatureView, engine: Engine) -> AppliedView:
    """A view with the types of its columns.

    Parameters
    ----------
    view : the definition; its source is opened.
    engine : where.

    Raises
    ------
    SchemaError
        When columns are missing, or of types that cannot be served.
    """
    columns = open_source(view.source, engine).schema
    names = view.features_of(columns.names)
    needed = view.inputs if view.aggregations else names
    missing = [name for name in (*view.keys, *view.source.times, *needed) if name not in columns.names]
    if missing:
        raise SchemaError(
            f"The source of view {view.name!r} has no columns {missing}; it has {columns.names}."
        )
    for name in view.source.times:
        micros(name, columns.field(name).type)
    kinds = {name: lasting(columns.field(name).type) for name in (*view.keys, *needed)}
    made = {aggregation.name: aggregation.type_of(kinds) for aggregation in view.aggregations}
    applied = AppliedView(
        view,
        {key: kinds[key] for key in view.keys},
        made or {name: kinds[name] for name in names},
        {name: kinds[name] for name in view.inputs},
    )
    KeyCodec(applied.keys)
    RowCodec(applied.features)
    _check_written(applied)
    return applied


def _check_written(applied: AppliedView) -> None:
    """Refuse types of which nobody could read what the registry says."""
    for name, kind in {**applied.keys, **applied.features, **applied.inputs}.items():
        try:
            assert arrow_type(str(kind))
        except ValueError:
            raise SchemaError(
                f"View {applied.view.name!r}: the column {name!r} is of type {kind}, which cannot be written "
                "down. Cast it in the query of the source."
            ) from None
