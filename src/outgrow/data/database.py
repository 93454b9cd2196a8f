"""Tables of databases as sources: SQLite, PostgreSQL and DuckDB, by a URI that names a table or a query."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.data.duck import table_of_file
from outgrow.data.names import check_names
from outgrow.data.source import Piece, TableSource, empty_batch
from outgrow.errors import DataError, InputNotFoundError, ParameterError

SCHEMES = ("sqlite", "postgresql", "postgres", "duckdb")
_OF_FILES = ("sqlite", "duckdb")
_ROWS = 65_536


@dataclass(frozen=True)
class Location:
    """A database, and which of its rows are meant.

    Attributes
    ----------
    scheme : one of `SCHEMES`.
    uri : without the table and the query, as drivers take it.
    path : of the file of the database, where it is one.
    query : the SQL that gives the rows.
    """

    scheme: str
    uri: str
    path: str
    query: str

    @classmethod
    def of(cls, uri: str) -> Location:
        """What a URI such as `sqlite:///flights.db?table=flights` says.

        Raises
        ------
        ParameterError
            When it names neither a table nor a query, or both.
        """
        parts = urlsplit(uri)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        named = {name: value for name, value in pairs if name in ("table", "query")}
        if len(named) != 1:
            raise ParameterError(
                f"{_shown(uri)}: name a table or a query, as in {parts.scheme}://...?table=flights or "
                "...?query=SELECT%20*%20FROM%20flights"
            )
        rest = urlencode([pair for pair in pairs if pair[0] not in named])
        query = named["query"] if "query" in named else f"SELECT * FROM {_quoted(named['table'])}"
        path = _path_of(parts.path)
        address = f"{parts.scheme}://{parts.netloc}{parts.path}"  # `urlunsplit` drops slashes before no host
        return cls(parts.scheme, f"{address}?{rest}" if rest else address, path, query)


class DatabaseSource:
    """The rows of a query of a database; it runs once, when rows are first needed, and they are held.

    Parameters
    ----------
    uri : of the database, with `table` or `query` among its parameters.
    """

    has_pieces = True

    def __init__(self, uri: str) -> None:
        self.location = Location.of(uri)
        self.uri = absolute_uri(_shown(uri))
        check_names(self.schema.names, self.uri)

    @cached_property
    def _source(self) -> TableSource:
        location = self.location
        if location.scheme == "duckdb":
            return TableSource(table_of_file(location.path, location.query, self.uri))
        read = _of_sqlite if location.scheme == "sqlite" else _of_postgresql
        return TableSource(read(location, self.uri))

    @property
    def schema(self) -> pa.Schema:
        return self._source.schema

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        return self._source.pieces()

    def describe(self) -> dict[str, Any]:
        held = self._source.describe()
        digest = hashlib.sha256(f"{self.uri} {held}".encode()).hexdigest()
        return {
            "kind": self.location.scheme,
            "uri": self.uri,
            "rows": self._source.table.num_rows,
            "sha256": digest,
        }


def absolute_uri(uri: str) -> str:
    """The URI of a database as it is from any folder: a relative path in it begins at the root.

    Parameters
    ----------
    uri : of anything; it is returned as it is where no path of a file of a database is in it.

    Examples
    --------
    >>> absolute_uri("sqlite:////srv/flights.db?table=late")
    'sqlite:////srv/flights.db?table=late'
    """
    parts = urlsplit(uri)
    if parts.scheme not in _OF_FILES or not parts.path:
        return uri
    path = quote(os.path.abspath(_path_of(parts.path)))
    return f"{parts.scheme}://{parts.netloc}/{path}{uri[uri.index(parts.path) + len(parts.path) :]}"


def _path_of(path: str) -> str:
    """The path of a file in a URI, as SQLAlchemy has it: after three slashes relative, after four not."""
    relative, other = unquote(path[1:]), unquote(path)
    return other if os.path.exists(other) and not os.path.exists(relative) else relative


def _of_sqlite(location: Location, shown: str) -> pa.Table:
    try:
        opened = sqlite3.connect(f"file:{location.path}?mode=ro", uri=True)
        with closing(opened) as connection:
            cursor = connection.execute(location.query)
            names = [column[0] for column in cursor.description or ()]
            rows = list(_fetched(cursor))
    except sqlite3.Error as error:
        raise _refused(shown, error) from None
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    columns = [
        _column(name, list(column_values), shown) for name, column_values in zip(names, values, strict=True)
    ]
    return pa.Table.from_arrays(columns, names=names)


def _fetched(cursor: Any) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_ROWS):
        yield from rows


def _column(name: str, values: list[Any], shown: str) -> pa.Array:
    """Values of SQLite, which has no types of columns: fractions where some are, text where some are."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int} or len(kinds) == 1:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            raise DataError(f"Column {name!r} of {shown}: {error}.") from None
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values])
    if bytes in kinds:
        raise DataError(
            f"Column {name!r} of {shown} holds bytes beside {sorted(k.__name__ for k in kinds - {bytes})}. "
            "Make them alike by a CAST in ?query=."
        )
    return pa.array([None if value is None else str(value) for value in values])


def _of_postgresql(location: Location, shown: str) -> pa.Table:
    driver = optional("adbc_driver_postgresql.dbapi", "postgresql")
    try:
        with driver.connect(location.uri) as connection, connection.cursor() as cursor:
            cursor.execute(location.query)
            return _plain(cursor.fetch_arrow_table())
    except (driver.Error, OSError) as error:
        raise _refused(shown, error) from None


def _plain(table: pa.Table) -> pa.Table:
    """Columns without the types that Arrow has only as extensions, such as `numeric`, which comes as text."""
    for index, column in enumerate(table.schema):
        if isinstance(column.type, pa.BaseExtensionType):
            values = pa.chunked_array(
                [part.storage for part in table.column(index).chunks], column.type.storage_type
            )
            if getattr(column.type, "type_name", "") == "numeric":
                values = values.cast(pa.float64())
            table = table.set_column(index, column.name, values)
    return table.replace_schema_metadata(None)


def _refused(shown: str, error: Exception) -> DataError | InputNotFoundError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "unable to open" in reason or "does not exist" in reason:
        return InputNotFoundError(f"{shown} cannot be read: {reason}. Check the address and the table.")
    return DataError(f"{shown} cannot be read: {reason}. Check the address and the query.")


def _shown(uri: str) -> str:
    """A URI without its password."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@", 1)


def _quoted(table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))
