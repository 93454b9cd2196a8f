"""Features of keys, as servers ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.engine.open import dataset
from outgrow.errors import ColumnNotFoundError, DataError
from outgrow.features.choice import Choice, with_computed
from outgrow.features.joined import listed
from outgrow.features.online.codec import KeyCodec, RowCodec
from outgrow.features.online.entries import EntryCodec
from outgrow.features.online.store import OnlineStore
from outgrow.features.windows import Windows
from outgrow.features.written import AppliedView

Decode = Callable[[Sequence[bytes | None], int], dict[str, pa.Array]]


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
        self._readers = {name: _reader(view) for name, view in views.items()}

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
        made = self.columns(table, now)
        table = pa.Table.from_arrays([*table.columns, *made.values()], [*given, *made])
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
        for name in self.views:
            keys, decode = self._readers[name]
            encoded = keys.encode({key: rows[key] for key in keys.columns})
            known = [key for key in encoded if key is not None]
            rows_of = iter(self.online.get(name, known))
            features = decode([None if key is None else next(rows_of) for key in encoded], now)
            for feature in self.choice.views[name]:
                columns[self.choice.column(name, feature)] = features[feature]
        return columns


def _reader(applied: AppliedView) -> tuple[KeyCodec, Decode]:
    """What encodes the keys of a view, and gives features at a moment of the bytes of keys."""
    if applied.view.aggregations:
        return KeyCodec(applied.keys), EntryCodec(Windows(applied.view, applied.inputs), applied.keys).decode
    codec, ttl = RowCodec(applied.features), applied.view.ttl_microseconds

    def decode(rows: Sequence[bytes | None], now: int) -> dict[str, pa.Array]:
        decoded = codec.decode(rows)
        if ttl is None or not (stale := decoded.there & (decoded.event < now - ttl)).any():
            return decoded.columns
        mask = pa.array(np.asarray(stale))
        return {
            name: pc.if_else(mask, pa.scalar(None, values.type), values)
            for name, values in decoded.columns.items()
        }

    return KeyCodec(applied.keys), decode


def as_rows(rows: Any) -> pa.Table:
    """Rows as a table: dicts, columns, or anything that `og.dataset` takes.

    Raises
    ------
    DataError
        When dicts or columns make no table.
    """
    if not isinstance(rows, Mapping | list):
        return listed(dataset(rows)).to_arrow()
    try:
        return pa.table(dict(rows)) if isinstance(rows, Mapping) else pa.Table.from_pylist(rows)
    except (pa.ArrowException, AttributeError, TypeError) as error:
        raise DataError(
            f"The rows make no table: {error}. Give a list of dicts or a dict of lists of one length, "
            "with values of one type in each column."
        ) from None
