"""Columns of arrays in files: numbers, texts, vectors and tensors, each a row of the array."""

from __future__ import annotations

from math import prod

import numpy as np
import pyarrow as pa


def array_column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Rows of an array as a column.

    Parameters
    ----------
    values : numbers in any byte order, or texts, also as bytes of UTF-8.
    kind : of the column: of numbers or text, a list of a fixed size, or a tensor of a fixed shape.
    """
    if pa.types.is_string(kind):
        texts = [value.decode() if isinstance(value, bytes) else value for value in values.ravel().tolist()]
        return pa.array(texts, kind)
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if isinstance(kind, pa.FixedShapeTensorType):
        return pa.ExtensionArray.from_storage(kind, array_column(native, kind.storage_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(native.reshape(-1)), type=kind)
    return pa.array(native)


def kind_bytes(kind: pa.DataType) -> int:
    """About how many bytes a value of such a column takes."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return prod(kind.shape) * kind_bytes(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * kind_bytes(kind.value_type)
    return 16 if pa.types.is_string(kind) else max(1, kind.bit_width // 8)
