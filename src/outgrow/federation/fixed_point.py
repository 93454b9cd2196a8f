"""Numbers as integers modulo a power of two, so that masks cancel exactly and sums have no rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.errors import DataError, ParameterError

_LIMB = 32
_TYPES: dict[int, type[np.unsignedinteger]] = {32: np.uint32, 64: np.uint64, 128: np.uint64}


@dataclass(frozen=True)
class FixedPoint:
    """How numbers are written as integers.

    Parameters
    ----------
    bits : 32 for updates of networks, 64, or 128 for statistics of linear models; a number takes 4, 8, or 32
        bytes on its way.
    fraction : how many of the bits are behind the point: the error of a number is half of 2**-fraction, and
        that of a sum so many times that as there are sites.

    Examples
    --------
    >>> import numpy as np
    >>> point = FixedPoint(bits=32, fraction=16)
    >>> sent = point.encoded(np.array([1.5, -0.25]), 3)
    >>> point.decoded(sent + sent + sent).tolist()
    [4.5, -0.75]
    """

    bits: int = 128
    fraction: int = 64

    def __post_init__(self) -> None:
        if self.bits not in _TYPES or not 0 <= self.fraction < self.bits:
            raise ParameterError(
                f"bits={self.bits}, fraction={self.fraction}: 32, 64 or 128, and fewer of them."
            )

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of the integers; overflow wraps."""
        return np.dtype(_TYPES[self.bits])

    def largest(self, sites: int) -> float:
        """The largest number that each of some sites may add."""
        return float(2.0 ** (self.bits - 1 - self.fraction) / sites)

    def encoded(self, values: np.ndarray, sites: int) -> np.ndarray:
        """Numbers as integers.

        Parameters
        ----------
        values : float64 of shape (size,).
        sites : how many are added up, so that the sum has room.

        Returns
        -------
        ndarray of shape (size,), or (4 * size,) with 128 bits.

        Raises
        ------
        DataError
            When a number is not finite, or too large.
        """
        values = np.asarray(values, dtype=np.float64)
        most = np.abs(values).max(initial=0.0)
        if not most < self.largest(sites):
            raise DataError(
                f"A statistic of {most:g} has no room in {self.bits} bits with {self.fraction} behind the "
                f"point and {sites} sites: {self.largest(sites):g} is the most. Scale the columns, or "
                "take more bits."
            )
        whole = np.rint(np.abs(np.ldexp(values, self.fraction)))
        negative = values < 0
        if self.bits < 128:
            plain = whole.astype(np.uint64)
            return np.where(negative, (~plain) + np.uint64(1), plain).astype(self.dtype)
        limbs = np.empty((4, len(values)), np.uint64)
        rest = whole
        for limb in (3, 2, 1, 0):  # exact: each takes bits of the number away from above
            unit = 2.0 ** (_LIMB * limb)
            digit = np.floor(rest / unit)
            limbs[limb] = digit.astype(np.uint64)
            rest = rest - digit * unit
        return np.where(negative, _negated(limbs), limbs).reshape(-1)

    def decoded(self, total: np.ndarray) -> np.ndarray:
        """The numbers that the sum of integers is.

        Parameters
        ----------
        total : as `encoded` gave them, added up.
        """
        if self.bits < 128:
            signed = total.view(np.int32 if self.bits == 32 else np.int64)
            return np.ldexp(signed.astype(np.float64), -self.fraction)
        limbs = _carried(total.reshape(4, -1))
        negative = limbs[3] >> np.uint64(_LIMB - 1) == 1
        limbs = np.where(negative, _negated(limbs), limbs)
        size = sum(np.ldexp(limbs[limb].astype(np.float64), _LIMB * limb) for limb in range(4))
        return np.ldexp(np.where(negative, -size, size), -self.fraction)


def _carried(limbs: np.ndarray) -> np.ndarray:
    """Limbs of 32 bits each, of sums of such."""
    result, carry = np.empty_like(limbs), np.zeros(limbs.shape[1], np.uint64)
    for limb in range(4):
        summed = limbs[limb] + carry
        result[limb], carry = summed & np.uint64(0xFFFFFFFF), summed >> np.uint64(_LIMB)
    return result


def _negated(limbs: np.ndarray) -> np.ndarray:
    flipped = limbs ^ np.uint64(0xFFFFFFFF)
    flipped[0] += np.uint64(1)
    return _carried(flipped)
