"""Anything with rows as a dataset, on the engine where those rows are."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.data.misfits import advice_of_any, advice_of_rows, described
from outgrow.data.scan import Scan
from outgrow.data.source import array_source
from outgrow.engine.dataset import Dataset, from_arrow
from outgrow.engine.local import Local
from outgrow.engine.protocol import Engine
from outgrow.engine.spark.engine import frame_dataset
from outgrow.errors import DataError


def dataset(data: Any, *, engine: Engine | None = None) -> Dataset:
    """A dataset of rows in hand: where they are decides where they are worked on.

    Parameters
    ----------
    data : a Dataset, a Spark DataFrame (Classic or Connect), anything that speaks Arrow's C stream (pandas,
        Polars, DuckDB, PyArrow), a NumPy array or SciPy sparse matrix of shape (rows, columns).
    engine : where to work; by default this machine for data in this process, and the session of a Spark
        DataFrame with the settings of `og.Spark(session)`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.dataset(np.eye(3)).columns
    ['x0', 'x1', 'x2']

    Raises
    ------
    DataError
        When it is no rows; the message says what to give in its place.
    """
    if isinstance(data, Dataset):
        return data
    if is_spark(data):
        return frame_dataset(data, engine)
    if is_table(data):
        return from_arrow(data, engine=engine)
    if advice := advice_of_any(data, "data") or advice_of_rows(data, "data"):
        raise DataError(f"data is {described(data)}, which is no table or array of rows. {advice}")
    values = data if is_sparse(data) else np.asarray(data)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise DataError(
            f"A {type(data).__name__} of {values.ndim} dimension(s) and type {values.dtype} is no table. "
            'Give a table, such as pa.table({"name": column}), or a 2-D array of numbers.'
        )
    return Dataset(Scan(array_source(values)), engine or Local())


def is_spark(data: Any) -> bool:
    """Whether this is a Spark DataFrame; does not import pyspark."""
    kind = type(data)  # of which attributes are asked: a column of Spark has any
    return kind.__module__.startswith("pyspark.sql.") and hasattr(kind, "mapInArrow")


def is_table(data: Any) -> bool:
    """Whether this has named columns."""
    return (
        isinstance(data, Dataset)
        or is_spark(data)
        or hasattr(data, "__arrow_c_stream__")
        or (type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"))
    )
