"""What is no rows, and what to give in its place: said alike by whatever takes rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np

from outgrow.data.frames import is_column
from outgrow.data.matrix import is_sparse
from outgrow.data.pandas_frames import is_frame

_ROWS = ("X", "data")
"""What rows are called; anything else is one column."""


def advice_of_any(values: Any, what: str) -> str:
    """What to give in the place of what nothing takes; nothing where that is not known.

    Parameters
    ----------
    values : what a user gave.
    what : what it is called: 'X' or 'data' for rows, else one column.
    """
    if values is None and what in _ROWS:
        return "Give an array, a table or a dataset."
    if type(values).__module__.partition(".")[0] == "polars" and type(values).__name__ == "LazyFrame":
        return f"Give {what}.collect()."
    if is_of_spark(values) and type(values).__name__ != "DataFrame":
        return "Give a Spark DataFrame, as spark.createDataFrame(rdd) makes of an RDD."
    if isinstance(values, os.PathLike):
        return f"Give og.read({what})." if what in _ROWS else "Give an array, or the name of a column of X."
    return ""


def advice_of_rows(values: Any, what: str) -> str:
    """What to give in the place of what is no rows of numbers or of columns; nothing where that is not known.

    Parameters
    ----------
    values, what : as for `advice_of_any`.
    """
    column = "" if what in _ROWS else "[name]"
    if isinstance(values, str | bytes):
        return f"Where it is a path, give og.read({what})." if what in _ROWS else "Give an array."
    if isinstance(values, Mapping) and not is_sparse(values):  # one of SciPy's formats is a dict, too
        return f"Give pd.DataFrame({what}){column} or pa.table({what}){column}."
    if isinstance(values, list | tuple) and values and isinstance(values[0], Mapping):
        return f"Give pd.DataFrame({what}){column} or pa.Table.from_pylist({what}){column}."
    if isinstance(values, np.ndarray) and values.dtype.names is not None:
        return f"Give pd.DataFrame({what}){column}, which has a column for each field."
    if isinstance(values, Set | Iterator) and not hasattr(values, "__arrow_c_stream__"):  # of batches
        return f"Give list({what})."
    if what in _ROWS and is_one_column(values):
        return f'It is one column: give pa.table({{"name": {what}}}).'
    return ""


def is_of_spark(values: Any) -> bool:
    """Whether this lives in Spark, other than pandas on Spark, which hands its rows over."""
    room = type(values).__module__  # the type is asked: a column of Spark has whatever attribute one asks for
    return room.startswith("pyspark.") and not room.startswith("pyspark.pandas.")


def is_one_column(values: Any) -> bool:
    """Whether this is a column of Arrow or Polars; scikit-learn says itself what to do with one of pandas."""
    return is_column(values) and not is_frame(values)


def described(values: Any) -> str:
    """What something is, as a message says it."""
    if values is None:
        return "None"
    if isinstance(values, str):
        return f"the text {values[:100]!r}"
    kind = type(values)
    room = kind.__module__.partition(".")[0]
    full = kind.__name__ if room == "builtins" else f"{room} {kind.__name__}"
    if is_of_spark(values):
        return f"a {full}"
    fields = getattr(getattr(values, "dtype", None), "names", None)
    of = f" of the fields {list(fields)}" if fields else " of complex numbers" if is_complex(values) else ""
    return f"a {full}{' of dicts' if isinstance(values, list | tuple) else of}"


def is_complex(values: Any) -> bool:
    """Whether there are complex numbers, of an array or a column of a DataFrame."""
    kinds = values.dtypes if is_frame(values) and hasattr(values, "columns") else ()
    return any(getattr(kind, "kind", "") == "c" for kind in (getattr(values, "dtype", None), *kinds))
