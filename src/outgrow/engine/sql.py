"""Joins and SQL before a dataset: DuckDB here, Spark SQL there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.open import dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read


def sql(query: str, tables: Mapping[str, Any] | None = None, *, engine: Engine | None = None) -> Dataset:
    """The result of a SQL query as a dataset.

    Parameters
    ----------
    query : one SELECT in DuckDB's dialect; for Spark it is translated by sqlglot. On this machine it may name
        files: `FROM 'flights/*.parquet'`.
    tables : what the names in the query mean: paths, tables, datasets, or Spark DataFrames for Spark.
    engine : where it runs; this machine by default.

    Raises
    ------
    DataError
        When the query cannot be run; the message is the database's.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> table = pa.table({"a": [1, 2, 3]})
    >>> og.sql("SELECT a, a * 2 AS b FROM t WHERE a > 1", {"t": table}).to_arrow().to_pylist()
    [{'a': 2, 'b': 4}, {'a': 3, 'b': 6}]
    """
    where = engine or Local()
    opened = {name: _open(table, where) for name, table in (tables or {}).items()}
    return Dataset(where.query(query, opened), where)


def _open(table: Any, engine: Engine) -> Dataset:
    return read(table, engine=engine) if isinstance(table, str | os.PathLike) else dataset(table)
