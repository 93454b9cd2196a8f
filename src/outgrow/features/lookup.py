"""Features of keys, as servers ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.engine.open import dataset
from outgrow.errors import ColumnNotFoundError
from outgrow.features.choice import Choice, with_computed
from outgrow.features.online.codec import KeyCodec, RowCodec
from outgrow.features.online.store import OnlineStore
from outgrow.features.written import AppliedView


class Lookup:
    """Looks some features of some views up, again and again; threads may share one.

    Parameters
    ----------
    online : where the rows are.
    choice : the features.
    views : those of the choice.

    Attributes
    ----------
    keys : the columns of all keys, name to type.
    names : of the features, in order.
    """

    def __init__(self, online: OnlineStore, choice: Choice, views: Mapping[str, AppliedView]) -> None:
        self.online, self.choice, self.views = online, choice, views
        self.keys = {key: kind for view in views.values() for key, kind in view.keys.items()}
        self.names = choice.names
        self._codecs = {name: (KeyCodec(view.keys), RowCodec(view.features)) for name, view in views.items()}

    def table(self, rows: Any, now: int) -> pa.Table:
        """Rows with their features; those past the `ttl` of their view are missing.

        Parameters
        ----------
        rows : a list of dicts, a dict of lists, or a table, with the keys.
        now : microseconds since 1970.

        Raises
        ------
        ColumnNotFoundError
            When a key is not there.
        """
        table = as_rows(rows)
        given = table.column_names
        missing = [key for key in self.keys if key not in given]
        if missing:
            raise ColumnNotFoundError(
                f"The rows have no {missing}, the keys of the features. They have {given}."
            )
        for name, values in self.columns(table, now).items():
            table = table.append_column(name, values)
        for view in self.choice.on_demand:
            table = with_computed(table, view, self.choice)
        return table.select([*given, *self.names])

    def columns(self, rows: pa.Table, now: int) -> dict[str, pa.Array]:
        """The features of views, by column.

        Parameters
        ----------
        rows : with the keys.
        now : microseconds since 1970.
        """
        columns: dict[str, pa.Array] = {}
        for name, view in self.views.items():
            keys, codec = self._codecs[name]
            encoded = keys.encode({key: rows[key] for key in keys.columns})
            known = [key for key in encoded if key is not None]
            rows_of = iter(self.online.get(name, known))
            decoded = codec.decode([None if key is None else next(rows_of) for key in encoded])
            stale = None
            if view.view.ttl_microseconds is not None:
                stale = decoded.there & (decoded.event < now - view.view.ttl_microseconds)
            for feature in self.choice.views[name]:
                values = decoded.columns[feature]
                if stale is not None and stale.any():
                    values = pc.if_else(pa.array(np.asarray(stale)), pa.scalar(None, values.type), values)
                columns[self.choice.column(name, feature)] = values
        return columns


def as_rows(rows: Any) -> pa.Table:
    """Rows as a table: dicts, columns, or anything that `og.dataset` takes."""
    if isinstance(rows, Mapping):
        return pa.table(dict(rows))
    if isinstance(rows, list):
        return pa.Table.from_pylist(rows)
    return dataset(rows).to_arrow()
