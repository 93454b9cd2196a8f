"""Which features were asked for: of which views, computed of what, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.duck import row_statement, select_rows
from outgrow.engine.dataset import Dataset
from outgrow.errors import ParameterError
from outgrow.features.definitions import FeatureService, OnDemandView
from outgrow.features.written import Definitions


@dataclass
class Choice:
    """Features that were asked for.

    Attributes
    ----------
    views : of each view, its features that are needed.
    on_demand : the views on demand that are needed.
    names : of the columns that were asked for, in order.
    full : whether columns are called `view__feature`.
    """

    full: bool = False
    views: dict[str, list[str]] = field(default_factory=dict)
    on_demand: list[OnDemandView] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, definitions: Definitions, features: Any, *, full: bool = False) -> Choice:
        """What was asked for.

        Parameters
        ----------
        definitions : all that there is.
        features : `view:feature` each, names of views for all of theirs, or a service.
        full : whether columns are called `view__feature`.

        Raises
        ------
        ParameterError
            When there is no such feature, or two have one name.
        """
        choice = cls(full)
        for reference in _references(definitions, features):
            view, _, feature = reference.partition(":")
            for name in _names(definitions, view, feature):
                choice._add(definitions, view, name)
        twice = sorted({name for name in choice.names if choice.names.count(name) > 1})
        if twice:
            raise ParameterError(f"Several features are called {twice}. Say full_feature_names=True.")
        return choice

    def column(self, view: str, feature: str) -> str:
        """The column of a feature.

        Parameters
        ----------
        view : its view.
        feature : its name.
        """
        return f"{view}__{feature}" if self.full else feature

    def _add(self, definitions: Definitions, view: str, feature: str) -> None:
        self.names.append(self.column(view, feature))
        if view in definitions.views:
            self._need(view, feature)
            return
        computing = definitions.on_demand[view]
        if computing not in self.on_demand:
            self.on_demand.append(computing)
        for source in computing.sources:
            other, _, name = source.partition(":")
            if other not in definitions.views:
                raise ParameterError(f"View {view!r} uses {source!r}, and there is no view {other!r}.")
            for needed in _names(definitions, other, name):
                self._need(other, needed)

    def _need(self, view: str, feature: str) -> None:
        features = self.views.setdefault(view, [])
        if feature not in features:
            features.append(feature)


def _references(definitions: Definitions, features: Any) -> list[str]:
    if isinstance(features, FeatureService):
        return list(features.features)
    listed: Sequence[str] = [features] if isinstance(features, str) else list(features)
    references: list[str] = []
    for name in listed:
        service = definitions.services.get(name)
        references += service.features if service is not None else [name]
    return references


def _names(definitions: Definitions, view: str, feature: str) -> list[str]:
    """The features of a reference."""
    if view in definitions.views:
        there = list(definitions.views[view].features)
    elif view in definitions.on_demand:
        there = list(definitions.on_demand[view].schema)
    else:
        known = sorted([*definitions.views, *definitions.on_demand, *definitions.services])
        raise ParameterError(f"There is no view or service {view!r}; there are {known}.")
    if not feature:
        return there
    if feature not in there:
        raise ParameterError(f"View {view!r} has no feature {feature!r}; it has {there}.")
    return [feature]


def computed(rows: Dataset, view: OnDemandView, choice: Choice) -> Dataset:
    """Rows with the features of a view on demand.

    Parameters
    ----------
    rows : with what it uses.
    view : the view.
    choice : what was asked for.
    """
    return rows.map(partial(_with_computed, view=view, choice=choice))


def _with_computed(batch: Batch, view: OnDemandView, choice: Choice) -> Batch:
    table = with_computed(pa.Table.from_batches([batch.to_arrow()]), view, choice)
    return batch.with_columns(
        {name: table[name].combine_chunks() for name in table.column_names[-len(view.schema) :]}
    )


def with_computed(table: pa.Table, view: OnDemandView, choice: Choice) -> pa.Table:
    """A table with the features of a view on demand behind its columns.

    Parameters
    ----------
    table : with what it uses, by the short names too where features have full ones.
    view : the view.
    choice : what was asked for.
    """
    columns = {choice.column(v, f): (v, f) for v, features in choice.views.items() for f in features}
    columns |= {choice.column(v.name, f): (v.name, f) for v in choice.on_demand for f in v.schema}
    used = {tuple(source.split(":")) for source in view.sources}
    names = {
        name: columns[name][1] if name in columns else name
        for name in table.column_names
        if name not in columns or {columns[name], columns[name][:1]} & used
    }
    given = table.select(list(names)).rename_columns(list(names.values()))
    statement = row_statement(view.sql, given.slice(0, 0))
    made = select_rows(statement, given)
    for name in view.schema:
        if name not in made.column_names:
            raise ParameterError(f"View {view.name!r} makes no {name!r}; it makes {made.column_names}.")
        table = table.append_column(choice.column(view.name, name), made[name])
    return table
