"""The schema contract: names and kinds that were promised, and how what came differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_numeric, vector_column
from outgrow.data.kind import NUMBER, Kind, is_list
from outgrow.data.matrix import Column, Matrix
from outgrow.errors import DataError, SchemaError

_VALUES_SHOWN = 5


def kinds_of(schema: pa.Schema) -> dict[str, Kind]:
    return {field.name: Kind.of(field.type) for field in schema}


def wrong_columns(expected: Mapping[str, Kind], schema: pa.Schema) -> dict[str, pa.DataType | None]:
    """The expected columns that a schema lacks or has in a type that cannot become their kind.

    Parameters
    ----------
    expected : kinds by the name of the column; further columns of the schema do not count.
    schema : what came.

    Returns
    -------
    By name the type that was found, None for a column that is not there.
    """
    types = {field.name: field.type for field in schema}
    return {
        name: types.get(name)
        for name, kind in expected.items()
        if name not in types or not _can_become(types[name], kind)
    }


def check_kinds(expected: Mapping[str, Kind], schema: pa.Schema, what: str) -> None:
    """Refuse a schema that lacks an expected column or has it in another kind; further columns are ignored.

    Parameters
    ----------
    expected : kinds by the name of the column.
    schema : what came.
    what : who was fitted on the expected columns, as the message begins.

    Raises
    ------
    SchemaError
        With the difference, a line a column.
    """
    lines = [
        f"  - {name}: {expected[name]}  (missing)"
        if type is None
        else f"  ~ {name}: expected {expected[name]}, found {type}"
        for name, type in wrong_columns(expected, schema).items()
    ]
    if lines:
        kinds = kinds_of(schema)
        extra = [f"  + {name}: {kind}  (not used)" for name, kind in kinds.items() if name not in expected]
        raise SchemaError(f"{what} was fitted on other columns:\n" + "\n".join(lines + extra))


@dataclass(frozen=True)
class Conform:
    """`conformed` as a function of batches."""

    kinds: Mapping[str, Kind]

    def __call__(self, batch: Batch) -> Batch:
        return conformed(batch, self.kinds)


def conformed(batch: Batch, kinds: Mapping[str, Kind]) -> Batch:
    """A batch whose columns have the promised kinds.

    Categories of numbers may come as numbers or as text that says them; categories may come where numbers
    are promised, and lists where vectors are.

    Parameters
    ----------
    batch : rows that have all promised columns; further columns stay as they are.
    kinds : kinds by the name of the column.

    Raises
    ------
    DataError
        When a value is none of those that the kind of its column has.
    """
    changed = dict(_changed(batch, kinds))
    return batch.with_columns(changed) if changed else batch


def _changed(batch: Batch, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Column]]:
    held = batch.held
    for name, kind in kinds.items():
        if name not in held and name in batch.columns:
            continue
        column = batch[name]
        if isinstance(column, Matrix):
            continue
        if kind == NUMBER and pa.types.is_dictionary(column.type):
            yield name, column.dictionary_decode()
        elif kind.width is not None:
            yield name, vector_column(_lists(column, kind, name), name)
        elif kind.items is not None and column.type != kind.form.arrow:
            yield name, _lists(column, kind, name)
        elif kind.values is not None and Kind.of(column.type) != kind:
            yield name, _categories(column, kind, name)


def _lists(column: pa.Array, kind: Kind, name: str) -> pa.Array:
    """Lists in the type of a kind: vectors of one length, or lists of any."""
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        column = _contiguous(column)
    try:
        return column.cast(kind.form.arrow)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"Column {name!r} does not hold {kind.form.noun} in each row: {error}") from error


def _contiguous(views: pa.Array) -> pa.Array:
    """Views of lists as lists; Arrow's cast loses the end of the last one."""
    lengths = pc.fill_null(pc.list_value_length(views), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, views.flatten(), mask=views.is_null())


def _categories(column: pa.Array, kind: Kind, name: str) -> pa.Array:
    """Numbers, or text that says them, as categories of numbers."""
    values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    parsed = _parsed(values, kind)
    if parsed is None:
        bad = [
            word for word in pc.unique(values) if _parsed(pa.array([word.as_py()], values.type), kind) is None
        ]
        shown = ", ".join(repr(word.as_py()) for word in bad[:_VALUES_SHOWN])
        raise DataError(
            f"Column {name!r} holds categories, each {kind.form.noun}; {shown} is none. Correct those values."
        )
    return parsed.dictionary_encode()


def _parsed(values: pa.Array, kind: Kind) -> pa.Array | None:
    """The values in the type of a kind; None where one of them has no equal there."""
    text = pa.types.is_string(values.type)
    if (
        text
        and kind.values == "integer"
        and not _all(pc.match_substring_regex(values, kind.form.json["pattern"]))
    ):
        return None
    try:
        converted = values.cast(kind.form.arrow)
        same = text or pa.types.is_null(values.type) or _all(pc.equal(converted.cast(values.type), values))
    except pa.ArrowInvalid:
        return None
    return converted if same else None


def _all(truth: pa.Array) -> bool:
    return pc.all(truth).as_py() is not False


def _can_become(type: pa.DataType, kind: Kind) -> bool:
    own_kind = Kind.of(type)
    if own_kind == kind or pa.types.is_null(type):
        return True
    if kind == NUMBER:
        return own_kind.values is not None
    if kind.width is not None:
        return is_list(type) and is_numeric(type.value_type)
    if kind.items is not None:
        return is_list(type) and _can_become(type.value_type, kind.items)
    return kind.values is not None and own_kind.base in ("number", "category")


def difference(expected: pa.Schema, actual: pa.Schema) -> str:
    """What a schema lacks (-), adds (+) and changes (~), a line a column.

    Parameters
    ----------
    expected : what was promised.
    actual : what came; the order of columns does not count.

    Returns
    -------
    Empty where they are alike.
    """
    left = {field.name: field.type for field in expected}
    right = {field.name: field.type for field in actual}
    lines = [f"  - {name}: {kind}" for name, kind in left.items() if name not in right]
    lines += [f"  + {name}: {kind}" for name, kind in right.items() if name not in left]
    lines += [
        f"  ~ {name}: {kind} became {right[name]}"
        for name, kind in left.items()
        if name in right and right[name] != kind
    ]
    return "\n".join(lines)
