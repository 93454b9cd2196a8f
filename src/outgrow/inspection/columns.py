"""Which columns of a fitted model are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outgrow.errors import ColumnNotFoundError


def named(model: Any, columns: Sequence[Any]) -> list[str]:
    """The names of columns of the fit.

    Parameters
    ----------
    model : a fitted one.
    columns : names, or places counted from 0.

    Raises
    ------
    ColumnNotFoundError
        When there is no such column.
    """
    known = list(model.columns_)
    names = []
    for column in columns:
        whole = isinstance(column, int) and not isinstance(column, bool)
        if whole and 0 <= column < len(known):
            names.append(known[column])
        elif column in known:
            names.append(column)
        else:
            raise ColumnNotFoundError(
                f"{column!r} is no column that {type(model).__name__} learned from; those are {known[:20]}."
            )
    return names
