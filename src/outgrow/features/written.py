"""Definitions as JSON, and back: what `FeatureStore.apply` writes down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from outgrow.data.schema_file import arrow_type
from outgrow.data.spans import length_of, microseconds_of
from outgrow.errors import DataError
from outgrow.features.aggregation import Aggregation
from outgrow.features.definitions import Entity, FeatureService, FeatureView, OnDemandView, Source

FORMAT = 1


@dataclass(frozen=True, eq=False)
class AppliedView:
    """A view and the types of its columns, as they were when it was applied.

    Attributes
    ----------
    view : the definition.
    keys : the types of the key.
    features : the types of the features.
    inputs : the types of the columns that aggregations are made of.
    """

    view: FeatureView
    keys: dict[str, pa.DataType]
    features: dict[str, pa.DataType]
    inputs: dict[str, pa.DataType] = field(default_factory=dict)


class Gone:
    """The place of rows that belonged to another process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        raise DataError(
            f"The rows of view {self.name!r} were a table of the process that applied it. Apply it again, or "
            "give its source as a path."
        )


def view_to_json(applied: AppliedView) -> dict[str, Any]:
    """A view in JSON."""
    view, source = applied.view, applied.view.source
    return {
        "entities": {entity.name: list(entity.join_keys) for entity in view.entities},
        "ttl": None if view.ttl_microseconds is None else length_of(view.ttl_microseconds),
        "source": {
            "data": source.data if isinstance(source.data, str) else None,
            "timestamp_field": source.timestamp_field,
            "created_timestamp_column": source.created_timestamp_column,
            "delay": length_of(microseconds_of(source.delay, "delay")),
            "query": source.query,
            "tables": {name: data for name, data in source.tables.items() if isinstance(data, str)},
        },
        "keys": {name: str(kind) for name, kind in applied.keys.items()},
        "features": {name: str(kind) for name, kind in applied.features.items()},
        "aggregations": [
            {"function": a.function, "time_window": length_of(a.width), "column": a.column, "name": a.name}
            for a in view.aggregations
        ],
        "every": None if view.every is None else length_of(view.step),
        "inputs": {name: str(kind) for name, kind in applied.inputs.items()},
    }


def served_definition(applied: AppliedView) -> str:
    """What the rows of servers depend on, as text: all of a view but how long values hold.

    Tables that belong to a process are not in it: they may have come to hold other rows, as files may.
    """
    given = view_to_json(applied)
    return json.dumps({name: part for name, part in given.items() if name not in ("ttl", "entities")})


def view_from_json(name: str, given: Mapping[str, Any]) -> AppliedView:
    """A view of its JSON.

    Parameters
    ----------
    name : of the view.
    given : what `view_to_json` gave.
    """
    source = dict(given["source"])
    if source["data"] is None:
        source["data"] = Gone(name)
    entities = [Entity(entity, keys) for entity, keys in given["entities"].items()]
    aggregations = [Aggregation(**fields) for fields in given.get("aggregations", ())]
    schema = None if aggregations else list(given["features"])
    view = FeatureView(
        name, entities, Source(**source), schema, given["ttl"], aggregations, given.get("every")
    )
    kinds = (given["keys"], given["features"], given.get("inputs", {}))
    return AppliedView(view, *({name: arrow_type(kind) for name, kind in types.items()} for types in kinds))


@dataclass(eq=False)
class Definitions:
    """All that was applied.

    Attributes
    ----------
    views, on_demand, services : by name.
    """

    views: dict[str, AppliedView]
    on_demand: dict[str, OnDemandView]
    services: dict[str, FeatureService]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "format": FORMAT,
            "views": {name: view_to_json(view) for name, view in self.views.items()},
            "on_demand": {
                name: {"sources": list(view.sources), "sql": view.sql, "schema": list(view.schema)}
                for name, view in self.on_demand.items()
            },
            "services": {name: list(service.features) for name, service in self.services.items()},
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Definitions:
        """Of what `to_json` gave."""
        if given.get("format") != FORMAT:
            raise DataError(
                f"The registry is of format {given.get('format')!r}; this version reads {FORMAT}."
            )
        return cls(
            {name: view_from_json(name, view) for name, view in given["views"].items()},
            {name: OnDemandView(name, **view) for name, view in given["on_demand"].items()},
            {name: FeatureService(name, features) for name, features in given["services"].items()},
        )
