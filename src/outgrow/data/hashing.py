"""Rows as 64-bit hashes: the same row hashes alike on every engine, in any file format, in any column order.

Numbers hash by their value as float64, so an int32 from Parquet and an int64 from SQL agree; times hash by
their microseconds in UTC, and what is finer; text by its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.decimals import long_decimals
from outgrow.data.exact import EXACT, finer_than_microseconds, microseconds
from outgrow.data.matrix import Matrix, is_sparse, numbers
from outgrow.errors import SchemaError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x5851F42D4C957F2D)
_CHUNK_VALUES = 1 << 16
"""Values that are hashed at once: they stay in a core's cache, and threads seldom wait for Python's lock."""


def row_hash(batch: Batch, columns: Sequence[str] | None = None, seed: int = 0) -> np.ndarray:
    """One uint64 for each row, from the values of columns.

    Each value is scattered over 64 bits, multiplied by an odd number that its column's name gives, and added;
    the sum is mixed. A zero in a column of numbers adds nothing, so sparse and dense rows hash alike.

    Parameters
    ----------
    batch : the rows.
    columns : names; their order does not count. None for all.
    seed : another gives other hashes; see `seeded`.

    Returns
    -------
    Shape (rows,).

    Raises
    ------
    SchemaError
        When values of the type of a column cannot be hashed.
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for name in batch.columns if columns is None else columns:
        column = batch[name]
        if isinstance(column, Matrix):
            _add_matrix(
                total,
                column.values,
                np.array([_odd(column_name) for column_name in column.names], dtype=np.uint64),
            )
        else:
            _add_column(total, column, name, _odd(name))
    return seeded(total, seed)


def source_hash(batch: Batch, columns: Sequence[str]) -> np.ndarray:
    """One uint64 for each row, from the values of columns by their positions, to be `seeded`.

    Names do not count, and a vector counts as so many columns: an array, a table and a sparse matrix of the
    same numbers hash alike. Columns whose type cannot be hashed count for nothing.

    Parameters
    ----------
    batch : the rows.
    columns : names, in the order that gives the positions.

    Returns
    -------
    Shape (rows,).
    """
    total, position = np.zeros(batch.num_rows, dtype=np.uint64), 0
    for name in columns:
        column = batch[name]
        if isinstance(column, Matrix):
            _add_matrix(total, column.values, _odds(position, position + column.width))
            position += column.width
            continue
        with suppress(SchemaError):
            _add_column(total, column, name, _odds(position, position + 1)[0])
        position += 1
    return total


def matrix_hash(values: Any) -> np.ndarray:
    """The `source_hash` of the rows of a dense or CSR matrix of numbers."""
    total = np.zeros(values.shape[0], dtype=np.uint64)
    _add_matrix(total, values, _odds(0, values.shape[1]))
    return total


def seeded(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Other hashes for another seed, in which every bit depends on all others.

    Parameters
    ----------
    hashes : uint64, of any shape.
    seed : from 0 up to the greatest uint64.
    """
    return mix(hashes ^ mix(np.array([seed], dtype=np.uint64)))


def unit(hashes: np.ndarray) -> np.ndarray:
    """Hashes as float64 in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), which spreads every bit over all others."""
    mixed = np.empty(len(x), dtype=np.uint64)
    for start in range(0, len(x), _CHUNK_VALUES):
        mixed[start : start + _CHUNK_VALUES] = _mixed(x[start : start + _CHUNK_VALUES].astype(np.uint64))
    return mixed


def _mixed(x: np.ndarray) -> np.ndarray:
    """`mix` in place."""
    shifted = np.empty_like(x)
    x += _GOLDEN
    x ^= np.right_shift(x, np.uint64(30), out=shifted)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= np.right_shift(x, np.uint64(27), out=shifted)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= np.right_shift(x, np.uint64(31), out=shifted)
    return x


def text_hash(text: str | bytes) -> np.uint64:
    data = text if isinstance(text, bytes) else text.encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little"))


def column_hash(array: pa.Array, name: str) -> np.ndarray:
    """One uint64 for each value of an Arrow column.

    Parameters
    ----------
    array : values of any type that can be hashed.
    name : of the column, for the message.

    Returns
    -------
    Shape (rows,).

    Raises
    ------
    SchemaError
        When values of this type cannot be hashed.
    """
    return mix(_bits_of(array, name))


def value_hash(array: pa.Array, name: str) -> np.ndarray:
    """One uint64 for each value of a column without missing ones, others for all others.

    `column_hash` takes numbers that float64 does not tell apart for each other.

    Parameters
    ----------
    array, name : as for `column_hash`.
    """
    hashes = column_hash(array, name)
    tell_apart(hashes, array, name)
    return hashes


def tell_apart(hashes: np.ndarray, array: pa.Array, name: str) -> None:
    """Change, in place, the hashes of values that are told apart by more than a float64.

    Those are whole numbers from 2**53, times as far from 1970 in microseconds, and decimals of more than 15
    digits.

    Parameters
    ----------
    hashes : as `column_hash` gives them, or the bits of which it makes them.
    array, name : as for `column_hash`.
    """
    kind = array.type
    if pa.types.is_decimal(kind):
        rows, texts = long_decimals(array)
        hashes[rows] = mix(hashes[rows] ^ _text_bits(texts))
        return
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        array = microseconds(array, name)
    elif not pa.types.is_integer(kind) or kind.bit_width < 64:
        return
    whole = np.asarray(array.fill_null(0))
    large = np.abs(whole.astype(np.float64)) >= EXACT
    if large.any():
        hashes[large] = mix(hashes[large] ^ whole[large].astype(np.uint64))


def exact_bits(array: pa.Array, name: str) -> np.ndarray:
    """One uint64 for each value, others for all others, also within lists and structs.

    Parameters
    ----------
    array, name : as for `column_hash`.

    Raises
    ------
    SchemaError
        When values of this type cannot be hashed.
    """
    return _bits_of(array, name, exact=True)


def _odd(name: str) -> np.uint64:
    return text_hash(name) | np.uint64(1)


def _odds(start: int, end: int) -> np.ndarray:
    """An odd number for each position."""
    return mix(np.arange(start, end, dtype=np.uint64)) | np.uint64(1)


def _bits_of(array: pa.Array, name: str, *, exact: bool = False) -> np.ndarray:
    """One uint64 for each value of an Arrow column, equal for equal values, in an array of its own."""
    kind = array.type
    if is_numeric(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        bits = _float_bits(numbers(array)) if is_numeric(kind) else _time_bits(array, name)
        if exact:
            bits = bits.copy()
            tell_apart(bits, array, name)
        return bits
    if is_categorical(kind) or pa.types.is_binary(kind):
        return _text_bits(array)
    if pa.types.is_struct(kind):
        return _struct_bits(array, exact)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_bits(array, name, exact)
    try:
        return _text_bits(array.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"Rows cannot be hashed by column {name!r} of type {kind}. Name other key columns."
        ) from error


def _time_bits(array: pa.Array, name: str) -> np.ndarray:
    bits = _float_bits(numbers(microseconds(array, name)))
    rest = finer_than_microseconds(array)
    if rest is not None:
        some = rest > 0
        bits[some] ^= mix(rest[some].astype(np.uint64))
    return bits


def _struct_bits(array: pa.Array, exact: bool) -> np.ndarray:
    total = np.zeros(len(array), dtype=np.uint64)
    for field, part in zip(array.type.names, array.flatten(), strict=True):
        if exact:
            total += _scattered(_bits_of(part, field, exact=True).copy(), _odd(field))
        else:
            _add_column(total, part, field, _odd(field))
    return total


def _list_bits(array: pa.Array, name: str, exact: bool) -> np.ndarray:
    """One uint64 for each list: of its values and their places."""
    items, rows = array.flatten(), np.asarray(pc.list_parent_indices(array))
    ends = np.bincount(rows, minlength=len(array)).cumsum() if len(rows) else np.zeros(len(array), np.int64)
    places = np.arange(len(rows)) - np.concatenate([[0], ends])[rows]
    total = np.zeros(len(array), dtype=np.uint64)
    np.add.at(total, rows, mix(_bits_of(items, name, exact=exact) + mix(places.astype(np.uint64))))
    total[np.asarray(array.is_null())] = _NULL
    return total


def _float_bits(values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        floats = values.astype(np.float64, copy=False) + 0.0  # -0.0 becomes 0.0
        bits = floats.view(np.uint64)
        doubtful = np.isnan(floats.sum())
    if doubtful:
        bits[np.isnan(floats)] = _NULL
    return bits


def _text_bits(array: pa.Array) -> np.ndarray:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    table = np.array(
        [
            _NULL if word is None else text_hash(word if isinstance(word, bytes) else str(word))
            for word in words
        ]
        + [_NULL],
        dtype=np.uint64,
    )
    codes = encoded.indices.cast(pa.int64()).fill_null(len(words)).to_numpy(zero_copy_only=False)
    return table[codes]


def _scattered(bits: np.ndarray, odd: Any) -> np.ndarray:
    """Bits in place as terms of a sum: the product carries low bits up, the shift brings high ones down."""
    bits *= _GOLDEN
    bits ^= bits >> np.uint64(32)
    bits *= odd
    return bits


def _add_numbers(total: np.ndarray, values: np.ndarray, odd: np.uint64) -> None:
    """Add the terms of numbers to `total`, a part at a time."""
    for start in range(0, len(values), _CHUNK_VALUES):
        total[start : start + _CHUNK_VALUES] += _scattered(
            _float_bits(values[start : start + _CHUNK_VALUES]), odd
        )


def _add_column(total: np.ndarray, column: pa.Array, name: str, odd: np.uint64) -> None:
    if is_numeric(column.type):
        _add_numbers(total, numbers(column), odd)
    else:
        total += _scattered(_bits_of(column, name), odd)


def _add_matrix(total: np.ndarray, rows: Any, odds: np.ndarray) -> None:
    if not is_sparse(rows):
        if rows.size <= _CHUNK_VALUES:
            bits = _float_bits(np.ascontiguousarray(rows))
            total += _scattered(bits, odds).sum(axis=1, dtype=np.uint64)
            return
        for j, odd in enumerate(odds):
            _add_numbers(total, rows[:, j], odd)
        return
    terms = _scattered(_float_bits(rows.data), odds[rows.indices])
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    total += ends[rows.indptr[1:]] - ends[rows.indptr[:-1]]
