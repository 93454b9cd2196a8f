"""The few Arrow types that rows have inside: one for each way to say the same.

Views, large types, dictionaries with indices of any type, run-end encodings and extensions are how others lay
values out in memory. They become plain where rows come in, so that no later step has to know of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import SchemaError

_STORED = ("arrow.uuid", "arrow.json", "arrow.bool8", "arrow.fixed_shape_tensor")
"""Extensions whose storage says what they say; others mean something that a model does not know."""
_INTERVAL = "pandas.interval"
"""The extension of bins such as pandas' `cut` makes, which become the text that pandas shows."""
_DECIMAL128_DIGITS = 38
"""Of the longest decimal of 128 bits."""


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """A schema with the types that `plain_array` gives."""
    if not any(field.type.id in _ODD for field in schema):
        return schema
    return pa.schema([_plain_field(field) for field in schema], schema.metadata)


def plain_table(table: pa.Table) -> pa.Table:
    """A table with plain columns."""
    for index, field in enumerate(table.schema):
        if field.type.id in _ODD:
            plain = _plain_field(field)
            chunks = [plain_array(chunk) for chunk in table.column(index).chunks]
            table = table.set_column(index, plain, pa.chunked_array(chunks, plain.type))
    return table


def _plain_field(field: pa.Field) -> pa.Field:
    if pa.types.is_union(field.type):
        raise SchemaError(
            f"Column {field.name!r} is a union, whose values are of several types: {field.type}. "
            "Cast it to one of them, or leave it out."
        )
    return field.with_type(plain_type(field.type))


@lru_cache(1024)
def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that values of this type have inside.

    Dictionaries of text and of numbers are categories and stay dictionaries; others are their values.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from outgrow.data.plain import plain_type
    >>> plain_type(pa.large_string())
    DataType(string)
    >>> plain_type(pa.dictionary(pa.uint8(), pa.string_view()))
    DictionaryType(dictionary<values=string, indices=int32, ordered=0>)
    """
    types = pa.types
    if types.is_dictionary(kind):
        values = plain_type(kind.value_type)
        is_category = any(check(values) for check in _CATEGORIES)
        return pa.dictionary(pa.int32(), values, kind.ordered) if is_category else values
    if types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name in _STORED:
        return plain_type(kind.storage_type)
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == _INTERVAL:
        return pa.string()
    if types.is_decimal32(kind) or types.is_decimal64(kind):
        kind = pa.decimal128(kind.precision, kind.scale)
    if types.is_decimal(kind) and kind.scale < 0:
        digits = kind.precision - kind.scale
        return (
            pa.decimal128(digits, 0)
            if digits <= _DECIMAL128_DIGITS
            else pa.decimal256(min(digits, 2 * _DECIMAL128_DIGITS), 0)
        )
    return _PLAIN.get(kind, pa.binary() if types.is_fixed_size_binary(kind) else kind)


def plain_array(array: pa.Array) -> pa.Array:
    """An array with the type that `plain_type` gives its own; the array itself where that is so already."""
    kind = array.type
    if kind.id not in _ODD:
        return array
    wanted = plain_type(kind)
    if pa.types.is_dictionary(kind):
        return _plain_dictionary(array, wanted)
    if wanted == kind:
        return array
    if isinstance(array, pa.ExtensionArray):
        return _interval_texts(array) if kind.extension_name == _INTERVAL else plain_array(array.storage)
    if pa.types.is_run_end_encoded(kind):
        return plain_array(pc.run_end_decode(array))
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return _narrowed(array, wanted)
    return array.cast(wanted, safe=not pa.types.is_date64(kind))  # the hours of a date are of no account


def _plain_dictionary(array: pa.DictionaryArray, wanted: pa.DataType) -> pa.Array:
    words = plain_array(array.dictionary)
    twice = pa.types.is_dictionary(wanted) and _has_twice(words, len(array))
    if array.type == wanted and not words.null_count and not twice:
        return array
    if not pa.types.is_dictionary(wanted):
        return words.take(array.indices)
    if words.null_count or twice:  # a null among the words is a missing value like others
        return plain_array(words.take(array.indices).dictionary_encode().cast(wanted))
    return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), words, ordered=wanted.ordered)


def _has_twice(words: pa.Array, rows: int) -> bool:
    """Whether a word is there twice, as Arrow allows; not looked up where that takes longer than all else."""
    return len(words) <= max(rows, _LOOKED_UP) and pc.count_distinct(words, mode="all").as_py() < len(words)


def _interval_texts(array: pa.ExtensionArray) -> pa.Array:
    closed = array.type.closed
    begin, end = "[("[closed in ("right", "neither")], "])"[closed in ("left", "neither")]
    ends = array.storage.to_pylist()
    texts = [None if both is None else f"{begin}{both['left']}, {both['right']}{end}" for both in ends]
    return pa.array(texts, pa.string())


def _narrowed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Text with offsets of 32 bits."""
    try:
        return array.cast(wanted)
    except pa.ArrowInvalid:  # a part of a column that is longer
        return array.take(pa.array(np.arange(len(array)))).cast(wanted)


_PLAIN: dict[pa.DataType, pa.DataType] = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
}
_LOOKED_UP = 1 << 12
"""Words that are looked up however few the rows are."""
_CATEGORIES = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
_OTHERS = [
    pa.dictionary(pa.int8(), pa.string()),
    pa.run_end_encoded(pa.int32(), pa.string()),
    pa.uuid(),
    pa.binary(1),
    pa.decimal32(1),
    pa.decimal64(1),
    pa.decimal128(1),
    pa.decimal256(1),
    pa.sparse_union([]),
    pa.dense_union([]),
]
_ODD = {kind.id for kind in [*_PLAIN, *_OTHERS]}
