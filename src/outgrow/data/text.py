"""Delimited text as columns: the one place that decides what is missing, and of which type.

Files, folders that are streamed, bodies of requests and standard input are all read by these rules, which
`docs/data.md` states for users.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from outgrow.data.encoding import check_utf8
from outgrow.data.kind import Kind
from outgrow.data.names import check_names
from outgrow.data.schema_file import arrow_type, read_types
from outgrow.errors import DataError, ParameterError

NO_VALUE = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
"""Cells that are missing in columns of numbers and times, as pandas has them; in text only the empty one."""
TYPES: dict[Any, pa.DataType] = {
    "number": pa.float64(),
    "category": pa.string(),
    "text": pa.string(),
    "time": pa.timestamp("us"),
    "float": pa.float64(),
    "int": pa.int64(),
    "str": pa.string(),
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
    bool: pa.bool_(),
}
_CODE = r"^\s*[+-]?(0[xX]|\d{19,}\s*$)"
"""Digits that are a code rather than a number: more than 64 bits hold, or not decimal."""
_BLANK = re.compile(rb"[\r\n]*+\Z")
_EXCEL = re.compile(rb"sep=(.)\r?\n")
_DIVIDERS = ";\t|,"
"""What divides cells where no comma does; a name that holds one is seldom meant so."""
_QUOTED = b'"(?:[^"]++|"")*+("?)'
Types = Mapping[str, pa.DataType]


@dataclass(frozen=True)
class TextOptions:
    """How text is read, beside what the format says.

    Attributes
    ----------
    types : of columns whose type is not to be found out.
    na_values : further cells that are missing, in columns of any type.
    encoding : of the bytes; None for what they are found to be, see `outgrow.data.encoding`.
    sep : what divides cells; None for what the format says.
    decimal : what stands before the fraction of a number in delimited text.
    """

    types: Types = field(default_factory=dict)
    na_values: tuple[str, ...] = ()
    encoding: str | None = None
    sep: str | None = None
    decimal: str = "."

    @classmethod
    def of(
        cls,
        types: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        na_values: Any = (),
        encoding: str | None = None,
        sep: str | None = None,
        decimal: str = ".",
    ) -> TextOptions:
        """Options as a user gives them.

        Parameters
        ----------
        types : by name: an Arrow type or its name, a Python type, 'number', 'text' or 'time'; or a JSON file
            of names and types; None for none.
        na_values : a cell or several that mean a missing value, as text or what its text is made of.
        encoding : a name that Python knows, or None.
        sep : one ASCII character, or None.
        decimal : '.' or ','.

        Raises
        ------
        ParameterError
            When one is not known.
        """
        named = read_types(types) if isinstance(types, str | os.PathLike) else types or {}
        given = {name: _as_type(name, kind) for name, kind in named.items()}
        marks = tuple(map(str, (na_values,) if np.isscalar(na_values) else na_values))
        if sep is not None and (not isinstance(sep, str) or len(sep.encode()) != 1 or sep in '"\r\n'):
            raise ParameterError(f"sep={sep!r}: one ASCII character divides the cells, like ';' or '\\t'.")
        if encoding is not None:
            try:
                "".encode(encoding)
            except LookupError:
                raise ParameterError(
                    f"encoding={encoding!r} is not known to Python. Try 'utf-8', 'latin-1' or 'cp1252'."
                ) from None
        if decimal not in (".", ",") or decimal == sep:
            raise ParameterError(f"decimal={decimal!r}: it is '.' or ',', and not what divides the cells.")
        return cls(given, marks, encoding, sep, decimal)


def _as_type(name: str, given: Any) -> pa.DataType:
    """An Arrow type, given as such, as a kind ('number', 'text', 'time'), a name or a Python type."""
    if isinstance(given, pa.DataType):
        return given
    if isinstance(given, str | type) and given in TYPES:
        return TYPES[given]
    try:
        return arrow_type(given) if isinstance(given, str) else pa.from_numpy_dtype(given)
    except (ValueError, TypeError, pa.ArrowException):
        raise ParameterError(
            f"types={{{name!r}: {given!r}}}: give 'number', 'text', 'time', an Arrow type like "
            "pa.int64(), or its name like 'int64'."
        ) from None


@dataclass(frozen=True)
class Csv:
    """Delimited text, quoted as RFC 4180 has it; the first row names the columns."""

    options: TextOptions = TextOptions()
    default_sep: str = ","
    fits_text = True
    """Whether any value may be read as text."""

    def __post_init__(self) -> None:
        if self.sep == self.options.decimal:
            raise ParameterError(
                f"decimal={self.options.decimal!r} also divides the cells. Name what does, like sep=';'."
            )

    @property
    def sep(self) -> str:
        return self.options.sep or self.default_sep

    def head(self, start: bytes, *, whole: bool) -> tuple[list[str], int] | None:
        """The names of the columns, and how many bytes say so.

        Parameters
        ----------
        start : the first bytes of the file, without a byte order mark.
        whole : `start` is all there is.

        Returns
        -------
        None if more bytes are needed; no names for a file without rows.

        Raises
        ------
        DataError
            When the first row cannot be read as names.
        SchemaError
            When two columns have one name.
        """
        skip = self._check_excels_line(start)
        text = start[skip:].decode("utf-8", "surrogateescape")
        lines = io.StringIO(text, newline="")
        read: list[str] = []
        rows = csv.reader((read.append(line) or line for line in lines), delimiter=self.sep)  # type: ignore[func-returns-value]
        try:
            names = next((row for row in rows if row), None)
        except csv.Error as error:
            raise DataError(f"the first row names no columns: {error}") from None
        ended = bool(read) and read[-1][-1:] in "\r\n"
        if not whole and (names is None or not ended):
            return None
        row = "".join(read).encode("utf-8", "surrogateescape")
        if names is not None:
            check_utf8(row)
            check_names(names, "the first row")
            self._check_divided(names, row)
        return names or [], skip + len(row)

    def _check_excels_line(self, start: bytes) -> int:
        """How many bytes a first line takes that says to Excel what divides cells."""
        match = _EXCEL.match(start)
        if match is None:
            return 0
        if (sign := match[1].decode("latin-1")) != self.sep:
            raise DataError(f"its first line says that {sign!r} divides the cells. Name it: sep={sign!r}")
        return match.end()

    def _check_divided(self, names: Sequence[str], row: bytes) -> None:
        """Refuse names that show that something else divides cells, if nobody said what does."""
        if "\0" in "".join(names):
            raise DataError(f"the first row is {row[:40]!r}, which is no text in UTF-8. Name the encoding")
        other = next((sign for sign in _DIVIDERS if sign in names[0]), None)
        if len(names) == 1 and other is not None and self.options.sep is None and not row.startswith(b'"'):
            raise DataError(
                f"the first row is one name, {names[0][:40]!r}. Name what divides the cells: sep={other!r}, "
                f"or sep={self.sep!r} if nothing does"
            )

    def cut(self, block: bytes) -> int:
        """Where the last whole row of a block that begins with a row ends; 0 if none does."""
        at, edges = block.rfind(b"\n"), self._edges(block)
        while at >= 0:
            before = int(np.searchsorted(edges, at))
            if before % 2 == 0:
                return at + 1
            at = block.rfind(b"\n", 0, int(edges[before - 1]))
        return 0

    def check_end(self, block: bytes) -> None:
        """Refuse a last block that ends within a cell: its rows would be read as that cell.

        Raises
        ------
        DataError
            When a quote is not closed.
        """
        edges = self._edges(block)
        if len(edges) % 2:
            cell = block[edges[-1] :][:40].decode("utf-8", "replace")
            raise DataError(
                f"the quoted cell that begins with {cell!r} is not closed. "
                "The text may be cut off; write it again"
            )

    def parse(
        self, block: bytes, names: Sequence[str], types: Types, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Whole rows as a table.

        Parameters
        ----------
        block : bytes of UTF-8, without the row of names.
        names : of all cells of a row, in the order of the file.
        types : by name; columns without a type get one.
        columns : those that are wanted, in their order; None for all.

        Raises
        ------
        ArrowInvalid
            When they are no rows of these columns, or not of these types.
        """
        wanted = list(names if columns is None else columns)
        convert = pacsv.ConvertOptions(
            column_types={name: types[name] for name in wanted if name in types},
            include_columns=wanted,
            null_values=[*NO_VALUE, *self.options.na_values],
            strings_can_be_null=False,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
            decimal_point=self.options.decimal,
        )
        quoted = b'"' in block
        if quoted:
            self._check_escapes(block)
        table = (
            pacsv.read_csv(
                pa.BufferReader(block),
                read_options=pacsv.ReadOptions(
                    column_names=list(names), use_threads=False, block_size=max(len(block) + 1, 1 << 10)
                ),
                parse_options=pacsv.ParseOptions(delimiter=self.sep, newlines_in_values=quoted),
                convert_options=convert,
            )
            if not _BLANK.match(block)
            else self._no_rows(wanted, types)
        )
        for index, column in enumerate(table.schema):
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                table = table.set_column(index, column, self._missing(table.column(index)))
        return table

    def infer(
        self, block: bytes, names: Sequence[str], columns: Sequence[str] | None = None
    ) -> tuple[pa.Table, frozenset[str]]:
        """Whole rows as a table, and which of its empty columns hold words for what is missing.

        Parameters
        ----------
        block : bytes of UTF-8, without the row of names.
        names : of all cells of a row, in the order of the file.
        columns : those that are wanted; None for all.
        """
        table = self.parse(block, names, self.options.types, columns)
        empty = [column.name for column in table.schema if pa.types.is_null(column.type)]
        hexadecimal = b"0x" in block or b"0X" in block
        numbers = [
            column.name
            for column in table.schema
            if column.name not in self.options.types
            and (hexadecimal if pa.types.is_integer(column.type) else is_past_64_bits(table[column.name]))
        ]
        if not table.num_rows or not (empty or numbers):
            return table, frozenset()
        doubtful = [*empty, *numbers]
        text = self.parse(block, names, dict.fromkeys(doubtful, pa.string()), doubtful)
        for name in numbers:
            if pc.any(pc.match_substring_regex(text[name], _CODE)).as_py():
                table = table.set_column(table.schema.get_field_index(name), name, text[name])
        return table, frozenset(name for name in empty if text[name].null_count < len(text))

    def retyped(self, inferred_type: pa.DataType, kind: Kind) -> pa.DataType | None:
        """The type in which a column is of a kind; None where text cannot be.

        Parameters
        ----------
        inferred_type : without effect: any column of delimited text may be read anew.
        kind : what was promised of it.
        """
        return TYPES.get(kind)

    def _no_rows(self, names: Sequence[str], types: Types) -> pa.Table:
        return pa.schema([(name, types.get(name, pa.null())) for name in names]).empty_table()

    def _missing(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Text with nulls for cells that are missing."""
        marks = self.options.na_values
        if marks:
            gone = pc.is_in(column, value_set=pa.array(["", *marks], column.type))
        elif len(column) and pc.min(pc.binary_length(column)).as_py() == 0:
            gone = pc.equal(pc.binary_length(column), 0)
        else:
            return column
        return pc.if_else(gone, pa.scalar(None, column.type), column)

    def _check_escapes(self, block: bytes) -> None:
        """Refuse quotes behind a backslash, as Spark writes them by default: they would end their cell."""
        if b'\\"' not in block:
            return
        data = np.frombuffer(block + b"\n", np.uint8)
        behind = data[self._edges(block)[1::2] + 1]
        if not np.isin(behind, np.frombuffer(f'{self.sep}\r\n"'.encode(), np.uint8)).all():
            raise DataError(
                'quotes within quotes are written \\", and not doubled. Write them doubled (Spark: '
                "option('escape', '\"'))"
            )

    def _edges(self, block: bytes) -> np.ndarray:
        """Where quoted cells begin and end, in turn; a doubled quote may count as an end and a beginning."""
        if b'"' not in block:
            return np.empty(0, np.int64)
        quotes = np.flatnonzero(np.frombuffer(block, np.uint8) == ord('"'))
        opening, before = quotes[::2], np.concatenate([[-1], quotes[1:-1:2]])
        data = np.frombuffer(block, np.uint8)
        starts = np.isin(data[opening - 1], np.frombuffer(f"{self.sep}\r\n".encode(), np.uint8))
        starts |= (opening == 0) | (opening - 1 == before[: len(opening)])
        if starts.all():
            return quotes
        # a quote within a cell that is not quoted means nothing: look at each cell
        cell = re.compile(b"(?:\\A|(?<=[" + re.escape(self.sep.encode()) + b"\r\n]))" + _QUOTED)
        return np.array(
            [
                edge
                for match in cell.finditer(block)
                for edge in ((match.start(), match.end() - 1) if match[1] else (match.start(),))
            ],
            np.int64,
        )


def is_past_64_bits(column: pa.ChunkedArray) -> bool:
    """Whether a column of floats has numbers so large that they may have been whole ones, as codes are."""
    if not pa.types.is_floating(column.type):
        return False
    ends = pc.min_max(column).as_py()
    return ends["max"] is not None and max(-ends["min"], ends["max"]) >= 2**63
