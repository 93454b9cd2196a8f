"""JSON lines as columns, by the rules of delimited text where both have the question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from outgrow.data.encoding import check_utf8
from outgrow.data.json_texts import with_texts
from outgrow.data.kind import CATEGORY, Kind, is_time
from outgrow.data.text import TextOptions, Types, is_past_64_bits
from outgrow.data.widest import WHOLE
from outgrow.errors import DataError, ParameterError

_MOMENTS = (
    pa.date32(),
    pa.timestamp("s"),
    pa.timestamp("ns"),
    pa.timestamp("s", "UTC"),
    pa.timestamp("ns", "UTC"),
)
"""What text that says moments may be, the narrowest first, as in delimited text."""
_MOMENT = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d\S*)?$"
_NO_OPTIONS = TextOptions()
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OPEN, _CLOSED = (np.frombuffer(signs, np.uint8) for signs in (b"{[", b"}]"))
_LEVELS = 1_000
"""Of nesting, at most: each takes a part of the stack of whoever looks into the value."""


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line."""

    options: TextOptions = _NO_OPTIONS
    fits_text = False

    def __post_init__(self) -> None:
        given = [name for name in ("na_values", "sep") if getattr(self.options, name)]
        given += ["decimal"] if self.options.decimal != "." else []
        if given:
            raise ParameterError(f"{given[0]}= says how CSV is read, and this is JSON. Leave it out.")

    def head(self, start: bytes, *, whole: bool) -> tuple[list[str], int] | None:
        """No names, and no bytes: nothing names the columns beforehand.

        Parameters
        ----------
        start : the first bytes of the file.
        whole : without effect.

        Raises
        ------
        DataError
            When it is one JSON array.
        """
        if start.lstrip()[:1] == b"[":
            raise DataError("it is one JSON array, and not one JSON object a line. Write it as JSON lines")
        return [], 0

    def cut(self, block: bytes) -> int:
        """Where the last whole line of a block ends; 0 if none does."""
        return block.rfind(b"\n") + 1

    def check_end(self, block: bytes) -> None:
        """A line that is cut off is no JSON, which is an error where it is read."""

    def parse(
        self, block: bytes, names: Sequence[str], types: Types, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Whole lines as a table.

        Parameters
        ----------
        block : bytes of UTF-8.
        names : without effect: each line has its own.
        types : by name; keys without a type get one.
        columns : those that are wanted, in their order; None for all that are met.

        Raises
        ------
        ArrowInvalid
            When they are no objects, or values are not of these types.
        DataError
            When they are not UTF-8, or nested too deeply.
        """
        if not block.strip():
            return pa.schema([]).empty_table()
        check_utf8(block)
        _check_levels(block)
        wanted = {name: kind for name, kind in types.items() if columns is None or name in columns}
        texts = [name for name, kind in wanted.items() if is_time(kind)]
        first = b"{}\n" if block.lstrip().startswith(b"null") else b""  # Arrow does not survive to begin so
        parse_options = pajson.ParseOptions(
            explicit_schema=pa.schema({**wanted, **dict.fromkeys(texts, pa.string())}.items()),
            unexpected_field_behavior="infer" if columns is None else "ignore",
        )
        try:
            table = _read(first + block, parse_options)
        except pa.ArrowInvalid:
            spelt = with_texts(block, [name for name, kind in wanted.items() if pa.types.is_string(kind)])
            if spelt is None:
                raise
            table = _read(first + spelt, parse_options)
        table = table.slice(1) if first else table
        for name in texts:
            moments = table[name].cast(wanted[name])
            table = table.set_column(table.schema.get_field_index(name), name, moments)
        return table if columns is None else table.select(list(columns))

    def infer(
        self, block: bytes, names: Sequence[str], columns: Sequence[str] | None = None
    ) -> tuple[pa.Table, frozenset[str]]:
        """Whole lines as a table; none of its columns hold words for what is missing.

        Parameters
        ----------
        block : bytes of UTF-8.
        names : without effect.
        columns : without effect: all keys are looked at.
        """
        types = dict(self.options.types)
        table = self.parse(block, names, types)
        order = table.schema.names
        free = [column for column in table.schema if column.name not in types]
        times = [column.name for column in free if pa.types.is_timestamp(column.type)]
        if times:  # Arrow drops their zones
            types |= dict.fromkeys(times, pa.string())
            table = self.parse(block, names, types)
        for column in free:
            if is_past_64_bits(table[column.name]):
                try:
                    table = self.parse(block, names, {**types, column.name: WHOLE})
                except pa.ArrowInvalid:  # some have a fraction, or more digits than any type
                    continue
                types[column.name] = WHOLE
        return _with_moments(table.select(order), (column.name for column in free)), frozenset()

    def retyped(self, inferred_type: pa.DataType, kind: Kind) -> pa.DataType | None:
        """The type in which a column is of a kind; None where it stays as it was inferred.

        Parameters
        ----------
        inferred_type : only text that looks like a time may become text.
        kind : what was promised of it.
        """
        return pa.string() if kind == CATEGORY and is_time(inferred_type) else None


def _read(block: bytes, options: pajson.ParseOptions) -> pa.Table:
    return pajson.read_json(
        pa.BufferReader(block),
        read_options=pajson.ReadOptions(use_threads=False, block_size=len(block) + 1),
        parse_options=options,
    )


def _with_moments(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """A table in which columns of text are moments, if all their values say such."""
    for name in names:
        column = table[name]
        if pa.types.is_string(column.type) and _all_moments(column):
            for kind in _MOMENTS:
                try:
                    table = table.set_column(table.schema.get_field_index(name), name, column.cast(kind))
                except pa.ArrowInvalid:
                    continue
                break
    return table


def _all_moments(column: pa.ChunkedArray) -> bool:
    values = column.drop_null()
    return bool(
        len(values)
        and re.match(_MOMENT, values[0].as_py())
        and pc.all(pc.match_substring_regex(values, _MOMENT)).as_py()
    )


def _check_levels(block: bytes) -> None:
    """Refuse lines that are nested so deeply that a stack overflows; only long ones can be."""
    if _deepest(block) > _LEVELS and (deepest := _deepest(_TEXT.sub(b"", block))) > _LEVELS:
        raise DataError(f"a line nests {deepest:,} levels of JSON; at most {_LEVELS:,} are read. Flatten it")


def _deepest(block: bytes) -> int:
    """The most levels within a line, brackets within text counted; 0 where no line is long."""
    data = np.frombuffer(block, np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(data[:-1] == ord("\n")) + 1])
    if np.diff(starts, append=len(data)).max() < 2 * _LEVELS:
        return 0
    steps = np.isin(data, _OPEN).astype(np.int32) - np.isin(data, _CLOSED)
    levels = np.cumsum(steps)
    return int((np.maximum.reduceat(levels, starts) - levels[starts] + steps[starts]).max())
