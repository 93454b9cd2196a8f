"""What rows of text say of their columns, merged over blocks and files, and text read by that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa

from outgrow.data.encoding import check_utf8
from outgrow.data.json_lines import JsonLines
from outgrow.data.kind import Kind
from outgrow.data.text import TYPES, Csv, Types
from outgrow.data.widest import wider
from outgrow.errors import DataError

TextFormat = Csv | JsonLines


@dataclass(frozen=True)
class Inferred:
    """What the rows that were looked at say of the columns; merges with what others say.

    Attributes
    ----------
    types : by name, in the order in which columns were met.
    words : columns that held words for what is missing. If nothing else is there, they are text.
    """

    types: Types = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def merge(self, other: Inferred, dialect: TextFormat) -> Inferred:
        """What both say: of each column the narrowest type that holds the values of both.

        Parameters
        ----------
        other : what further rows say.
        dialect : says whether text may become of another type.

        Raises
        ------
        DataError
            When no type holds the values of a column.
        """
        both = {
            name: wider(
                name,
                self.types.get(name, pa.null()),
                other.types.get(name, pa.null()),
                fits_text=dialect.fits_text,
            )
            for name in {**self.types, **other.types}
        }
        return Inferred(both, self.words | other.words)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                (name, pa.string() if pa.types.is_null(kind) and name in self.words else kind)
                for name, kind in self.types.items()
            ]
        )


def merged(parts: Sequence[Inferred], dialect: TextFormat) -> Inferred:
    """What several parts of a file, or several files, say of the columns together.

    Parameters
    ----------
    parts : what was found in each.
    dialect : says whether text may become of another type; see `Csv.fits_text`.

    Raises
    ------
    DataError
        When no type holds the values of a column.
    """
    return reduce(lambda one, other: one.merge(other, dialect), parts, Inferred())


def inferred(table: pa.Table, words: frozenset[str]) -> Inferred:
    """What a table says of its columns.

    Parameters
    ----------
    table : whole rows, with the types that the parser gave.
    words : columns without a value that hold words for what is missing.
    """
    return Inferred({column.name: column.type for column in table.schema}, words)


def read_text(
    body: bytes, dialect: TextFormat, kinds: Mapping[str, Kind] | None = None, *, only: bool = False
) -> pa.Table:
    """All rows of some bytes of UTF-8; columns get the kinds that were promised.

    Parameters
    ----------
    kinds : what columns are to be; they are read so even where they look like another.
    only : leave other columns out.

    Raises
    ------
    DataError
        When they cannot be read.
    """
    check_utf8(body)
    body = body.removeprefix(b"\xef\xbb\xbf")
    names: Sequence[str] = ()
    try:
        head, size = None, 1 << 16
        while head is None:
            head = dialect.head(body[:size], whole=size >= len(body))
            size *= 16
        names, start = head
        rows = body[start:]
        dialect.check_end(rows)
        columns = [name for name in names if name in kinds] if only and kinds is not None else None
        looked, words = dialect.infer(rows, names, columns)
        schema = promised(inferred(looked, words).schema, kinds or {}, dialect)
        if schema.equals(looked.schema):
            return looked
        return dialect.parse(rows, names, {f.name: f.type for f in schema}, columns)
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(describe_error(error, names)) from None


def promised(schema: pa.Schema, kinds: Mapping[str, Kind], dialect: TextFormat) -> pa.Schema:
    """A schema of inferred types, with those columns in another that were promised as another kind.

    Parameters
    ----------
    schema : what was inferred.
    kinds : what was promised, by name; columns without one keep their type.
    dialect : says which type a kind has in its text.
    """
    return pa.schema([_promised(column, kinds.get(column.name), dialect) for column in schema])


def describe_error(error: Exception, names: Sequence[str], start: int = 0) -> str:
    """Arrow's message about text in a user's terms: the column by its name, the row as counted from 0.

    Parameters
    ----------
    error : what the parser raised.
    names : of the columns, in the order of the file.
    start : the row of the file at which the parsed block begins.
    """
    text = str(error).splitlines()[0]
    if isinstance(error, UnicodeError) or "UTF8" in text or "ncoding" in text:
        return f"{text[:200]}. Name the encoding, like encoding='latin-1' or 'cp1252'"
    if match := re.search(r"CSV column #(\d+):(?: Row #(\d+):)? (.*)", text, re.DOTALL):
        column_number, row, rest = match.groups()
        name = names[int(column_number)] if int(column_number) < len(names) else column_number
        where = "" if row is None else f" in row {start + int(row) - 1}"
        return (
            f"column {name!r}{where}: {rest.removeprefix('CSV conversion error to ')[:200]}. Name its type "
            f"(types={{{name!r}: 'text'}}), or what is missing in it (na_values=...)"
        )
    if match := re.search(r"Row #(\d+): (Expected \d+ columns, got \d+)", text):
        advice = (
            ". Name what divides cells (sep=), and take out lines before the names of the columns"
            if (len(names) == 1)
            else f". The first row names {len(names)}: quote cells that hold the divider, or mend the row"
        )
        return f"row {start + int(match[1]) - 1}: {match[2][0].lower()}{match[2][1:]}{advice}"
    if match := re.search(r"Column\(/([^/)]+)\) changed from (\w+) to (\w+) in row (\d+)", text):
        name, before, after, row = match.groups()
        plain = {before, after} <= {"number", "string", "boolean"}
        advice = f"Name its type, as in types={{{name!r}: 'text'}}" if plain else "Write values of one type"
        return f"column {name!r} in row {start + int(row)}: {after}, after values that are {before}. {advice}"
    return text[:300]


def _promised(column: pa.Field, kind: Kind | None, dialect: TextFormat) -> pa.Field:
    if kind is None or (Kind.of(column.type) == kind and not pa.types.is_null(column.type)):
        return column
    wanted = TYPES.get(kind) if pa.types.is_null(column.type) else dialect.retyped(column.type, kind)
    return column if wanted is None else column.with_type(wanted)
