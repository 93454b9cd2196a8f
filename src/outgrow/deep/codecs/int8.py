"""Numbers of one byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.deep.codecs.codec import Arrays, Codec

_BLOCK = 1024
"""Numbers that share a scale."""


@dataclass(frozen=True)
class Int8(Codec):
    """A quarter of the bytes: multiples of a 127th of the largest number among each 1,024 (Dettmers 2016).

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.deep.codecs import Int8
    >>> codec = Int8()
    >>> codec.decode(codec.encode(np.array([127.0, 3.2, 0.0], np.float32)), 3).tolist()
    [127.0, 3.0, 0.0]
    """

    def encode(self, array: np.ndarray) -> Arrays:
        """See `Codec.encode`.

        Parameters
        ----------
        array : as there.
        """
        blocks = _blocks(array)
        scales = np.abs(blocks).max(axis=1, initial=0.0).astype(np.float32) / np.float32(127)
        scales[~np.isfinite(scales)] = np.nan
        divisors = np.where(scales == 0, np.float32(1), scales)
        with np.errstate(invalid="ignore"):  # what is no number makes its block none
            whole = np.rint(blocks / divisors[:, None])
            whole = np.clip(whole, -127, 127).astype(np.int8)  # scales that are next to 0 are rounded, too
        return whole.reshape(-1)[: len(array)], scales

    def decode(self, arrays: Arrays, size: int) -> np.ndarray:
        """See `Codec.decode`.

        Parameters
        ----------
        arrays, size : as there.
        """
        whole, scales = arrays
        numbers = _blocks(whole.astype(np.float32))
        numbers *= scales[:, None]
        return numbers.reshape(-1)[:size]


def _blocks(array: np.ndarray) -> np.ndarray:
    """The array as rows of a block each, with zeros behind it."""
    padded = np.zeros(-(-len(array) // _BLOCK) * _BLOCK, dtype=np.float32)
    padded[: len(array)] = array
    return padded.reshape(-1, _BLOCK)
