"""The fields that a user asks for, by names of columns or selectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.kind import is_list, is_time
from outgrow.data.matrix import Column, Matrix
from outgrow.data.scan import Scan
from outgrow.deep.fields import Field, Part, listed
from outgrow.errors import ColumnNotFoundError, ParameterError, SchemaError


def fields_of(scan: Scan, columns: Any, dtype: Any) -> list[Field]:
    """The fields that a user asks for.

    Parameters
    ----------
    scan : the rows.
    columns : None for each column by its name; names or a selector; or by field the name of a column,
        several, or a selector.
    dtype : of all fields of numbers, or by field; where none is given, fractions are float32, whole numbers
        int64.

    Raises
    ------
    ColumnNotFoundError
        When a column is not there.
    ParameterError
        When `dtype` names a field that is not there, or is none of NumPy's numbers.
    SchemaError
        When columns side by side are no numbers.
    """
    example = scan.example()
    wanted = _wanted(example, columns)
    dtypes = dtype if isinstance(dtype, Mapping) else dict.fromkeys(wanted, dtype)
    unknown = [name for name in dtypes if name not in wanted]
    if unknown:
        raise ParameterError(f"dtype names {unknown}, and the fields are {list(wanted)}.")
    return [
        _field(scan, example, name, names, _dtype(name, dtypes.get(name))) for name, names in wanted.items()
    ]


def _wanted(example: Batch, columns: Any) -> dict[str, str | tuple[str, ...]]:
    """The column or columns of each field; a single name stands for itself."""
    if columns is None:
        columns = list(example.columns)
    if isinstance(columns, str):
        columns = [columns]
    if not isinstance(columns, Mapping):
        columns = {name: name for name in _names(example, columns)}
    wanted: dict[str, str | tuple[str, ...]] = {}
    for name, given in columns.items():
        wanted[name] = given if isinstance(given, str) else _names(example, given)
    if not wanted or not all(wanted.values()):
        raise ParameterError("columns: a field needs at least one column.")
    return wanted


def _names(example: Batch, given: Any) -> tuple[str, ...]:
    """The names that a selector chooses, or that are given."""
    given = given(example, list(example.columns)) if callable(given) else given
    names = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(name, str) for name in names):
        raise ParameterError(
            f"columns={given!r}: give names of columns, a selector such as og.numeric(), or by field the "
            f"name of a column or of several. There are {list(example.columns)[:20]}."
        )
    return names


def _field(
    scan: Scan, example: Batch, name: str, given: str | tuple[str, ...], dtype: np.dtype[Any] | None
) -> Field:
    joined = not isinstance(given, str)
    parts = _parts(example, (given,) if isinstance(given, str) else given)
    columns = [example[part.column] for part in parts]
    others = {
        part.column: column.type
        for part, column in zip(parts, columns, strict=True)
        if not isinstance(column, Matrix) and not is_numeric(column.type)
    }
    if others and joined:
        raise SchemaError(
            f"Field {name!r} puts {len(parts)} columns side by side, and {listed(list(others))} hold no "
            f"numbers but {next(iter(others.values()))}. Make numbers of them, such as by og.OneHotEncoder, "
            "or give each a field of its own."
        )
    if others:
        return _other(name, *next(iter(others.items())), dtype)
    if dtype is None:
        dtype = np.dtype(np.float32) if joined else _usual(columns[0])
    width = sum(map(_width, parts, columns))
    if joined:
        return Field(name, parts, (width,), dtype)
    if not isinstance(columns[0], Matrix) or parts[0].positions is not None:
        return Field(name, parts, (), dtype)
    shape, order = _tensor_shape(scan, parts[0].column, width)
    return Field(name, parts if order is None else (Part(parts[0].column, order),), shape, dtype)


def _parts(example: Batch, names: Sequence[str]) -> tuple[Part, ...]:
    """Where columns are, some of which may be numbers of vectors; those of one vector stay together."""
    inside: dict[str, tuple[str, int]] | None = None
    parts: list[Part] = []
    for name in names:
        if name in example.columns:
            parts.append(Part(name))
            continue
        if inside is None:
            inside = _numbers_of_vectors(example)
        if name not in inside:
            known = [*example.columns, *list(inside)[:20]]
            raise ColumnNotFoundError(f"No column {name!r} among {known}.")
        column, position = inside[name]
        if parts and parts[-1].column == column and parts[-1].positions:
            parts[-1] = Part(column, (*parts[-1].positions, position))
        else:
            parts.append(Part(column, (position,)))
    return tuple(parts)


def _numbers_of_vectors(example: Batch) -> dict[str, tuple[str, int]]:
    """By name, the vector that a number belongs to, and its position there."""
    return {
        str(name): (column, position)
        for column, vector in example.columns.items()
        if isinstance(vector, Matrix)
        for position, name in enumerate(vector.names)
    }


def _width(part: Part, column: Column) -> int:
    if part.positions is not None:
        return len(part.positions)
    return column.width if isinstance(column, Matrix) else 1


def _other(name: str, column: str, kind: pa.DataType, dtype: np.dtype[Any] | None) -> Field:
    """A field of a column that holds no numbers."""
    if pa.types.is_temporal(kind):
        how = "by og.DatetimeEncoder" if is_time(kind) else "with Dataset.map"
        raise SchemaError(
            f"Column {column!r} holds times ({kind}), and tensors have none. Make numbers of it, such as "
            f"{how}, or leave it out with columns=."
        )
    if not is_list(kind):
        if dtype is not None:
            raise ParameterError(f"dtype of {name!r}: column {column!r} holds {kind}, no numbers.")
        return Field(name, (Part(column),))
    inner = kind
    while is_list(inner):
        inner = inner.value_type
    if not is_numeric(inner):
        raise SchemaError(
            f"Column {column!r} holds lists of {inner}, which make no tensor. Make numbers of them with "
            "transform=, or leave the column out with columns=."
        )
    return Field(name, (Part(column),), items=dtype or _usual_type(inner))


def _usual(column: Column) -> np.dtype[Any]:
    """The dtype that PyTorch's users expect."""
    if isinstance(column, Matrix):
        return np.dtype(np.float32) if column.values.dtype.kind == "f" else column.values.dtype
    return _usual_type(column.type)


def _usual_type(kind: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_boolean(kind):
        return np.dtype(np.bool_)
    return np.dtype(np.int64 if pa.types.is_integer(kind) else np.float32)


def _tensor_shape(scan: Scan, name: str, width: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shape of Arrow's tensors, which steps that leave a column as it is keep; else that of a vector.

    Also the places of its numbers, in order, where Arrow stores the axes in another order than they have.
    """
    stored = scan.source.schema
    if name in stored.names:
        kind = stored.field(name).type
        if isinstance(kind, pa.FixedShapeTensorType) and prod(kind.shape) == width:
            if kind.permutation is None:
                return tuple(kind.shape), None
            places = np.arange(width).reshape(kind.shape).transpose(kind.permutation)
            return places.shape, tuple(places.ravel().tolist())
    return (width,), None


def _dtype(name: str, given: Any) -> np.dtype[Any] | None:
    if given is None:
        return None
    try:
        dtype = np.dtype(given if isinstance(given, type) else str(given).removeprefix("torch."))
    except TypeError:
        dtype = np.dtype(object)
    dtype = dtype.newbyteorder("=")  # of tensors it is the processor's
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ParameterError(
            f"dtype of {name!r} is {given!r}: give a type of numbers, such as 'float32' or 'int64'."
        )
    return dtype
