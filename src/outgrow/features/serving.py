"""Features for a server: it gets keys, and looks up what its model needs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.kind import Kind
from outgrow.errors import InputNotFoundError, ParameterError, SchemaError
from outgrow.features.choice import Choice, with_computed
from outgrow.features.lookup import Lookup
from outgrow.features.store import REGISTRY_FILE, FeatureStore


def feature_settings(text: str | None) -> dict[str, Any]:
    """What the settings of a server say of a store, for `STORE[:SERVICE]`; nothing for None.

    Raises
    ------
    InputNotFoundError
        When there is no such store.
    """
    if text is None:
        return {}
    path, service = text, None
    if not Path(path).exists() and ":" in text:
        path, _, service = text.rpartition(":")
    if not (Path(path) / REGISTRY_FILE).is_file():
        raise InputNotFoundError(
            f"There is no feature store at {path!r}. Make one with outgrow features apply."
        )
    here = str(Path(path).resolve())
    return {
        "features": {"outgrow.features.serving:source": {"path": here, "service": service}},
        "watchers": {"outgrow.features.serving:ages": {"path": here}},
    }


def source(path: str, service: str | None = None) -> FeatureSource:
    """What looks up the features of a model in a store.

    Parameters
    ----------
    path : of the store.
    service : whose features they are; all of the store if not given.
    """
    return FeatureSource(FeatureStore(path), service)


def ages(path: str) -> Any:
    """What tells how long ago each view was materialised, for the metrics of a server."""
    store = FeatureStore(path)

    def readings() -> list[tuple[str, float, dict[str, str]]]:
        return [
            ("outgrow_feature_age_seconds", seconds, {"view": view})
            for view, seconds in store.freshness().items()
            if seconds is not None
        ]

    return readings


class FeatureSource:
    """Finds out which columns of a model are features.

    Parameters
    ----------
    store : the feature store.
    service : whose features count; None: those of all views.
    """

    def __init__(self, store: FeatureStore, service: str | None) -> None:
        self.store, self.service = store, service
        definitions = store.definitions
        if service is not None and service not in definitions.services:
            raise ParameterError(
                f"There is no service {service!r}; there are {sorted(definitions.services)}."
            )

    def __call__(self, columns: Mapping[str, Kind]) -> ServedFeatures:
        """The join for a model.

        Parameters
        ----------
        columns : of the model; those called `view__feature`, or as one feature only, are looked up.

        Raises
        ------
        ParameterError
            When a column has the name of several features.
        SchemaError
            When no column is a feature.
        """
        references = self._references()
        chosen: dict[str, str] = {}
        for column in columns:
            alike = [
                ref for ref in references if column in (ref.replace(":", "__", 1), ref.partition(":")[2])
            ]
            if len(alike) > 1:
                raise ParameterError(f"The column {column!r} is any of {alike}. Name a service that has one.")
            if alike:
                chosen[column] = alike[0]
        if not chosen:
            raise SchemaError(
                f"No column of the model is a feature of {self.store!r}; it has the columns {list(columns)}."
            )
        lookup = self.store.lookup(list(chosen.values()), full_feature_names=True)
        return ServedFeatures(lookup, columns, chosen)

    def _references(self) -> list[str]:
        definitions = self.store.definitions
        names = [self.service] if self.service is not None else [*definitions.views, *definitions.on_demand]
        choice = Choice.of(definitions, names, full=True)
        return [name.replace("__", ":", 1) for name in choice.names]


class ServedFeatures:
    """Looks up the features of a model.

    Attributes
    ----------
    columns : what requests bring: the columns that are no features, and the keys.
    """

    def __init__(self, lookup: Lookup, model: Mapping[str, Kind], chosen: Mapping[str, str]) -> None:
        self._lookup = lookup
        self._names = {column: ref.replace(":", "__", 1) for column, ref in chosen.items()}
        self._model = list(model)
        keys = {name: Kind.of(kind) for name, kind in lookup.keys.items() if name not in model}
        self.columns: Mapping[str, Kind] = {
            **keys,
            **{name: kind for name, kind in model.items() if name not in chosen},
        }

    def __call__(self, batch: Batch) -> Batch:
        """The columns of the model, of those that requests bring."""
        table = pa.Table.from_batches([batch.to_arrow()])
        features = self._lookup.columns(table, time.time_ns() // 1000)
        for view in self._lookup.choice.on_demand:
            whole = table
            for name, values in features.items():
                whole = whole.append_column(name, values)
            made = with_computed(whole, view, self._lookup.choice)
            names = made.column_names[len(whole.column_names) :]
            features |= {name: made[name].combine_chunks() for name in names}
        columns = {
            name: features[self._names[name]] if name in self._names else batch[name] for name in self._model
        }
        return Batch(columns, batch.num_rows)
