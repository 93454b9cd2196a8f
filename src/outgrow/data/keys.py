"""The keys of groups as 64-bit hashes: equal keys hash alike in any type, file format or engine.

Unlike the hashes of rows, whole numbers are exact up to 64 bits: an identifier of 19 digits is a key of its
own. A whole number hashes alike as integer, float and boolean; times hash by their microseconds in UTC, and
what is finer; text by its bytes. Among a million keys, two share a hash with a chance of 3 in a hundred
million.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.decimals import long_decimals
from outgrow.data.exact import exact, finer_than_microseconds, microseconds
from outgrow.data.hashing import mix, text_hash
from outgrow.data.matrix import Matrix
from outgrow.errors import SchemaError

_NULL = np.uint64(0x5851F42D4C957F2D)
_FRACTION = np.uint64(0xD1B54A32D192ED03)
_WHOLE_BELOW = 2.0**63
_LONG = pa.decimal128(38, 0)
_INT64 = ((pc.less_equal, 2**63 - 1), (pc.greater_equal, -(2**63)))


def key_hash(batch: Batch, by: Sequence[str]) -> np.ndarray:
    """One uint64 for each row: the key that the columns `by` make.

    Parameters
    ----------
    batch : the rows.
    by : names of columns, at least one; their order does not count.

    Returns
    -------
    Shape (rows,); a missing value is a key of its own.

    Raises
    ------
    SchemaError
        When a column cannot be a key; see `key_column`.
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for name in by:
        total += mix(_column_hash(key_column(batch, name), name) ^ text_hash(name))
    return mix(total)


def key_codes(batch: Batch, by: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of keys, in no order, and for each row which of them is its own.

    Where there is one column each key is hashed once. Hashes may be equal, as 0.0 and -0.0 are one key, or be
    those of keys that no row has.

    Parameters
    ----------
    batch : the rows.
    by : names of columns, at least one.

    Returns
    -------
    The hashes, uint64 of shape (keys,), and for each row the place of its own in them, of shape (rows,).
    """
    column = key_column(batch, by[0])
    if len(by) > 1 or pa.types.is_null(column.type):
        encoded = pa.array(key_hash(batch, by)).dictionary_encode()
        return encoded.dictionary.to_numpy(), encoded.indices.to_numpy()
    encoded = (
        column if pa.types.is_dictionary(column.type) else column.dictionary_encode(null_encoding="encode")
    )
    words, codes = encoded.dictionary, encoded.indices.cast(pa.int64())
    if codes.null_count:
        codes = codes.fill_null(len(words))
        words = pa.concat_arrays([words, pa.nulls(1, words.type)])
    return key_hash(Batch({by[0]: words}, len(words)), by), codes.to_numpy()


def key_values(batch: Batch, by: Sequence[str]) -> pa.RecordBatch:
    """The key columns, in types that do not depend on how a file encodes them.

    Parameters
    ----------
    batch : the rows.
    by : names of columns.

    Returns
    -------
    A column for each of `by`, in that order, with the rows of the batch.
    """
    return pa.RecordBatch.from_arrays([_plain(key_column(batch, name), name) for name in by], names=list(by))


def key_nulls(values: pa.Table) -> np.ndarray:
    """Whether a row of key columns has a part that is null or NaN; boolean of shape (rows,)."""
    missing = np.zeros(values.num_rows, dtype=bool)
    for column in values.columns:
        missing |= column.is_null(nan_is_null=True).to_numpy()
    return missing


def in_order(rows: pa.Table, by: Sequence[str]) -> pa.Table:
    """Rows sorted, nulls last; Arrow's own verb reads names that begin with a dot as paths.

    Parameters
    ----------
    rows : a table.
    by : names of columns to sort by, ascending; the first counts most.
    """
    positions = [str(position) for position in range(len(by))]
    keys = pa.table([rows[name] for name in by], names=positions)
    return rows.take(pc.sort_indices(keys, sort_keys=[(position, "ascending") for position in positions]))


def key_column(batch: Batch, name: str) -> pa.Array:
    """A column that can be a key.

    Parameters
    ----------
    batch : the rows.
    name : of the column: numbers, booleans, text, dates or timestamps, or all null.

    Raises
    ------
    SchemaError
        When it holds vectors or nested values.
    """
    column = batch[name]
    if isinstance(column, Matrix):
        raise SchemaError(f"The key {name!r} holds vectors. A key is a number, text, or a time.")
    kind = column.type
    known = is_numeric(kind) or is_categorical(kind) or pa.types.is_null(kind)
    if not (known or pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        raise SchemaError(f"The key {name!r} is of type {kind}. A key is a number, text, or a time.")
    return column


def _plain(array: pa.Array, name: str) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    array = exact(array, name)
    kind = array.type
    if is_categorical(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return array.cast(pa.int64())
    if pa.types.is_floating(kind):
        return pc.add(array.cast(pa.float64()), 0.0)  # -0.0 becomes 0.0, which has the same hash
    if pa.types.is_timestamp(kind):
        return microseconds(array, name).cast(pa.timestamp("us", kind.tz))
    return array.cast(pa.date32()) if pa.types.is_date(kind) else array


def _column_hash(array: pa.Array, name: str) -> np.ndarray:
    if pa.types.is_string(array.type):
        array = array.dictionary_encode()
    if not pa.types.is_dictionary(array.type):
        return _value_hash(array, name)
    table = np.append(_value_hash(array.dictionary, name), _NULL)
    codes = array.indices.cast(pa.int64()).fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    return table[codes]


def _value_hash(array: pa.Array, name: str) -> np.ndarray:
    if pa.types.is_null(array.type):
        return np.full(len(array), _NULL)
    if pa.types.is_string(array.type):
        bits = words_hash(array)
    else:
        bits = mix(_decimal_bits(array, name) if pa.types.is_decimal(array.type) else _bits(array, name))
    missing = array.is_null(nan_is_null=True)
    if pc.any(missing).as_py():
        bits[missing.to_numpy(zero_copy_only=False)] = _NULL
    return bits


def _bits(array: pa.Array, name: str) -> np.ndarray:
    """The values of a column of numbers or times as uint64; what stands for nulls is of no account."""
    kind = array.type
    if pa.types.is_floating(kind):
        return _float_bits(array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _time_bits(array, name)
    if kind == pa.uint64() and pc.any(pc.greater_equal(array, pa.scalar(2**63, kind))).as_py():
        array = array.cast(_LONG)
    if pa.types.is_decimal(array.type):
        return _long_bits(array.fill_null(0))
    return array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)


def _decimal_bits(array: pa.Array, name: str) -> np.ndarray:
    """Decimals by their value; of more digits than float64 keeps, by their digits."""
    if array.type.scale <= 0:
        return _bits(exact(array, name), name)
    rows, texts = long_decimals(array)
    if not len(rows):
        return _bits(exact(array, name), name)
    long = np.zeros(len(array), dtype=bool)
    long[rows] = True
    short = pc.if_else(pa.array(long), pa.scalar(None, array.type), array)
    bits = _bits(exact(short, name), name).copy()
    bits[rows] = words_hash(texts) ^ _FRACTION
    whole = np.flatnonzero(
        pc.match_substring_regex(texts, rf"^-?\d{{1,{_LONG.precision}}}$").to_numpy(zero_copy_only=False)
    )
    bits[rows[whole]] = _long_bits(texts.take(pa.array(whole)).cast(_LONG))  # as whole numbers hash
    return bits


def _time_bits(array: pa.Array, name: str) -> np.ndarray:
    """Microseconds, and what is finer."""
    whole = np.asarray(microseconds(array, name).fill_null(0)).view(np.uint64)
    rest = finer_than_microseconds(array)
    return whole if rest is None else np.where(rest > 0, mix(whole ^ rest.astype(np.uint64)), whole)


def _long_bits(array: pa.Array) -> np.ndarray:
    """Whole numbers of up to 38 digits: those of 64 bits as they are, others by their text."""
    fits = pc.and_(*(check(array, pa.scalar(bound, _LONG)) for check, bound in _INT64))
    small = pc.if_else(fits, array, pa.scalar(0, _LONG)).cast(pa.int64()).to_numpy().view(np.uint64)
    return np.where(
        fits.to_numpy(zero_copy_only=False), small, words_hash(array.cast(pa.string())) ^ _FRACTION
    )


def _float_bits(values: np.ndarray) -> np.ndarray:
    finite = np.where(
        np.abs(values) < _WHOLE_BELOW, values, 0.5
    )  # NaN and the very large are no whole numbers
    whole = finite == np.floor(finite)
    return np.where(whole, finite.astype(np.int64).view(np.uint64), values.view(np.uint64) ^ _FRACTION)


def words_hash(array: pa.Array) -> np.ndarray:
    """One uint64 for each text, from its bytes in words of eight and their positions."""
    wide = array.cast(pa.large_binary())
    if not len(wide):
        return np.zeros(0, dtype=np.uint64)
    _, offset_buffer, data = wide.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    lengths = np.diff(offsets)
    words = (lengths + 7) // 8
    starts = np.concatenate([[0], np.cumsum(words)])
    padded = np.zeros(starts[-1] * 8, dtype=np.uint8)
    if len(padded):
        shift = np.repeat(starts[:-1] * 8 - (offsets[:-1] - offsets[0]), lengths)
        padded[shift + np.arange(len(shift))] = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    values = padded.view(np.uint64)
    positions = np.arange(len(values)) - np.repeat(starts[:-1], words)
    terms = mix(values ^ mix(positions.astype(np.uint64)))
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return mix(ends[starts[1:]] - ends[starts[:-1]] + lengths.astype(np.uint64))
