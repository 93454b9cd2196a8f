"""Of which types columns are that are met in parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from outgrow.data.schema_file import arrow_type
from outgrow.data.widest import wider
from outgrow.errors import DataError
from outgrow.stats.state import State


@dataclass
class ColumnTypes(State):
    """The narrowest types that hold all values of some columns.

    Attributes
    ----------
    types : by name, as Arrow writes them; 'null' of columns without a value.
    """

    types: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pa.Table) -> ColumnTypes:
        """Those of a table.

        Raises
        ------
        DataError
            When one is of parts with names, which no column of a model is.
        """
        nested = [column.name for column in table.schema if pa.types.is_struct(column.type)]
        if nested:
            raise DataError(f"Column {nested[0]!r} holds parts with names. Make columns of them.")
        return cls({column.name: str(column.type) for column in table.schema})

    def merge(self, other: ColumnTypes) -> ColumnTypes:
        """Those of both.

        Raises
        ------
        DataError
            When no type holds the values of a column.
        """
        return ColumnTypes(
            {name: _wider(name, self, other) for name in dict.fromkeys((*self.types, *other.types))}
        )


def _wider(name: str, one: ColumnTypes, other: ColumnTypes) -> str:
    kinds = (arrow_type(both.types.get(name, "null")) for both in (one, other))
    return str(wider(name, *kinds, fits_text=False))
