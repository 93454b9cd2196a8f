"""Numbers of one bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from outgrow.deep.codecs.codec import Arrays, Codec


@dataclass(frozen=True)
class Sign(Codec):
    """A 32nd of the bytes: whether a number is negative, and the mean size of all (signSGD with error
    feedback, Karimireddy et al. 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.deep.codecs import Sign
    >>> codec = Sign()
    >>> codec.decode(codec.encode(np.array([1.0, -3.0], np.float32)), 2).tolist()
    [2.0, -2.0]
    """

    dense: ClassVar[bool] = False

    def encode(self, array: np.ndarray) -> Arrays:
        """See `Codec.encode`.

        Parameters
        ----------
        array : as there.
        """
        size = np.abs(array).mean(dtype=np.float64) if len(array) else 0.0
        return np.packbits(array < 0), np.array([size], dtype=np.float32)

    def decode(self, arrays: Arrays, size: int) -> np.ndarray:
        """See `Codec.decode`.

        Parameters
        ----------
        arrays, size : as there.
        """
        negative = np.unpackbits(arrays[0], count=size).astype(bool)
        return np.where(negative, -arrays[1][0], arrays[1][0]).astype(np.float32)
