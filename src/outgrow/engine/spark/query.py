"""SQL on Spark, from DuckDB's dialect."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from outgrow._optional import optional
from outgrow.data.files import FilesSource
from outgrow.data.paths import literal_path
from outgrow.engine.protocol import Table
from outgrow.engine.spark.frames import FrameSource
from outgrow.errors import DataError


def query_source(session: Any, query: str, tables: Mapping[str, Table]) -> FrameSource:
    """The rows of a query over datasets, kept by Spark once computed; each dataset becomes a view.

    Parameters
    ----------
    session : the SparkSession.
    query : one SELECT in DuckDB's dialect, which sqlglot translates.
    tables : what its names mean, whatever their case. DataFrames without steps and Parquet files are used as
        they are; the rows of others go through this process.

    Raises
    ------
    DataError
        When the query cannot be read or is no single SELECT, or Spark refuses it.
    """
    suffix = secrets.token_hex(4)
    views = {name.lower(): f"outgrow_{number}_{suffix}" for number, name in enumerate(tables)}
    try:
        for name, table in tables.items():
            _frame(session, table).createOrReplaceTempView(views[name.lower()])
        return FrameSource(session.sql(_translate(query, views)).cache())
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "pyspark":
            raise
        raise DataError(
            f"Spark cannot run the query: {str(error).splitlines()[0]} Tables: {sorted(tables)}."
        ) from None


def _translate(query: str, views: Mapping[str, str]) -> str:
    sqlglot = optional("sqlglot", "sql")
    try:
        parsed = sqlglot.parse(query, read="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise DataError(f"The query cannot be read: {error}") from error
    # a comment behind the last semicolon is a statement of its own to sqlglot
    trees = [tree for tree in parsed if tree is not None and not isinstance(tree, sqlglot.exp.Semicolon)]
    if len(trees) != 1 or not isinstance(trees[0], sqlglot.exp.Query):
        raise DataError(
            f"One SELECT is needed, and the query holds {len(trees)} statements. Give a single query."
        )
    tree = trees[0]
    for table in tree.find_all(sqlglot.exp.Table):
        if not table.db and table.name.lower() in views:
            if not table.alias:
                table.set("alias", sqlglot.exp.TableAlias(this=sqlglot.exp.to_identifier(table.name)))
            table.set("this", sqlglot.exp.to_identifier(views[table.name.lower()]))
    return str(tree.sql(dialect="spark", comments=False))


def _frame(session: Any, table: Table) -> Any:
    source = table.scan.source
    if isinstance(source, FrameSource) and not table.scan.steps:
        return source.frame
    if isinstance(source, FilesSource) and not table.scan.steps and _as_spark_reads(source):
        return session.read.parquet(*map(literal_path, source.paths))
    return session.createDataFrame(table.to_arrow())


def _as_spark_reads(files: FilesSource) -> bool:
    """Spark reads no set of files that store a column in several types."""
    return files.format == "parquet" and files.alike
