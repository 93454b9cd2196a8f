"""Decimals as the float64 nearest to each, which Arrow's own cast misses by a last bit; those that lose."""

from __future__ import annotations

from decimal import Context

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EXACT_BELOW = 2**53
_EXACT_POWERS = 22
"""Up to here a power of ten is a float64, so that a division by it rounds once, to the nearest."""
_WIDE = Context(prec=80)
"""Rounds no decimal that Arrow has."""
_DIGITS = 15
"""So many digits of a decimal are those of the float64 nearest to it."""


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


def long_decimals(array: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The decimals of more digits than float64 keeps, whatever the type has, and their digits.

    Parameters
    ----------
    array : decimals; nulls are not among them.

    Returns
    -------
    Where they are, and as many texts: equal for equal numbers.
    """
    if array.type.precision <= _DIGITS:
        return np.zeros(0, dtype=np.intp), pa.array([], pa.string())
    texts = array.cast(pa.string())
    # a number of few digits may be written with many zeros behind them, or as 1E-7
    mantissa = pc.replace_substring_regex(texts, r"^-?[0.]*|E.*$", "")
    digits = pc.utf8_length(pc.replace_substring(pc.utf8_rtrim(mantissa, "0."), ".", ""))
    rows = np.flatnonzero(pc.greater(digits, _DIGITS).fill_null(False).to_numpy(zero_copy_only=False))
    values = array.take(pa.array(rows)).to_pylist()
    return rows, pa.array([f"{value.normalize(_WIDE):f}" for value in values], pa.string())
