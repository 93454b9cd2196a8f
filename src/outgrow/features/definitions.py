"""What a feature store holds, in Feast's words: entities, views of sources, services."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outgrow.data.spans import Length, microseconds_of
from outgrow.errors import ParameterError
from outgrow.features.aggregation import Aggregation

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Entity:
    """What features are about, and the columns that tell one from another.

    Parameters
    ----------
    name : of the entity.
    join_keys : the columns of its key; a column of its name if not given.

    Raises
    ------
    ParameterError
        When there is no key, or the name is none.

    Examples
    --------
    >>> import outgrow as og
    >>> og.features.Entity("user", join_keys=["user_id"]).join_keys
    ('user_id',)
    """

    name: str
    join_keys: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_name(self.name, "an entity")
        keys = (self.join_keys,) if isinstance(self.join_keys, str) else tuple(self.join_keys)
        object.__setattr__(self, "join_keys", keys or (self.name,))


@dataclass(frozen=True, eq=False)
class Source:
    """Rows of features, each of a key and a time.

    Parameters
    ----------
    data : a path or address, as `og.read` takes; or a table, a dataset (also one that a pipeline gave), or a
        Spark DataFrame. Only paths are written down by `FeatureStore.apply`; others belong to the process.
    timestamp_field : the column of the time from which a row's values hold: dates or times, those without a
        time zone in UTC.
    created_timestamp_column : the column of the time at which a row was written, if there is one. A row is
        not used for times before that, whatever its event time; of rows of one event time, the last written
        counts. Rows without it were never written, and are not used.
    delay : how long after its event time (and after it was written) a row can be used, for rows that come
        late, such as '1d' for values of a day that carry its date.
    query : a SELECT in DuckDB's dialect over `rows`, which are those of `data`; further names are `tables`.
    tables : what further names in the query mean, paths or tables.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"shop": ["a"], "day": [0], "sold": [5]})
    >>> query = "SELECT shop, to_timestamp(day) AS day, sold FROM rows"
    >>> og.features.Source(rows, timestamp_field="day", query=query).timestamp_field
    'day'
    """

    data: Any
    timestamp_field: str
    created_timestamp_column: str | None = None
    delay: Length = "0s"
    query: str | None = None
    tables: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        microseconds_of(self.delay, "delay")
        if isinstance(self.data, os.PathLike):
            object.__setattr__(self, "data", os.fspath(self.data))

    @property
    def times(self) -> list[str]:
        """The columns that say when."""
        return [name for name in (self.timestamp_field, self.created_timestamp_column) if name is not None]


@dataclass(frozen=True, eq=False)
class FeatureView:
    """Features of entities from one source.

    Parameters
    ----------
    name : of the view; features are called `view:feature`.
    entities : whose keys the source's rows have.
    source : the rows.
    schema : the names of the features; all columns but keys and times if not given.
    ttl : how long after its event time a row's values hold; afterwards they are missing. None: for ever.
    aggregations : the features, when they are counts, sums and means over windows that end at the moment for
        which they are wanted; the source's rows are then events.
    every : the windows begin in steps of this length, so that servers keep one sum for each: an event leaves
        at most so much too early. None: each event on its own.

    Raises
    ------
    ParameterError
        When there is no entity, the length is none, or windows are as short as the source's delay.

    Examples
    --------
    >>> import datetime, pyarrow as pa, outgrow as og
    >>> day = datetime.datetime(2026, 1, 1)
    >>> rows = pa.table({"shop": ["a"], "day": [day], "sold": [5]})
    >>> source = og.features.Source(rows, timestamp_field="day")
    >>> og.FeatureView("sales", [og.features.Entity("shop")], source, ttl="7d").keys
    ('shop',)
    """

    name: str
    entities: Sequence[Entity]
    source: Source
    schema: Sequence[str] | None = None
    ttl: Length | None = None
    aggregations: Sequence[Aggregation] = ()
    every: Length | None = None

    def __post_init__(self) -> None:
        _check_name(self.name, "a view")
        if isinstance(self.aggregations, Aggregation):
            object.__setattr__(self, "aggregations", (self.aggregations,))
        if isinstance(self.entities, Entity):
            object.__setattr__(self, "entities", (self.entities,))
        if not self.entities or not all(isinstance(entity, Entity) for entity in self.entities):
            raise ParameterError(f"View {self.name!r}: give at least one features.Entity in entities.")
        if isinstance(self.schema, str):
            object.__setattr__(self, "schema", (self.schema,))
        if self.aggregations:
            self._check_aggregations()
        _ = self.ttl_microseconds, self.step

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return tuple(dict.fromkeys(key for entity in self.entities for key in entity.join_keys))

    @property
    def ttl_microseconds(self) -> int | None:
        """How long values hold; None, as Feast's length of 0, for ever."""
        return None if self.ttl is None else microseconds_of(self.ttl, "ttl") or None

    @property
    def step(self) -> int:
        """In which steps windows begin, in microseconds."""
        return 1 if self.every is None else microseconds_of(self.every, "every") or 1

    @property
    def inputs(self) -> list[str]:
        """The columns that aggregations are made of."""
        return list(
            dict.fromkeys(
                aggregation.column for aggregation in self.aggregations if aggregation.column is not None
            )
        )

    def features_of(self, columns: Sequence[str]) -> list[str]:
        """The names of the features, of the columns of the source."""
        if self.aggregations:
            return [aggregation.name for aggregation in self.aggregations]
        if self.schema is not None:
            return list(self.schema)
        return [name for name in columns if name not in (*self.keys, *self.source.times)]

    def _check_aggregations(self) -> None:
        names = self.features_of(())
        twice = sorted({name for name in names if names.count(name) > 1} | {*names} & {*self.keys})
        if twice:
            raise ParameterError(f"View {self.name!r}: several columns are called {twice}. Give names.")
        if self.schema is not None or self.ttl is not None:
            raise ParameterError(
                f"View {self.name!r}: aggregations name the features and windows end; drop schema and ttl."
            )
        delay = microseconds_of(self.source.delay, "delay") + self.step
        short = [aggregation.name for aggregation in self.aggregations if aggregation.width <= delay]
        if short:
            raise ParameterError(
                f"View {self.name!r}: the windows of {short} hold nothing, as they are no longer than the "
                "delay of the source and `every` together."
            )


@dataclass(frozen=True)
class OnDemandView:
    """Features that are computed of others, and of columns of the request, row by row.

    Parameters
    ----------
    name : of the view.
    sources : the features that are used, `view:feature` each; columns of the request are there besides.
    sql : expressions in DuckDB's dialect, each with its name: `spent / visits AS per_visit`. They may look at
        nothing but their row.
    schema : the names of the features, in the order of the expressions.

    Examples
    --------
    >>> import outgrow as og
    >>> view = og.features.OnDemandView(
    ...     "ratios", ["shops:spent", "shops:visits"], "spent / visits AS per_visit", ["per_visit"]
    ... )
    >>> view.schema
    ['per_visit']
    """

    name: str
    sources: Sequence[str]
    sql: str
    schema: Sequence[str]

    def __post_init__(self) -> None:
        _check_name(self.name, "a view")


@dataclass(frozen=True)
class FeatureService:
    """The features of a model, under a name.

    Parameters
    ----------
    name : of the service.
    features : `view:feature` each, or the name of a view for all of its.

    Examples
    --------
    >>> import outgrow as og
    >>> og.features.FeatureService("late", ["sales:sold", "weather"]).features
    ('sales:sold', 'weather')
    """

    name: str
    features: Sequence[str]

    def __post_init__(self) -> None:
        _check_name(self.name, "a service")
        features = (self.features,) if isinstance(self.features, str) else tuple(self.features)
        if not features:
            raise ParameterError(f"Service {self.name!r} has no features. Name some as view:feature.")
        object.__setattr__(self, "features", features)


def _check_name(name: str, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ParameterError(f"{name!r} names {what}: letters, digits and _.- are taken, a letter first.")
