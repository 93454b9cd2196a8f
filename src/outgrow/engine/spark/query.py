"""SQL on Spark, from DuckDB's dialect."""

from __future__ import annotations

import functools
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
    return str(tree.transform(_microseconds, sqlglot.exp).sql(dialect="spark", comments=False))


def _microseconds(node: Any, exp: Any) -> Any:
    """`epoch_us` as Spark says it; times without a zone part by part, as Spark would take its session's."""
    if not (isinstance(node, exp.Anonymous) and node.name.upper() == "EPOCH_US"):
        return node
    (time,) = node.expressions
    if not (isinstance(time, exp.Cast) and time.to.this == exp.DataType.Type.TIMESTAMPNTZ):
        return exp.Anonymous(this="UNIX_MICROS", expressions=[time])
    days = exp.Anonymous(this="UNIX_DATE", expressions=[exp.cast(time.copy(), "date")])
    parts = [exp.Mul(this=days, expression=exp.Literal.number(86_400_000_000))]
    for unit, length in (("HOUR", 3_600_000_000), ("MINUTE", 60_000_000)):
        part = exp.cast(exp.Anonymous(this=unit, expressions=[time.copy()]), "bigint")
        parts.append(exp.Mul(this=part, expression=exp.Literal.number(length)))
    seconds = exp.Extract(this=exp.var("SECOND"), expression=time.copy())
    parts.append(exp.cast(exp.Mul(this=seconds, expression=exp.Literal.number(1_000_000)), "bigint"))
    return exp.paren(functools.reduce(lambda left, right: exp.Add(this=left, expression=right), parts))


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
