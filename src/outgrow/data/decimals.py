"""Decimals as the float64 nearest to each, which Arrow's own cast misses by a last bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_EXACT_BELOW = 2**53
_EXACT_POWERS = 22
"""Up to here a power of ten is a float64, so that a division by it rounds once, to the nearest."""


def decimal_numbers(array: pa.Array) -> np.ndarray:
    """Decimals as float64 of shape (rows,), nulls as NaN.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from decimal import Decimal
    >>> from outgrow.data.decimals import decimal_numbers
    >>> decimal_numbers(pa.array([Decimal("0.7"), None])).tolist()
    [0.7, nan]
    """
    missing = array.is_null().to_numpy(zero_copy_only=False)
    scale = array.type.scale
    if pa.types.is_decimal128(array.type) and 0 <= scale <= _EXACT_POWERS and len(array):
        halves = np.frombuffer(array.buffers()[1], "<i8").reshape(-1, 2)
        low, high = halves[array.offset : array.offset + len(array)].T
        short = (high == low >> 63) & (low <= _EXACT_BELOW) & (low >= -_EXACT_BELOW)
        if (short | missing).all():
            return np.where(missing, np.nan, low / 10.0**scale)
    return np.asarray(array.cast(pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False))
