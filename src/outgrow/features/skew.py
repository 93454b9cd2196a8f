"""Keys with very many rows: which they are, and the parts of time in which they are worked on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.engine.protocol import Engine
from outgrow.engine.sql import sql
from outgrow.features.as_of import PREFIX, Joined, Spine, key_kind, key_value, micros, own, quoted

_MOST_PARTS = 256


def parts_of_keys(
    spine: Spine, views: Sequence[Joined], tables: Mapping[str, Any], engine: Engine, split_rows: int
) -> dict[tuple[str, ...], pa.Table]:
    """The parts of keys that have more rows than `split_rows`, by the columns of the key.

    Parameters
    ----------
    spine, views, tables : of the join.
    engine : where rows are counted.
    split_rows : parts have about half as many.

    Returns
    -------
    For keys of which some have so many, a row for each of their parts: the key, `part`, `parts`, and `start`
    and `width` of the parts in microseconds.
    """
    parts = {}
    for keys in dict.fromkeys(view.keys for view in views):
        group = [view for view in views if view.keys == keys]
        query = _counts(spine, keys, group, split_rows)
        named = {view.table for view in group} | {spine.table}
        counts = sql(query, {name: tables[name] for name in named}, engine=engine).to_arrow()
        if counts.num_rows:
            parts[keys] = _parts(counts, len(keys), split_rows)
    return parts


def _counts(spine: Spine, keys: Sequence[str], views: Sequence[Joined], split_rows: int) -> str:
    wanted = [key_kind(views, key) for key in keys]
    parts = []
    for table, columns, time in (
        (spine.table, spine.columns, spine.time),
        *((view.table, view.columns, view.time) for view in views),
    ):
        named = ", ".join(
            f"{key_value(key, columns.field(key).type, kind)} AS {own(f'key_{at}')}"
            for at, (key, kind) in enumerate(zip(keys, wanted, strict=True))
        )
        moment = micros(time, columns.field(time).type)
        parts.append(f"SELECT {named}, {moment} AS moment FROM {quoted(table)}")
    names = [own(f"key_{at}") for at in range(len(keys))]
    there = " AND ".join(f"{name} IS NOT NULL" for name in [*names, "moment"])
    return (
        f"SELECT {', '.join(names)}, COUNT(*) AS n, MIN(moment) AS low, MAX(moment) AS high "
        f"FROM ({' UNION ALL '.join(parts)}) AS rows WHERE {there} "
        f"GROUP BY {', '.join(names)} HAVING COUNT(*) > {split_rows}"
    )


def _parts(counts: pa.Table, keys: int, split_rows: int) -> pa.Table:
    rows: list[tuple[int, int, int, int, int]] = []
    facts = (counts[name].to_pylist() for name in ("n", "low", "high"))
    for at, (n, low, high) in enumerate(zip(*facts, strict=True)):
        parts = min(_MOST_PARTS, -(-2 * n // max(1, split_rows)))
        width = max(1, -(-(high - low + 1) // parts))
        rows += [(at, part, parts, low, width) for part in range(parts)]
    index, *values = map(pa.array, zip(*rows, strict=True))
    names = [f"{PREFIX}key_{at}" for at in range(keys)]
    columns = {name: pc.take(counts[name], index) for name in names}
    return pa.table({**columns, **dict(zip(("part", "parts", "start", "width"), values, strict=True))})
