"""Rows of requests: checked by a type made for the model, and put together as one batch."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.batch import Batch, Matrix, matrix_columns, vector_names
from outgrow.data.schema import kind_of

msgspec = optional("msgspec", "serve")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a body that is no JSON, or JSON that is nested too deeply, ends with."""

Row = tuple[Any, ...]
"""The values of a row, in the order of the model's columns; None where there is none."""

_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$"
_TYPES: dict[str, Any] = {
    "number": float | bool | None,
    "category": str | None,
    "time": Annotated[str, msgspec.Meta(pattern=_ISO)] | None,
}
_NAMED = {"number": "a number", "category": "text", "time": "a date or time in ISO 8601"}
_ARROW = {"category": pa.string(), "time": pa.timestamp("us")}
_SHOWN = 20


class RowsError(Exception):
    """Rows that do not fit the model: what a client is told, in words and as a structure."""

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

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = dict(columns)
        self.names = list(columns)
        fields = [(f"c{place}", _python_type(kind)) for place, kind in enumerate(columns.values())]
        keys = {f"c{place}": name for place, name in enumerate(columns)}
        self.type: Any = msgspec.defstruct("Row", fields, rename=keys.get, gc=False)
        self._rows: Any = list.__class_getitem__(self.type)
        self._converted = [
            (place, name, _converter(kind))
            for place, (name, kind) in enumerate(columns.items())
            if kind == "time" or kind.startswith("vector[")
        ]
        self._only_numbers = all(kind == "number" for kind in columns.values())

    @cached_property
    def decoder(self) -> Any:
        """Reads a body that is an object with `rows` and perhaps `probabilities`."""
        fields = [("rows", self._rows), ("probabilities", bool, False)]
        return msgspec.json.Decoder(msgspec.defstruct("Request", fields))

    def from_arrays(self, rows: Sequence[Sequence[Any]], names: Sequence[str] | None = None) -> list[Row]:
        """Rows given as lists of values, under their names or in the order of the model's columns."""
        if names is None:
            self._check_width(rows)
            return self.checked([dict(zip(self.names, row, strict=True)) for row in rows])
        return self.checked([dict(zip(names, row, strict=False)) for row in rows])

    def checked(self, rows: Sequence[Any]) -> list[Row]:
        """Rows given as objects, whatever was read them.

        Raises
        ------
        RowsError
            When they lack columns or have values of other types; it has the difference.
        """
        try:
            found = msgspec.convert(rows, self._rows)
        except msgspec.ValidationError as error:
            raise self.refusal(rows, str(error)) from None
        return self.from_structs(found)

    def from_structs(self, found: Sequence[Any]) -> list[Row]:
        """Rows that `type` read; times and vectors are checked here, before the rows meet others.

        Raises
        ------
        RowsError
            With the row and the column.
        """
        rows = list(map(msgspec.structs.astuple, found))
        for place, name, convert in self._converted:
            for number, row in enumerate(rows):
                try:
                    value = convert(row[place])
                except ValueError as error:
                    said = f"Column {name!r}: {error}"
                    raise RowsError(
                        f"Row {number} cannot be read: {said}", rows={str(number): said}
                    ) from None
                rows[number] = (*row[:place], value, *row[place + 1 :])
        return rows

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Rows as a batch."""
        if self._only_numbers:
            values = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.names))
            return Batch(matrix_columns(values, self.names), len(rows))
        columns: dict[str, Any] = {}
        by_column = list(zip(*rows, strict=True)) or [()] * len(self.names)
        numeric = [place for place, kind in enumerate(self.columns.values()) if kind == "number"]
        if numeric:
            matrix = np.array([by_column[place] for place in numeric], dtype=np.float64).T
            columns |= matrix_columns(matrix, [self.names[place] for place in numeric])
        for (name, kind), found in zip(self.columns.items(), by_column, strict=True):
            if kind != "number":
                columns[name] = _column(name, kind, found)
        return Batch({name: columns[name] for name in self.names}, len(rows))

    def _check_width(self, rows: Sequence[Sequence[Any]]) -> None:
        for place, row in enumerate(rows):
            if len(row) != len(self.names):
                raise RowsError(
                    f"Row {place} has {len(row)} values; the model has {len(self.names)} columns.",
                    columns=self.columns,
                )

    def refusal(self, rows: Sequence[Any], said: str) -> RowsError:
        """What is wrong with rows that do not fit, column by column."""
        missing: dict[str, int] = {}
        wrong: dict[str, dict[str, Any]] = {}
        extra: dict[str, int] = {}
        for place, row in enumerate(rows):
            if not isinstance(row, Mapping):
                return RowsError(f"Row {place} is no object of column names and values: {said}")
            for name in set(self.names) - row.keys():
                missing.setdefault(name, place)
            for name in row.keys() - set(self.names):
                extra.setdefault(name, place)
            for name in row.keys() & set(self.names):
                if name not in wrong and not _fits(row[name], self.columns[name]):
                    wrong[name] = {
                        "expected": _NAMED.get(self.columns[name], self.columns[name]),
                        "found": repr(row[name])[:80], "row": place,
                    }  # fmt: skip
        difference = {
            "missing": [name for name in self.names if name in missing],
            "wrong": wrong,
            "not_used": sorted(extra),
        }
        words = [f"{name} is missing" for name in difference["missing"]]
        words += [f"{name} is not {fault['expected']} ({fault['found']})" for name, fault in wrong.items()]
        shown = "; ".join(words[:_SHOWN]) or said
        return RowsError(f"The rows do not have the model's columns: {shown}.", columns=difference)


def decoded(body: bytes | memoryview) -> Any:
    """What a body of JSON holds."""
    try:
        return msgspec.json.decode(body)
    except NOT_JSON as error:
        raise not_json(error) from None


def not_json(error: Exception) -> RowsError:
    return RowsError(f"The body is not JSON: {error}")


def table_batch(reader: RowReader, table: pa.Table) -> Batch:
    """An Arrow table as a batch of the model's columns; others are left out.

    Raises
    ------
    RowsError
        When columns are missing or of another kind.
    """
    kinds = {field.name: kind_of(field.type) for field in table.schema}
    missing = [name for name in reader.names if name not in kinds]
    wrong = {
        name: {"expected": kind, "found": str(table.schema.field(name).type)}
        for name, kind in reader.columns.items()
        if name in kinds and kinds[name] != kind and not pa.types.is_null(table.schema.field(name).type)
    }
    if missing or wrong:
        words = [f"{name} is missing" for name in missing]
        words += [f"{name} is {fault['found']}, not {fault['expected']}" for name, fault in wrong.items()]
        raise RowsError(
            f"The rows do not have the model's columns: {'; '.join(words[:_SHOWN])}.",
            columns={"missing": missing, "wrong": wrong, "not_used": sorted(set(kinds) - set(reader.names))},
        )
    batches = table.select(reader.names).combine_chunks().to_batches()
    schema = table.select(reader.names).schema
    return Batch.from_arrow(batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema))


def _python_type(kind: str) -> Any:
    return list[float] if kind.startswith("vector[") else _TYPES.get(kind, Any)


def _fits(value: Any, kind: str) -> bool:
    try:
        msgspec.convert(value, _python_type(kind))
    except msgspec.ValidationError:
        return False
    return True


def _column(name: str, kind: str, values: Sequence[Any]) -> Any:
    if kind.startswith("vector["):
        width = int(kind[7:-1])
        matrix = np.array(values, dtype=np.float64).reshape(len(values), width)
        return Matrix(matrix, vector_names(name, width))
    return pa.array(values, _ARROW.get(kind, pa.string()))


def _converter(kind: str) -> Callable[[Any], Any]:
    """What makes a value of a time or a vector of what JSON has; it raises ValueError."""
    return _moment if kind == "time" else partial(_vector, int(kind[7:-1]))


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
