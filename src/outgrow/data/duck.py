"""SQL on this machine: a DuckDB query as a source, and one that makes a row of each row of a batch."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.data.names import check_names
from outgrow.data.source import Piece, Source, TableSource, empty_batch
from outgrow.errors import DataError, InputNotFoundError, ParameterError

_VIEW = "__outgrow_query"
THIS = "__THIS__"
"""What the rows are called in a statement over each of them."""
_ALONE = {
    "threads": 1,
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
"""Settings with which a statement reaches nothing but the rows that it is given."""
_CLOCKS = frozenset(
    [
        "current_date",
        "current_localtime",
        "current_localtimestamp",
        "current_time",
        "current_timestamp",
        "get_current_time",
        "get_current_timestamp",
        "localtime",
        "localtimestamp",
        "now",
        "today",
        "transaction_timestamp",
        "txid_current",
        "current_setting",
        "getvariable",
    ]
)
_threads = threading.local()


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
    def held(self) -> TableSource:
        """The rows themselves."""
        return TableSource(self._run())

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        return self.held.pieces()

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
    """Decimals as they are, text as plain strings, differences of times as durations: as every engine has."""
    table = _with_durations(table)
    fields = [
        pa.field(
            f.name,
            pa.string() if pa.types.is_large_string(f.type) or pa.types.is_string_view(f.type) else f.type,
        )
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def row_statement(text: str, rows: pa.Table) -> str:
    """A statement that makes one row of each row, whatever rows are beside it.

    Parameters
    ----------
    text : `SELECT ... FROM __THIS__`, or expressions, which then become columns behind the others.
    rows : a table with the columns it may use; its rows do not matter.

    Raises
    ------
    ParameterError
        When it is no such statement: it looks at several rows at once, changes their number, or gives
        something else each time.
    """
    names = [name.lower() for name in rows.column_names]
    alike = [name for name in rows.column_names if names.count(name.lower()) > 1]
    if alike:
        raise ParameterError(f"SQL does not tell columns {alike} apart, which differ in case. Rename them.")
    statement = _parsed(text)
    connection = _connection()
    try:
        connection.register(THIS, rows)
        (plan,) = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}").fetchall()
    except _duckdb().Error as error:
        raise ParameterError(f"The statement cannot be run: {error} Columns: {rows.column_names}.") from error
    finally:
        connection.unregister(THIS)
    operators = [name for tree in json.loads(plan[1]) for name in _operators(tree)]
    _refuse(statement, [name for name in operators if name != "PROJECTION" and "ARROW_SCAN" not in name])
    if not any("ARROW_SCAN" in name for name in operators):
        raise ParameterError(f"The statement does not select from {THIS}: {text!r}.")
    _refuse_unsteady(connection, statement, names)
    return statement


def select_rows(statement: str, rows: pa.Table) -> pa.Table:
    """What a statement makes of rows, one for each, in their order.

    Parameters
    ----------
    statement : what `row_statement` gives.
    rows : with the columns that it uses.

    Raises
    ------
    ParameterError
        When it is no such statement, as one that was saved may be: it is looked at again.
    DataError
        When a value cannot be worked with.
    """
    connection = _connection()
    known = (statement, str(rows.schema))
    if known not in _threads.known:
        row_statement(statement, rows.slice(0, 0))
        _threads.known.add(known)
    try:
        connection.register(THIS, rows)
        made = _plain(connection.sql(statement).to_arrow_table())
    except (_duckdb().Error, pa.ArrowException) as error:
        raise DataError(
            f"The statement cannot be run on these rows: {error} Where single values are to blame, "
            "`try_cast(...)` and `try(...)` make them NULL."
        ) from error
    finally:
        connection.unregister(THIS)
    assert len(made) == len(rows), "a projection keeps rows"
    return made


def _with_durations(table: pa.Table) -> pa.Table:
    """Intervals, which differences of times are to DuckDB, as durations.

    Raises
    ------
    DataError
        When there are months, which have no length.
    """
    for at, field in enumerate(table.schema):
        if field.type == pa.month_day_nano_interval():
            parts = [_durations(chunk, field.name) for chunk in table.column(at).chunks]
            table = table.set_column(at, field.name, pa.chunked_array(parts, pa.duration("us")))
    return table


def _durations(intervals: pa.Array, name: str) -> pa.Array:
    layout = np.dtype([("months", np.int32), ("days", np.int32), ("ns", np.int64)])
    buffer = intervals.buffers()[1]
    raw = np.frombuffer(buffer or b"", layout)[intervals.offset :][: len(intervals)]
    there = intervals.is_valid().to_numpy(zero_copy_only=False)
    if raw["months"][there].any():
        raise DataError(f"Column {name!r} is an interval of months, which have no length. Add it to a time.")
    micros = raw["days"] * np.int64(86_400_000_000) + raw["ns"] // 1000
    return pa.array(micros, mask=~there).view(pa.duration("us"))


def _duckdb() -> Any:
    return optional("duckdb", "sql")


def _connection() -> Any:
    """This thread's own, from which nothing but what is registered can be reached."""
    if not hasattr(_threads, "connection"):
        connection = _duckdb().connect(config=_ALONE)
        connection.execute("SET TimeZone = 'UTC'").fetchall()
        connection.execute("SET lock_configuration = true").fetchall()
        _threads.connection, _threads.known = connection, set()
    return _threads.connection


def _parsed(text: str) -> str:
    """One SELECT, which expressions alone become."""
    try:
        return _only_query(_connection(), text)
    except (_duckdb().Error, DataError) as error:
        try:
            return _only_query(_connection(), f"SELECT *, {text.rstrip().rstrip(';')}\nFROM {THIS}")
        except (_duckdb().Error, DataError):
            raise ParameterError(f"The statement cannot be read: {error}") from error


def _operators(tree: Mapping[str, Any]) -> Iterator[str]:
    yield tree["name"]
    if tree.get("extra_info", {}).get("Filters"):  # DuckDB before 1.2 gives simple conditions to the scan
        yield "FILTER"
    for part in tree.get("children", ()):
        yield from _operators(part)


def _refuse(statement: str, others: Sequence[str]) -> None:
    if others:
        raise ParameterError(
            f"The statement does not look at each row alone: it has {', '.join(others)}. Conditions, "
            "aggregates, joins, windows, orders and subqueries are for outgrow.sql, before the pipeline: "
            f"{statement!r}."
        )


def _refuse_unsteady(connection: Any, statement: str, columns: Sequence[str]) -> None:
    """Refuse functions that give something else each time, such as random() and now()."""
    (tree,) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchall()
    used = {name for name in _called(json.loads(tree[0])) if name not in columns}
    question = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
    volatile = {name for (name,) in connection.execute(question).fetchall()}
    unsteady = sorted(used & (volatile | _CLOCKS))
    if unsteady:
        raise ParameterError(
            f"The statement calls {unsteady}, which give something else each time. Write the value itself, "
            "or make a column of it before the pipeline."
        )


def _called(tree: Any) -> Iterator[str]:
    """The functions that are called, and columns named alone, as some functions are called so."""
    if isinstance(tree, list):
        for part in tree:
            yield from _called(part)
    elif isinstance(tree, dict):
        if "function_name" in tree:
            yield tree["function_name"].lower()
        if tree.get("class") == "COLUMN_REF" and len(tree["column_names"]) == 1:
            yield tree["column_names"][0].lower()
        yield from _called(list(tree.values()))
