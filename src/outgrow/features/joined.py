"""Features beside rows, as they were known at the rows' times: on this machine or on Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.kind import is_list
from outgrow.data.matrix import Column, Matrix
from outgrow.data.scan import check_columns
from outgrow.data.source import TableSource
from outgrow.data.spans import microseconds_of
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read
from outgrow.engine.sql import sql
from outgrow.errors import ParameterError, SchemaError
from outgrow.features.as_of import PREFIX, Joined, Spine, as_of_query
from outgrow.features.definitions import FeatureView, Source
from outgrow.features.skew import parts_of_keys
from outgrow.features.windows import AT, Windows

SPLIT_ROWS = 1_000_000
"""A key with more rows is worked on in parts of time."""


def as_of_join(
    rows: Any,
    views: FeatureView | Sequence[FeatureView],
    *,
    time: str = "event_timestamp",
    features: Mapping[str, Sequence[str]] | None = None,
    full_feature_names: bool = False,
    engine: Engine | None = None,
    split_rows: int | None = SPLIT_ROWS,
) -> Dataset:
    """Rows with the features of their keys, as they were known at the time of each row.

    Of each view, the row counts whose event time is the latest of those at or before the row's time that
    were written by then; see `features.Source`. Rows whose key or time is missing, or for whose key nothing
    was known, or only values past the view's `ttl`, have missing values. Of rows with one event time, the one
    written last counts, and of those alike in that too, the one with the greatest values: the same on every
    engine, whatever the order of the rows.

    Parameters
    ----------
    rows : dataset, table or Spark DataFrame with the keys and `time`.
    views : whose features are wanted.
    time : the column of the time for which the values are wanted; those without a time zone are in UTC.
    features : of each view's name, the features that are wanted; all if not given.
    full_feature_names : call them `view__feature`.
    engine : where it runs; where the rows are if not given.
    split_rows : a key with more rows than this is worked on in parts of time, so that the work on one key
        can be shared; None: never. Counting takes a pass.

    Returns
    -------
    Dataset
        The rows and the features, of the types that they have in the rows and the views, but that categories
        are what they hold, and vectors are lists; on this machine in the order of the rows.

    Raises
    ------
    SchemaError
        When columns are missing, keys are of other kinds than those of a view, or names are taken.

    Examples
    --------
    >>> import datetime, pyarrow as pa, outgrow as og
    >>> def day(n): return datetime.datetime(2026, 1, n)
    >>> sales = pa.table({"shop": ["a", "a"], "day": [day(1), day(5)], "sold": [7, 9]})
    >>> source = og.features.Source(sales, timestamp_field="day", delay="1d")
    >>> view = og.FeatureView("sales", [og.features.Entity("shop")], source)
    >>> labels = pa.table({"shop": ["a", "a", "a"], "event_timestamp": [day(1), day(5), day(6)]})
    >>> og.features.as_of_join(labels, view).to_arrow()["sold"].to_pylist()
    [None, 7, 9]
    """
    given = [views] if isinstance(views, FeatureView) else list(views)
    if not given:
        raise ParameterError("views is empty: give at least one FeatureView.")
    spine = dataset(rows)
    where = engine or spine.engine
    check_columns(spine.schema, [time])
    rows_that_ask = listed(spine)
    tables: dict[str, Any] = {"asking": rows_that_ask}
    joins = []
    for number, view in enumerate(given):
        opened = open_view(view, where)
        wanted = (features or {}).get(view.name)
        chosen = list(wanted) if wanted is not None else view.features_of(opened.columns)
        join = _joined(view, f"view_{number}", opened.schema, chosen, full=full_feature_names)
        _check_keys(spine.schema, join, view.name)
        tables[join.table] = opened
        joins.append(join)
    _check_names(spine.columns, joins)
    asking = Spine("asking", rows_that_ask.schema, time, ordered=where.name == "local")
    hot = None
    if split_rows is not None and _rows_at_least(tables) > split_rows:
        hot = parts_of_keys(asking, joins, tables, where, split_rows)
    parts = {keys: f"parts_{number}" for number, keys in enumerate(hot or ())}
    tables |= {parts[keys]: table for keys, table in (hot or {}).items()}
    came = {field.name: lasting(field.type) for field in rows_that_ask.schema}
    for join in joins:
        came |= {new: lasting(join.columns.field(name).type) for name, new in join.features.items()}
    return _as_they_came(sql(as_of_query(asking, joins, parts), tables, engine=where), came)


def open_source(source: Source, engine: Engine) -> Dataset:
    """The rows of a source, lazily.

    Parameters
    ----------
    source : where they are.
    engine : where the work is done.
    """
    rows = listed(read(source.data, engine=engine) if isinstance(source.data, str) else dataset(source.data))
    if source.query is None:
        return rows
    return listed(sql(source.query, {"rows": rows, **source.tables}, engine=engine))


def listed(rows: Dataset) -> Dataset:
    """Rows whose vectors are lists: to SQL, a dataset's vectors are columns, one for each number."""
    names = [field.name for field in rows.schema if pa.types.is_fixed_size_list(field.type)]
    return rows.map(partial(_listed, names=names)) if names else rows


def lasting(kind: pa.DataType) -> pa.DataType:
    """The type that values have behind a query: categories are what they hold, and lists are plain ones."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return pa.list_(kind.value_type) if is_list(kind) else kind


def open_view(view: FeatureView, engine: Engine) -> Dataset:
    """The rows of a view, lazily: those of its source, or of aggregations what holds from when on.

    Parameters
    ----------
    view : the definition.
    engine : where the work is done.
    """
    rows = open_source(view.source, engine)
    if not view.aggregations:
        return rows
    check_columns(rows.schema, [*view.keys, *view.source.times, *view.inputs])
    inputs = {name: rows.schema.field(name).type for name in view.inputs}
    for aggregation in view.aggregations:
        aggregation.type_of(inputs)
    return sql(Windows(view, inputs).changes(rows.schema), {"rows": rows}, engine=engine)


def _listed(batch: Batch, names: Sequence[str]) -> Batch:
    return batch.with_columns({name: _lists(batch[name]) for name in names})


def _lists(vectors: Column) -> pa.Array:
    if not isinstance(vectors, Matrix):
        return vectors.cast(pa.list_(vectors.type.value_type))
    ends = np.arange(len(vectors) + 1, dtype=np.int32) * np.int32(vectors.width)
    return pa.ListArray.from_arrays(ends, pa.array(np.asarray(vectors.values).ravel()))


def _as_they_came(rows: Dataset, came: Mapping[str, pa.DataType]) -> Dataset:
    """Rows with the types of before a query, which has one time zone, and fewer units of time."""
    made = {field.name: field.type for field in rows.schema}
    changed = {name: kind for name, kind in came.items() if made[name] != kind and _casts(made[name], kind)}
    return rows.map(partial(_cast, kinds=changed)) if changed else rows


def _casts(made: pa.DataType, wanted: pa.DataType) -> bool:
    try:
        return bool(pa.array([], made).cast(wanted).type == wanted)
    except pa.ArrowException:
        return False


def _cast(batch: Batch, kinds: Mapping[str, pa.DataType]) -> Batch:
    columns: dict[str, Any] = {name: batch[name] for name in kinds}
    return batch.with_columns({name: column.cast(kinds[name]) for name, column in columns.items()})


def _joined(
    view: FeatureView, table: str, columns: pa.Schema, wanted: Sequence[str], *, full: bool
) -> Joined:
    source = view.source
    features = {name: f"{view.name}__{name}" if full else name for name in wanted}
    if view.aggregations:
        check_columns(columns, wanted)
        return Joined(table, columns, view.keys, features, AT)
    check_columns(columns, [*view.keys, *source.times, *wanted])
    return Joined(
        table=table,
        columns=columns,
        keys=view.keys,
        features=features,
        time=source.timestamp_field,
        created=source.created_timestamp_column,
        delay=microseconds_of(source.delay, "delay"),
        ttl=view.ttl_microseconds,
    )


def _check_keys(asking: pa.Schema, view: Joined, name: str) -> None:
    check_columns(asking, view.keys)
    for key in view.keys:
        ours, theirs = asking.field(key).type, view.columns.field(key).type
        if _kind(theirs) == "float":
            raise SchemaError(
                f"View {name!r}: the key {key!r} is of type {theirs}. Cast it to whole numbers."
            )
        numbers = _kind(theirs) == "whole" and _kind(ours) == "float"
        if _kind(ours) != _kind(theirs) and not numbers and not pa.types.is_null(ours):
            raise SchemaError(
                f"The key {key!r} is of type {ours} in the rows and of type {theirs} in view {name!r}; none "
                "would be the same. Cast one of them."
            )


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return "whole"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return str(kind)


def _check_names(columns: Sequence[str], views: Sequence[Joined]) -> None:
    alike = [name for name in columns if name.startswith(PREFIX)]
    if alike:
        raise SchemaError(f"Columns {alike} begin like those of the join itself. Rename them.")
    taken = {name.casefold() for name in columns}
    for view in views:
        for name in view.features.values():
            if name.casefold() in taken:
                raise SchemaError(
                    f"The feature {name!r} has the name of another column. Say full_feature_names=True, "
                    "rename it, or leave it out."
                )
            taken.add(name.casefold())


def _rows_at_least(tables: Mapping[str, Dataset]) -> float:
    """How many rows there are where that is known at once; else it may be any number."""
    sources = [table.scan.source for table in tables.values()]
    if all(isinstance(source, TableSource) for source in sources):
        return sum(source.table.num_rows for source in sources if isinstance(source, TableSource))
    return float("inf")
