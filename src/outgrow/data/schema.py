"""The schema contract: names and types that were promised, and how what came differs."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from outgrow.data.batch import is_categorical, is_numeric, is_vector
from outgrow.errors import SchemaError


def kind_of(type: pa.DataType) -> str:
    """The type of a column as an estimator sees it; fit and predict may get different types of one kind."""
    if is_numeric(type):
        return "number"
    if is_categorical(type) or pa.types.is_null(type):
        return "category"
    if is_vector(type):
        return f"vector[{type.list_size}]"
    if pa.types.is_date(type) or pa.types.is_timestamp(type):
        return "time"
    return str(type)


def kinds_of(schema: pa.Schema) -> dict[str, str]:
    return {field.name: kind_of(field.type) for field in schema}


def check_kinds(expected: Mapping[str, str], schema: pa.Schema, what: str) -> None:
    """Refuse a schema that lacks an expected column or has it in another kind; further columns are ignored.

    Raises
    ------
    SchemaError
        With the difference, a line a column.
    """
    found = kinds_of(schema)
    lines = [f"  - {name}: {kind}  (missing)" for name, kind in expected.items() if name not in found]
    lines += [
        f"  ~ {name}: expected {kind}, found {schema.field(name).type}"
        for name, kind in expected.items()
        if name in found and found[name] != kind and not _null_number(schema.field(name).type, kind)
    ]
    if lines:
        extra = [f"  + {name}: {kind}  (not used)" for name, kind in found.items() if name not in expected]
        raise SchemaError(f"{what} was fitted on other columns:\n" + "\n".join(lines + extra))


def difference(expected: pa.Schema, found: pa.Schema) -> str:
    """What `found` lacks (-), adds (+) and changes (~), a line a column."""
    left = {field.name: field.type for field in expected}
    right = {field.name: field.type for field in found}
    lines = [f"  - {name}: {kind}" for name, kind in left.items() if name not in right]
    lines += [f"  + {name}: {kind}" for name, kind in right.items() if name not in left]
    lines += [
        f"  ~ {name}: {kind} became {right[name]}"
        for name, kind in left.items()
        if name in right and right[name] != kind
    ]
    return "\n".join(lines)


def _null_number(type: pa.DataType, kind: str) -> bool:
    return bool(pa.types.is_null(type) and kind == "number")
