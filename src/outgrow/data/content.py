"""A fingerprint of what rows hold, which neither their order, nor partitions, nor the file format change.

Each row is hashed to 64 bits, and the hashes are added: a sum knows no order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from outgrow.data import hashing
from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.exact import EXACT
from outgrow.data.matrix import Matrix, numbers

_CHUNK_ROWS = 1 << 14
"""Rows that are hashed at once: what is at work stays in the cache of a core."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0xFF51AFD7ED558CCD)
_NULL = np.uint64(0x5851F42D4C957F2D)
_SECOND = np.uint64(0xA0761D6478BD642F)
_WORD = 8


def row_sums(batch: Batch) -> np.ndarray:
    """How many rows a batch has, and two sums of the hashes of its rows, modulo 2**64.

    Numbers count by their value, so whole numbers of 32 and of 64 bits agree; a missing number is NaN.

    Parameters
    ----------
    batch : its columns count by their names; their order does not.

    Returns
    -------
    Shape (3,), uint64. Those of several batches add.
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for name in batch.columns:
        column = batch[name]
        if isinstance(column, Matrix):
            odds = np.array([_odd(part) for part in column.names], dtype=np.uint64)
            hashing._add_matrix(total, column.values, odds)
        else:
            _add(total, column, name)
    sums = np.array([batch.num_rows, 0, 0], dtype=np.uint64)
    for start in range(0, len(total), _CHUNK_ROWS):
        part = total[start : start + _CHUNK_ROWS]
        sums[1:2] += hashing.mix(part).sum(dtype=np.uint64)
        sums[2:3] += hashing.mix(part ^ _SECOND).sum(dtype=np.uint64)
    return sums


def content_digest(sums: np.ndarray, columns: Sequence[str]) -> str:
    """A digest of the sums over all rows.

    Parameters
    ----------
    sums : as `row_sums` gives them, added up.
    columns : the names of all columns.
    """
    what = [sorted(columns), [int(value) for value in sums]]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _odd(name: str) -> np.uint64:
    return hashing.text_hash(name) | np.uint64(1)


def _add(total: np.ndarray, column: pa.Array, name: str) -> None:
    """Add the terms of a column to those of its rows."""
    kind, odd = column.type, _odd(name)
    if is_numeric(kind) and not pa.types.is_decimal(kind):
        _add_numbers(total, column, odd)
        return
    bits = _text_bits(column) if _is_text(kind) else hashing.exact_bits(column, name)
    for start in range(0, len(bits), _CHUNK_ROWS):
        part = bits[start : start + _CHUNK_ROWS]
        _spread(part, odd, np.empty_like(part))
        total[start : start + _CHUNK_ROWS] += part


def _is_text(kind: pa.DataType) -> bool:
    return bool(is_categorical(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _add_numbers(total: np.ndarray, column: pa.Array, odd: np.uint64) -> None:
    values = numbers(column)
    wide = pa.types.is_integer(column.type) and column.type.bit_width == 64
    whole = np.asarray(column.fill_null(0)) if wide else None
    room = np.empty(min(len(values), _CHUNK_ROWS), dtype=np.float64)
    shifted = np.empty(len(room), dtype=np.uint64)
    with np.errstate(all="ignore"):
        for start in range(0, len(values), _CHUNK_ROWS):
            part = values[start : start + _CHUNK_ROWS]
            floats = room[: len(part)]
            np.add(part, 0.0, out=floats)  # -0.0 becomes 0.0
            bits = floats.view(np.uint64)
            large = np.abs(floats) >= EXACT if whole is not None else None
            if np.isnan(floats.sum()):
                bits[np.isnan(floats)] = _NULL
            if whole is not None and large is not None and large.any():
                exact = whole[start : start + _CHUNK_ROWS][large].astype(np.uint64)
                bits[large] = hashing.mix(bits[large] ^ exact)
            _spread(bits, odd, shifted[: len(part)])
            total[start : start + _CHUNK_ROWS] += bits


def _spread(bits: np.ndarray, odd: np.uint64, room: np.ndarray) -> None:
    """Bits in place as terms of a sum."""
    bits *= _GOLDEN
    np.right_shift(bits, np.uint64(32), out=room)
    bits ^= room
    bits *= odd


def _text_bits(array: pa.Array) -> np.ndarray:
    """One uint64 for each text, from its bytes and its length."""
    if pa.types.is_dictionary(array.type):
        words = np.append(_text_bits(array.dictionary), _NULL)
        codes = array.indices.cast(pa.int64()).fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        return words[codes]
    text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    binary = pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)
    if not text and not binary:
        array = array.cast(pa.large_string())
    bits = np.empty(len(array), dtype=np.uint64)
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, places, data = array.buffers()
    if len(array) and places is not None:
        ends = np.frombuffer(places, dtype=np.int64 if wide else np.int32)
        ends = ends[array.offset : array.offset + len(array) + 1].astype(np.int64)
        for start in range(0, len(array), _CHUNK_ROWS):
            stop = min(len(array), start + _CHUNK_ROWS)
            bits[start:stop] = _hashed(ends[start : stop + 1], data)
    if array.null_count:
        bits[np.asarray(array.is_null())] = _NULL
    return bits


def _hashed(ends: np.ndarray, data: pa.Buffer | None) -> np.ndarray:
    """Hashes of texts that follow one another, eight bytes of each at a time."""
    lengths = np.diff(ends)
    first, last = int(ends[0]), int(ends[-1])
    room = np.zeros(last - first + _WORD, dtype=np.uint8)
    if data is not None and last > first:
        room[:-_WORD] = np.frombuffer(data, dtype=np.uint8)[first:last]
    words = np.ndarray((len(room) - _WORD + 1,), dtype="<u8", buffer=room, strides=(1,))
    hashes = (lengths.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    starts, rows = ends[:-1] - first, None
    done, longest = 0, int(lengths.max(initial=0))
    while done < longest:
        left = lengths - done if rows is None else lengths[rows] - done
        if (left <= 0).any():
            going = left > 0
            rows = np.flatnonzero(going) if rows is None else rows[going]
            left = left[going]
        at = (starts if rows is None else starts[rows]) + done
        part = words[at]
        short = left < _WORD
        if short.any():
            keep = np.minimum(left, _WORD).astype(np.uint64) * np.uint64(8)
            part = np.where(short, part & ((np.uint64(1) << (keep & np.uint64(63))) - np.uint64(1)), part)
        mixed = ((hashes if rows is None else hashes[rows]) ^ part) * _PRIME
        mixed ^= mixed >> np.uint64(32)
        if rows is None:
            hashes = mixed
        else:
            hashes[rows] = mixed
        done += _WORD
    return hashes
