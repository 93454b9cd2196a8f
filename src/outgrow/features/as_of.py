"""Point-in-time joins in SQL, one text for DuckDB and Spark.

Rows that ask and rows of features lie in one list by time, key by key; each row that asks gets the last row
of features before it. Of the two clocks, a row of features lies where it is first known and holds: at the
later of its event time and the time it was written. One that came late, behind another with a later event
time, is left out: whenever it is known, the other is known too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from outgrow.data.kind import is_list
from outgrow.errors import SchemaError

PREFIX = "__outgrow_"
"""How columns begin that are the join's own."""
_FIRST = "CAST(-9000000000000000000 AS BIGINT)"
"""Before all times."""


@dataclass(frozen=True)
class Joined:
    """A view in a join.

    Attributes
    ----------
    table : its name in the query.
    columns : of its rows.
    keys : the columns of its key.
    features : the columns that are wanted, each with its new name.
    time : the column of the event time.
    created : that of the time at which a row was written.
    delay, ttl : microseconds.
    """

    table: str
    columns: pa.Schema
    keys: tuple[str, ...]
    features: Mapping[str, str]
    time: str
    created: str | None = None
    delay: int = 0
    ttl: int | None = None


@dataclass(frozen=True)
class Spine:
    """The rows that ask.

    Attributes
    ----------
    table : its name in the query.
    columns : of its rows.
    time : the column that says of which time the values are wanted.
    ordered : whether the rows come back in their order.
    """

    table: str
    columns: pa.Schema
    time: str
    ordered: bool = False


@dataclass
class Query:
    """A query that is written step by step."""

    parts: list[str] = field(default_factory=list)

    def add(self, name: str, text: str) -> str:
        """A step under a name, which is given back.

        Parameters
        ----------
        name : of the step.
        text : its SELECT.
        """
        self.parts.append(f"{name} AS ({text})")
        return name

    def select(self, text: str) -> str:
        """The whole text, ending in a SELECT."""
        return f"WITH {', '.join(self.parts)} {text}"


def quoted(name: str) -> str:
    """A name in SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def own(name: str) -> str:
    """A column of the join's own, in SQL."""
    return quoted(PREFIX + name)


def micros(name: str, kind: pa.DataType) -> str:
    """A time in SQL as microseconds since 1970; dates at midnight, those without a time zone in UTC.

    Columns of the join's own are that already.

    Parameters
    ----------
    name : of the column.
    kind : its type.

    Raises
    ------
    SchemaError
        When it holds no times.
    """
    if name.startswith(PREFIX):
        return quoted(name)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return f"EPOCH_US(CAST({quoted(name)} AS TIMESTAMPTZ))"  # of nanoseconds, DuckDB tells no epoch
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return f"EPOCH_US(CAST({quoted(name)} AS TIMESTAMP))"
    raise SchemaError(
        f"Column {name!r} is of type {kind}, and the join needs dates or times. Cast it; seconds since 1970 "
        f'become times by the query SELECT * REPLACE (to_timestamp("{name}") AS "{name}") FROM rows.'
    )


def as_of_query(
    spine: Spine, views: Sequence[Joined], hot: Mapping[tuple[str, ...], str] | None = None
) -> str:
    """The SELECT that puts features beside the rows that ask.

    Parameters
    ----------
    spine : the rows that ask.
    views : the features, in the order of the new columns.
    hot : for keys of which some have very many rows, the name of a table of parts; see `skew`.
    """
    query = Query()
    order = f"ROW_NUMBER() OVER () AS {own('row')}, " if spine.ordered else ""
    asking = query.add(f"{PREFIX}asking", f"SELECT {order}* FROM {quoted(spine.table)}")
    names = [*([PREFIX + "row"] if spine.ordered else []), *spine.columns.names]
    for number, (keys, group) in enumerate(_by_keys(views)):
        join = _GroupJoin(query, number, spine, keys, group, (hot or {}).get(keys))
        asking = join.write(asking, names)
        names += [new for view in group for new in view.features.values()]
    wanted = [*spine.columns.names, *(new for view in views for new in view.features.values())]
    ordered = f" ORDER BY {own('row')}" if spine.ordered else ""
    return query.select(f"SELECT {', '.join(map(quoted, wanted))} FROM {asking}{ordered}")


def _by_keys(views: Sequence[Joined]) -> Iterator[tuple[tuple[str, ...], list[Joined]]]:
    """Views of the same key together: one sort serves them all."""
    for keys in dict.fromkeys(view.keys for view in views):
        yield keys, [view for view in views if view.keys == keys]


class _GroupJoin:
    """The views of one key beside the rows that ask."""

    def __init__(
        self,
        query: Query,
        number: int,
        spine: Spine,
        keys: tuple[str, ...],
        views: Sequence[Joined],
        hot: str | None,
    ) -> None:
        self.query, self.number, self.spine, self.keys, self.views = query, number, spine, keys, views
        self.hot = hot
        self.key_names = [own(f"key_{at}") for at in range(len(keys))]
        self.partition = ", ".join(self.key_names)

    def write(self, asking: str, names: Sequence[str]) -> str:
        """Write the steps; the name of the last, which has the columns `names` and the features."""
        structs = [own(f"view_{at}") for at in range(len(self.views))]
        bucket = f", {own('bucket')}" if self.hot else ""
        heads = ", ".join([*self.key_names, own("time"), own("side")]) + bucket
        branches = [self._asking(asking, names, structs)]
        ties = []
        for at, view in enumerate(self.views):
            rows = self._rows(view, at)
            if self.hot:
                rows = self.query.add(f"{PREFIX}parts_{self.number}_{at}", self._bucketed(rows))
            if view.created is not None:
                rows = self._latest(view, at, rows)
            steps = [rows] if not self.hot else self._carried(view, at, rows)
            nothing = ", ".join(f"NULL AS {quoted(name)}" for name in names)
            for step in steps:
                values = [own("view") if other == at else "NULL" for other in range(len(structs))]
                packed = ", ".join(f"{v} AS {s}" for v, s in zip(values, structs, strict=True))
                branches.append(f"SELECT {heads}, {nothing}, {packed} FROM {step}")
            ties += [f"{structs[at]}.{part} NULLS FIRST" for part in self._order(view)]
        union = self.query.add(f"{PREFIX}union_{self.number}", " UNION ALL ".join(branches))
        window = (
            f"(PARTITION BY {self.partition}{bucket} ORDER BY {', '.join([own('time'), own('side'), *ties])} "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        )
        lasts = ", ".join(
            f"LAST_VALUE({struct} IGNORE NULLS) OVER {window} AS {struct}" for struct in structs
        )
        columns = ", ".join(map(quoted, names))
        filled = self.query.add(
            f"{PREFIX}filled_{self.number}",
            f"SELECT {columns}, {own('time')}, {own('side')}, {lasts} FROM {union}",
        )
        features = ", ".join(
            self._value(view, struct, at, new)
            for view, struct in zip(self.views, structs, strict=True)
            for at, new in enumerate(view.features.values())
        )
        return self.query.add(
            f"{PREFIX}joined_{self.number}",
            f"SELECT {columns}, {features} FROM {filled} WHERE {own('side')} = 1",
        )

    def _asking(self, asking: str, names: Sequence[str], structs: Sequence[str]) -> str:
        kinds = [key_kind(self.views, key) for key in self.keys]
        keys = [
            f"{key_value(key, self.spine.columns.field(key).type, kind)} AS {name}"
            for key, kind, name in zip(self.keys, kinds, self.key_names, strict=True)
        ]
        time = micros(self.spine.time, self.spine.columns.field(self.spine.time).type)
        columns = ", ".join(map(quoted, names))
        chosen = f"SELECT {', '.join(keys)}, {time} AS {own('time')}, {columns} FROM {asking}"
        nothing = ", ".join(f"NULL AS {struct}" for struct in structs)
        heads = ", ".join([*self.key_names, own("time")])
        if not self.hot:
            return f"SELECT {heads}, 1 AS {own('side')}, {columns}, {nothing} FROM ({chosen}) AS asking"
        step = self.query.add(f"{PREFIX}spine_{self.number}", self._bucketed(f"({chosen})"))
        return f"SELECT {heads}, 1 AS {own('side')}, {own('bucket')}, {columns}, {nothing} FROM {step}"

    def _rows(self, view: Joined, at: int) -> str:
        """Rows of features with key and times, those that cannot be used left out."""
        kinds = [key_kind(self.views, key) for key in self.keys]
        keys = ", ".join(
            f"{key_value(key, view.columns.field(key).type, kind)} AS {name}"
            for key, kind, name in zip(self.keys, kinds, self.key_names, strict=True)
        )
        event = micros(view.time, view.columns.field(view.time).type)
        known = event if view.created is None else micros(view.created, view.columns.field(view.created).type)
        fields = [f"event := {own('event')}", f"known := {own('known')}"]
        fields += [f"f{number} := {quoted(name)}" for number, name in enumerate(view.features)]
        values = ", ".join(f"{quoted(name)}" for name in view.features)
        chosen = f"SELECT {keys}, {event} AS {own('event')}, {known} AS {own('known')}, {values}"
        there = " AND ".join(f"{name} IS NOT NULL" for name in [*self.key_names, own("event"), own("known")])
        later = own("event") if view.created is None else f"GREATEST({own('event')}, {own('known')})"
        return self.query.add(
            f"{PREFIX}rows_{self.number}_{at}",
            f"SELECT {self.partition}, {later} + {view.delay} AS {own('time')}, 0 AS {own('side')}, "
            f"STRUCT_PACK({', '.join(fields)}) AS {own('view')} "
            f"FROM ({chosen} FROM {quoted(view.table)}) AS chosen WHERE {there}",
        )

    def _order(self, view: Joined) -> list[str]:
        """What orders rows that are known from one time on: the last of them counts."""
        ordered = [
            f"f{number}"
            for number, name in enumerate(view.features)
            if has_order(view.columns.field(name).type)
        ]
        return [*(["event", "known"] if view.created is not None else []), *ordered]

    def _latest(self, view: Joined, at: int, rows: str) -> str:
        """Rows of features, without those whose event time lies before that of one known earlier."""
        order = ", ".join(f"{own('view')}.{part} NULLS FIRST" for part in self._order(view)[:2])
        bucket = f", {own('bucket')}" if self.hot else ""
        window = (
            f"(PARTITION BY {self.partition}{bucket} ORDER BY {own('time')}, {order} "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        )
        columns = ", ".join([self.partition, own("time"), own("side"), own("view")]) + bucket
        if self.hot:
            columns += f", {own('hot')}"
        newest = self.query.add(
            f"{PREFIX}newest_{self.number}_{at}",
            f"SELECT {columns}, MAX({own('view')}.event) OVER {window} AS {own('newest')} FROM {rows}",
        )
        return self.query.add(
            f"{PREFIX}latest_{self.number}_{at}",
            f"SELECT {columns} FROM {newest} WHERE {own('view')}.event >= {own('newest')}",
        )

    def _bucketed(self, rows: str) -> str:
        """Rows with the part of time they lie in, of keys that have very many; 0 for others."""
        at = f"FLOOR((part.{own('time')} - hot.start) / hot.width)"
        part = f"CAST(LEAST(hot.parts - 1, GREATEST(0, {at})) AS BIGINT)"
        return (
            f"SELECT part.*, COALESCE({part}, 0) AS {own('bucket')}, hot.parts IS NOT NULL AS {own('hot')} "
            f"FROM {rows} AS part LEFT JOIN (SELECT * FROM {quoted(str(self.hot))} WHERE part = 0) AS hot "
            f"ON {self._same('part', 'hot')}"
        )

    def _carried(self, view: Joined, at: int, rows: str) -> list[str]:
        """Rows of features by part of time, and the row that each part of a key takes over from those before.

        Parameters
        ----------
        view : whose rows they are.
        at : its number.
        rows : the step that has them, with their parts.
        """
        key, bucket, struct = self.partition, own("bucket"), own("view")
        order = ", ".join([own("time"), *(f"{struct}.{part} NULLS FIRST" for part in self._order(view))])
        follows = (
            f"SELECT *, LEAD(1) OVER (PARTITION BY {key}, {bucket} ORDER BY {order}) AS follows "
            f"FROM {rows} WHERE {own('hot')}"
        )
        lasts = (
            f"SELECT {key}, {bucket} + 1 AS {bucket}, 0 AS {own('side')}, {struct} FROM ({follows}) AS lasts "
        )
        lasts += "WHERE follows IS NULL"
        within = f"(PARTITION BY {key} ORDER BY {bucket} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        if view.created is not None:
            newest = f"SELECT *, MAX({struct}.event) OVER {within} AS newest FROM ({lasts}) AS every"
            lasts = f"SELECT {key}, {bucket}, {own('side')}, {struct} FROM ({newest}) AS newest "
            lasts += f"WHERE {struct}.event >= newest"
        grid = f"SELECT {key}, part AS {bucket}, 1 AS {own('side')}, NULL AS {struct} "
        grid += f"FROM {quoted(str(self.hot))}"
        window = within.replace(f"ORDER BY {bucket}", f"ORDER BY {bucket}, {own('side')}")
        last = f"LAST_VALUE({struct} IGNORE NULLS) OVER {window}"
        filled = f"SELECT {key}, {bucket}, {own('side')}, {last} AS {struct} "
        filled += f"FROM ({lasts} UNION ALL {grid}) AS parts"
        carried = self.query.add(
            f"{PREFIX}carried_{self.number}_{at}",
            f"SELECT {key}, {bucket}, {struct} FROM ({filled}) AS filled "
            f"WHERE {own('side')} = 1 AND {struct} IS NOT NULL",
        )
        heads = f"{key}, {_FIRST} AS {own('time')}, 0 AS {own('side')}, {bucket}, {struct}"
        first = self.query.add(f"{PREFIX}first_{self.number}_{at}", f"SELECT {heads} FROM {carried}")
        if view.created is None:
            return [rows, first]
        newer = self.query.add(
            f"{PREFIX}newer_{self.number}_{at}",
            f"SELECT part.* FROM {rows} AS part LEFT JOIN {carried} AS hot ON {self._same('part', 'hot')} "
            f"AND part.{bucket} = hot.{bucket} "
            f"WHERE hot.{bucket} IS NULL OR part.{struct}.event >= hot.{struct}.event",
        )
        return [newer, first]

    def _same(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{name} = {right}.{name}" for name in self.key_names)

    def _value(self, view: Joined, struct: str, at: int, new: str) -> str:
        value = f"{struct}.f{at}"
        conditions = [f"{own('time')} IS NOT NULL"]
        if view.ttl is not None:
            conditions.append(f"{struct}.event >= {own('time')} - {view.ttl}")
        return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END AS {quoted(new)}"


def key_kind(views: Sequence[Joined], key: str) -> pa.DataType:
    """The type as which a key of some views is compared: the first one's, but uint64 holds more than others.

    Parameters
    ----------
    views : with that key.
    key : its column.
    """
    kinds = [view.columns.field(key).type for view in views]
    return pa.uint64() if pa.types.is_integer(kinds[0]) and pa.uint64() in kinds else kinds[0]


def key_value(name: str, kind: pa.DataType, wanted: pa.DataType) -> str:
    """A key in SQL as one type: whole numbers that pandas made floats of, as it does beside missing ones.

    Parameters
    ----------
    name : of the column.
    kind : its type.
    wanted : what `key_kind` gives.
    """
    value = quoted(name)
    if not pa.types.is_integer(wanted):
        return value
    whole = "DECIMAL(20, 0)" if wanted == pa.uint64() else "BIGINT"
    if pa.types.is_floating(kind):
        return f"CASE WHEN {value} = FLOOR({value}) AND ABS({value}) < 9e15 THEN CAST({value} AS {whole}) END"
    # what is past the numbers of the view is the key of none of its rows
    return f"TRY_CAST({value} AS {whole})" if kind == pa.uint64() else f"CAST({value} AS {whole})"


def has_order(kind: pa.DataType) -> bool:
    """Whether values of a type are ordered alike everywhere."""
    return not (is_list(kind) or pa.types.is_nested(kind))
