"""Numbers of two bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.deep.codecs.codec import Arrays, Codec

_NOT_A_NUMBER = np.uint16(0x7FC0)


@dataclass(frozen=True)
class Bfloat16(Codec):
    """Half the bytes: the first 16 bits of a float32, rounded to the nearest even.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.deep.codecs import Bfloat16
    >>> codec = Bfloat16()
    >>> codec.decode(codec.encode(np.array([1.0, 3.14159], np.float32)), 2).tolist()
    [1.0, 3.140625]
    """

    def encode(self, array: np.ndarray) -> Arrays:
        """See `Codec.encode`.

        Parameters
        ----------
        array : as there.
        """
        bits = np.ascontiguousarray(array).view(np.uint32)
        rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        short = (rounded >> np.uint32(16)).astype(np.uint16)
        return (np.where(np.isnan(array), _NOT_A_NUMBER, short),)  # rounding would make it a number

    def decode(self, arrays: Arrays, size: int) -> np.ndarray:
        """See `Codec.decode`.

        Parameters
        ----------
        arrays, size : as there.
        """
        return (arrays[0].astype(np.uint32) << np.uint32(16)).view(np.float32)
