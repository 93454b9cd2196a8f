"""DataFrames of pandas as tables and sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.matrix import matrix_columns
from outgrow.data.names import check_names
from outgrow.data.objects import CodedSource, shared_texts
from outgrow.data.source import TableSource
from outgrow.errors import DataError

_NUMBERS = "bhilqBHILQfd"
"""NumPy's types that Arrow has, too."""


def is_frame(data: Any) -> bool:
    """Whether this is of pandas, which is not imported for it."""
    return type(data).__module__.partition(".")[0] == "pandas"


def frame_source(frame: Any) -> TableSource:
    """The rows of a DataFrame; text whose objects come again is read once for each of them.

    Parameters
    ----------
    frame : a DataFrame of pandas.

    Raises
    ------
    DataError
        When it cannot become a table.
    """
    names = [str(name) for name in frame.columns]
    check_names(names, "The DataFrame")
    columns = {
        j: shared_texts(frame.iloc[:, j].to_numpy())
        for j, kind in enumerate(frame.dtypes)
        if kind == "object"
    }
    coded = {j: column for j, column in columns.items() if column is not None}
    others = [j for j in range(len(names)) if j not in coded]
    table = frame_table(frame.iloc[:, others] if coded else frame)
    if not coded:
        return TableSource(table)
    if any(map(pa.types.is_dictionary, table.schema.types)):  # which are categories, and stay such
        return TableSource(frame_table(frame))
    made = {**coded, **dict(zip(others, table.columns, strict=True))}
    return CodedSource(pa.table([made[j] for j in range(len(names))], names=names))


def frame_table(frame: Any) -> pa.Table:
    """The Arrow table of a DataFrame, without its index.

    Parameters
    ----------
    frame : a DataFrame of pandas.

    Raises
    ------
    DataError
        When it cannot become a table.
    """
    names = [str(name) for name in frame.columns]
    check_names(names, "The DataFrame")
    values = _numbers_without_gaps(frame)
    if values is not None:
        return pa.table(matrix_columns(values, names))
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"The DataFrame cannot become a table: {' '.join(map(str, error.args))}") from error
    return table.replace_schema_metadata(None).rename_columns(names)


def _numbers_without_gaps(frame: Any) -> np.ndarray | None:
    """The values of a DataFrame of numbers of one type, as they lie in memory; None of others."""
    kinds = set(frame.dtypes)
    kind = kinds.pop() if len(kinds) == 1 else None
    if not isinstance(kind, np.dtype) or kind.char not in _NUMBERS or not kind.isnative:
        return None
    values: np.ndarray = frame.to_numpy()
    with np.errstate(all="ignore"):
        return None if np.isnan(values.sum()) else values
