"""SQL on this machine: a DuckDB query as a source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.data.names import check_names
from outgrow.data.source import Piece, Source, TableSource, empty_batch
from outgrow.errors import DataError, InputNotFoundError

_VIEW = "__outgrow_query"


class QuerySource:
    """The rows of a query over named tables; it runs once, when rows are first needed."""

    has_pieces = True

    def __init__(self, query: str, tables: Mapping[str, Any], sources: Mapping[str, Source]) -> None:
        self.query = query
        self._tables = tables
        self._sources = sources
        check_names(self.schema.names, "The query")

    @cached_property
    def schema(self) -> pa.Schema:
        return self._run(limit=0).schema

    @cached_property
    def _source(self) -> TableSource:
        return TableSource(self._run())

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        return self._source.pieces()

    def describe(self) -> dict[str, Any]:
        tables = {name: source.describe() for name, source in self._sources.items()}
        digest = hashlib.sha256(json.dumps([self.query, tables], sort_keys=True).encode()).hexdigest()
        return {"kind": "query", "query": self.query, "tables": tables, "sha256": digest}

    def _run(self, *, limit: int | None = None) -> pa.Table:
        duckdb = optional("duckdb", "sql")
        with duckdb.connect() as connection:
            try:
                for name, table in self._tables.items():
                    connection.register(name, table)
                query = _only_query(connection, self.query)
                if limit is not None:
                    connection.execute(f'CREATE TEMP VIEW "{_VIEW}" AS {query}')
                    query = f'FROM "{_VIEW}" LIMIT {limit}'
                return _plain(connection.sql(query).to_arrow_table())
            except (duckdb.Error, pa.ArrowException) as error:
                known = f" Tables: {sorted(self._tables)}." if self._tables else ""
                raise DataError(f"The query cannot be run: {error}{known}") from error


def table_of_file(path: str, query: str, shown: str) -> pa.Table:
    """The rows of a query over a file of DuckDB.

    Parameters
    ----------
    path : the file, which is only read.
    query : one SELECT.
    shown : what messages call it.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    DataError
        When the query cannot be run.
    """
    duckdb = optional("duckdb", "sql")
    try:
        with duckdb.connect(path, read_only=True) as connection:
            return _plain(connection.sql(_only_query(connection, query)).to_arrow_table())
    except (duckdb.Error, pa.ArrowException) as error:
        kind = InputNotFoundError if "does not exist" in str(error) and path in str(error) else DataError
        reason = str(error).splitlines()[0]
        raise kind(f"{shown} cannot be read: {reason}. Check the address and the query.") from None


def _only_query(connection: Any, text: str) -> str:
    """The text, which may hold comments and semicolons, if it is one query."""
    statements = connection.extract_statements(text)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        held = f"it holds {', '.join(kinds)}" if kinds else "there is none"
        raise DataError(f"The query cannot be run: one SELECT is needed, and {held}. Give a single query.")
    return str(statements[0].query)


def _plain(table: pa.Table) -> pa.Table:
    """Decimals as they are, text as plain strings: what every engine has."""
    fields = [
        pa.field(
            f.name,
            pa.string() if pa.types.is_large_string(f.type) or pa.types.is_string_view(f.type) else f.type,
        )
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))
