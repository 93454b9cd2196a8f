"""Rows of requests: checked by a type made for the model, and put together as one batch."""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from operator import or_
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.data.exact import EXACT
from outgrow.data.kind import BINARY, NUMBER, TIME, Kind
from outgrow.data.matrix import ArrayColumns, Matrix, matrix_columns
from outgrow.data.names import VectorNames
from outgrow.data.schema import conformed, wrong_columns
from outgrow.data.source import empty_batch
from outgrow.errors import DataError

msgspec = optional("msgspec", "serve")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a body that is no JSON, or JSON that is nested too deeply, ends with."""

Row = tuple[Any, ...]
"""The values of a row, in the order of the model's columns; None where there is none."""

_SPACED = re.compile(rb'"[ \t\r\n]+:')
"""A key that does not end right before its colon."""
_COLUMNS_SHOWN = 20
_ROWS_SHOWN = 100
"""Rows that are looked at after the first one that does not fit."""


class RowsError(Exception):
    """Rows that do not fit the model: the reason for the client, as text and as a structure."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class Query:
    """What a body asks.

    Attributes
    ----------
    rows : to score.
    probabilities : whether those of the classes are wanted.
    id : what the client calls the request, which is given back.
    outputs : the tensors that are wanted, and whether as binary data.
    """

    rows: list[Row] | Batch
    probabilities: bool = False
    id: str | None = None
    outputs: dict[str, bool] = field(default_factory=dict)


class RowReader:
    """Reads rows for a model whose columns are `columns`, name to kind.

    Attributes
    ----------
    type : of a row as an object in JSON, for `msgspec`; its values come in the order of the columns.
    """

    def __init__(self, columns: Mapping[str, Kind]) -> None:
        self.columns = dict(columns)
        self.names = list(columns)
        fields = [(f"c{index}", _python_type(kind.form.json)) for index, kind in enumerate(columns.values())]
        keys = {f"c{index}": name for index, name in enumerate(columns)}
        self._renamed = None if all(map(_is_key, columns)) else {name: key for key, name in keys.items()}
        rename = keys.get if self._renamed is None else None
        self.type: Any = msgspec.defstruct("Row", fields, rename=rename, gc=False)
        self._rows: Any = list.__class_getitem__(self.type)
        self._converted = [
            (index, name, _converter(kind))
            for index, (name, kind) in enumerate(columns.items())
            if kind in (BINARY, TIME) or kind.width is not None
        ]
        self._only_numbers = all(kind == NUMBER for kind in columns.values())

    @cached_property
    def decoder(self) -> Any:
        """Reads a body that is an object with `rows`, for `opened`, and perhaps `probabilities`."""
        rows = self._rows if self._renamed is None else list[dict[str, Any]]
        fields = [("rows", rows), ("probabilities", bool, False)]
        return msgspec.json.Decoder(msgspec.defstruct("Request", fields))

    def keys(self, rows: Sequence[Any]) -> int:
        """How many keys the rows have that `decoder` read, without those that are no columns."""
        return len(rows) * len(self.names) if self._renamed is None else sum(map(len, rows))

    def opened(self, rows: Sequence[Any]) -> list[Row]:
        """The rows that `decoder` read.

        Raises
        ------
        RowsError
            When a value cannot be what it should; with the row and the column.
        """
        return self.from_structs(rows) if self._renamed is None else self.checked(rows)

    def from_arrays(self, rows: Sequence[Sequence[Any]], names: Sequence[str] | None = None) -> list[Row]:
        """Rows given as lists of values.

        Parameters
        ----------
        rows : each a list of values.
        names : of the columns that the values are of; None for the model's, in their order.

        Raises
        ------
        RowsError
            When a row has another number of values than the model has columns, or values of other types.
        """
        if names is None:
            self._check_width(rows)
            return self.checked([dict(zip(self.names, row, strict=True)) for row in rows])
        return self.checked([dict(zip(names, row, strict=False)) for row in rows])

    def checked(self, rows: Sequence[Any]) -> list[Row]:
        """Rows given as objects, however they were parsed.

        Raises
        ------
        RowsError
            When they lack columns or have values of other types; it has the difference.
        """
        try:
            structs = msgspec.convert(self._by_keys(rows), self._rows)
        except msgspec.ValidationError as error:
            raise self.refusal(rows, str(error)) from None
        return self.from_structs(structs)

    def _by_keys(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Rows under the names of the fields of `type`."""
        keys = self._renamed
        if keys is None:
            return rows
        return [
            {keys[name]: value for name, value in row.items() if name in keys}
            if isinstance(row, Mapping)
            else row
            for row in rows
        ]

    def from_structs(self, structs: Sequence[Any]) -> list[Row]:
        """Rows that `type` read; bytes, times and vectors are checked here, before the rows meet others.

        Raises
        ------
        RowsError
            With the row and the column.
        """
        rows = list(map(msgspec.structs.astuple, structs))
        for index, name, convert in self._converted:
            for number, row in enumerate(rows):
                try:
                    value = convert(row[index])
                except ValueError as error:
                    reason = f"Column {name!r}: {error}"
                    raise RowsError(
                        f"Row {number} cannot be read: {reason}", rows={str(number): reason}
                    ) from None
                rows[number] = (*row[:index], value, *row[index + 1 :])
        return rows

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Rows as a batch."""
        if self._only_numbers:
            array = _values(rows, self.names)
            exact = _exact_columns(array, rows, self.names)
            if not exact:
                return Batch(ArrayColumns(Matrix(array, tuple(self.names)), {}), len(rows))
            return Batch({**matrix_columns(array, self.names), **exact}, len(rows))
        by_column = list(zip(*rows, strict=True)) or [()] * len(self.names)
        numeric = [index for index, kind in enumerate(self.columns.values()) if kind == NUMBER]
        chosen = list(zip(*(by_column[index] for index in numeric), strict=True))
        columns = _numbers(chosen, [self.names[index] for index in numeric]) if numeric else {}
        for (name, kind), values in zip(self.columns.items(), by_column, strict=True):
            if kind != NUMBER:
                columns[name] = _column(name, kind, values)
        return conformed(Batch({name: columns[name] for name in self.names}, len(rows)), self.columns)

    def _check_width(self, rows: Sequence[Sequence[Any]]) -> None:
        for number, row in enumerate(rows):
            if len(row) != len(self.names):
                raise RowsError(
                    f"Row {number} has {len(row)} values; the model has {len(self.names)} columns.",
                    columns=dict(zip(self.names, map(str, self.columns.values()), strict=True)),
                )

    def refusal(self, rows: Sequence[Any], reason: str) -> RowsError:
        """What is wrong with rows that do not fit, column by column.

        Parameters
        ----------
        rows : as they came; what follows long after the first that does not fit is not looked at.
        reason : what the parser says, for rows whose columns are as they should be, or that are no objects.

        Returns
        -------
        The error to raise; its details name the columns that are missing, wrong, and not used.
        """
        missing: dict[str, int] = {}
        wrong: dict[str, dict[str, Any]] = {}
        extra: dict[str, int] = {}
        first: int | None = None
        for number, row in enumerate(rows):
            if first is None and (missing or wrong):
                first = number
            if first is not None and number - first > _ROWS_SHOWN:
                break  # enough is known, and a client may send many rows
            if not isinstance(row, Mapping):
                return RowsError(f"Row {number} is no object of column names and values: {reason}")
            for name in set(self.names) - row.keys():
                missing.setdefault(name, number)
            for name in row.keys() - set(self.names):
                extra.setdefault(name, number)
            for name in row.keys() & set(self.names):
                if name not in wrong and not _fits(row[name], self.columns[name]):
                    wrong[name] = {
                        "expected": self.columns[name].form.noun,
                        "found": repr(row[name])[:80],
                        "row": number,
                    }
        difference = {
            "missing": [name for name in self.names if name in missing],
            "wrong": wrong,
            "not_used": sorted(extra),
        }
        words = [f"{name} is missing" for name in difference["missing"]]
        words += [f"{name} is not {fault['expected']} ({fault['found']})" for name, fault in wrong.items()]
        shown = "; ".join(words[:_COLUMNS_SHOWN]) or reason
        return RowsError(f"The rows do not have the model's columns: {shown}.", columns=difference)


def decoded(body: bytes | memoryview) -> Any:
    """What a body of JSON holds.

    Raises
    ------
    RowsError
        When it is no JSON, or an object in it has a key twice.
    """
    try:
        given = msgspec.json.decode(body)
        check_keys(body, _keys(given))
    except NOT_JSON as error:
        raise not_json(error) from None
    return given


def check_keys(body: bytes | memoryview, keys: int) -> None:
    """Refuse an object that has a key twice: of its values all but the last would be lost.

    Parameters
    ----------
    body : JSON that can be read.
    keys : at most as many as were read of it; where there is a colon behind a quote for each and no more,
        no key is twice.

    Raises
    ------
    RowsError
        With the key.
    """
    text = bytes(body)
    if text.count(b":") <= keys:
        return
    if text.count(b'":') > keys or _SPACED.search(text):  # times and addresses have colons, too
        json.loads(text, object_pairs_hook=_once, parse_int=len, parse_float=len)


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Nothing of an object but that its keys are all different."""
    if len({key for key, _ in pairs}) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise RowsError(
            f"The key {twice!r} is there twice in one object, and only one of its values would count. Send "
            "each key once.",
            key=twice,
        )


def _keys(given: Any) -> int:
    """How many keys a value has that was read; fewer in lists that hold objects beside others."""
    if isinstance(given, dict):
        inner = sum(_keys(value) for value in given.values() if isinstance(value, dict | list))
        return len(given) + inner
    if isinstance(given, list) and given and isinstance(given[0], dict | list):
        return sum(map(_keys, given))
    return 0


def not_json(error: Exception) -> RowsError:
    return RowsError(f"The body is not JSON: {error}")


def table_batch(reader: RowReader, table: pa.Table) -> Batch:
    """An Arrow table as a batch of the model's columns; others are left out.

    Parameters
    ----------
    reader : of the version that will answer.
    table : with the model's columns, in any order.

    Raises
    ------
    RowsError
        When columns are missing or of another kind.
    """
    others = wrong_columns(reader.columns, table.schema)
    missing = [name for name, type_ in others.items() if type_ is None]
    wrong = {
        name: {"expected": str(reader.columns[name]), "found": str(type_)}
        for name, type_ in others.items()
        if type_ is not None
    }
    if missing or wrong:
        words = [f"{name} is missing" for name in missing]
        words += [f"{name} is {fault['found']}, not {fault['expected']}" for name, fault in wrong.items()]
        raise RowsError(
            f"The rows do not have the model's columns: {'; '.join(words[:_COLUMNS_SHOWN])}.",
            columns={
                "missing": missing,
                "wrong": wrong,
                "not_used": sorted(set(table.schema.names) - set(reader.names)),
            },
        )
    batches = table.select(reader.names).combine_chunks().to_batches()
    schema = table.select(reader.names).schema
    return Batch.from_arrow(batches[0]) if batches else empty_batch(schema)


def _is_key(name: str) -> bool:
    """Whether a structure that is read from JSON can have a field of this name."""
    return not any(character in '"\\' or character < " " for character in name)


def arrow_batch(batch: Batch) -> pa.RecordBatch:
    """A batch as Arrow, its vectors as lists of a fixed size."""
    arrays = [
        column
        if not isinstance(column, Matrix)
        else pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(column.values)), column.width)
        for column in batch.columns.values()
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(batch.columns))


def _python_type(schema: Mapping[str, Any]) -> Any:
    """The type that `msgspec` checks for a JSON schema of one value."""
    if not schema:
        return Any
    if schema["type"] == "array":
        return list[float]
    if "array" in schema["type"]:
        items = _python_type(schema["items"])
        return list.__class_getitem__(items) | None
    return reduce(or_, (_scalar_type(name, schema) for name in schema["type"]))


def _scalar_type(name: str, schema: Mapping[str, Any]) -> Any:
    if name == "integer":
        low, high = schema["minimum"], schema["maximum"]
        whole = Annotated[int, msgspec.Meta(ge=low, le=high)]
        return whole | Annotated[float, msgspec.Meta(ge=low, lt=high, multiple_of=1)]
    if name == "string" and "pattern" in schema:
        return Annotated[str, msgspec.Meta(pattern=schema["pattern"])]
    return {"number": int | float, "boolean": bool, "string": str, "null": None}[name]


def _fits(value: Any, kind: Kind) -> bool:
    try:
        msgspec.convert(value, _python_type(kind.form.json))
    except msgspec.ValidationError:
        return False
    return True


def _numbers(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> dict[str, Any]:
    """Columns of numbers as float64; whole numbers that float64 does not tell apart stay as they are."""
    values = _values(rows, names)
    return matrix_columns(values, names) | _exact_columns(values, rows, names)


def _values(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> np.ndarray:
    try:
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    except OverflowError:
        raise DataError(f"A whole number among {list(names)} is past the range of float64.") from None
    return np.asfortranarray(values)


def _exact_columns(
    values: np.ndarray, rows: Sequence[Sequence[Any]], names: Sequence[str]
) -> dict[str, pa.Array]:
    """The columns in which a whole number is so large that float64 does not tell it from its neighbour."""
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero((np.abs(values) >= EXACT).any(axis=0))
    return {names[index]: _exact([row[index] for row in rows]) for index in large.tolist()}


def _exact(values: Sequence[Any]) -> pa.Array:
    if any(isinstance(value, float) for value in values):
        return pa.array(values, pa.float64())
    try:
        return pa.array(values, pa.decimal128(38, 0))
    except pa.ArrowInvalid:
        return pa.array(list(map(float, values)), pa.float64())


def _column(name: str, kind: Kind, values: Sequence[Any]) -> Any:
    if kind.width is not None:
        matrix = np.array(values, dtype=np.float64).reshape(len(values), kind.width)
        return Matrix(matrix, VectorNames(name, kind.width))
    if kind.values == "integer":
        values = [None if value is None else int(value) for value in values]
    return pa.array(values, kind.form.arrow or pa.string())


def _converter(kind: Kind) -> Callable[[Any], Any]:
    """What makes a value of bytes, a time or a vector of what JSON has; it raises ValueError."""
    if kind.width is not None:
        return partial(_vector, kind.width)
    return _bytes if kind == BINARY else _moment


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _vector(width: int, values: list[float]) -> list[float]:
    if len(values) != width:
        raise ValueError(f"the vector has {len(values)} values, not {width}")
    return values


def _moment(text: str | None) -> datetime.datetime | None:
    """A moment in ISO 8601, in UTC where it says its zone."""
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no date or time: {error}") from None
