"""The largest numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from outgrow._settings import is_real
from outgrow.deep.codecs.codec import Arrays, Codec
from outgrow.errors import ParameterError


@dataclass(frozen=True)
class TopK(Codec):
    """The numbers that are largest by their absolute value, with where they are (Aji and Heafield 2017).

    Parameters
    ----------
    share : of the numbers; each takes eight bytes, so that a share of 0.01 is a 50th of all bytes.

    Raises
    ------
    ParameterError
        When the share is not above 0 and at most 1.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.deep.codecs import TopK
    >>> codec = TopK(0.5)
    >>> codec.decode(codec.encode(np.array([1.0, -3.0, 0.5, 2.0], np.float32)), 4).tolist()
    [0.0, -3.0, 0.0, 2.0]
    """

    share: float = 0.01
    dense: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (is_real(self.share) and 0 < self.share <= 1):
            raise ParameterError(f"TopK(share={self.share!r}): a share above 0 and at most 1.")

    def encode(self, array: np.ndarray) -> Arrays:
        """See `Codec.encode`.

        Parameters
        ----------
        array : as there.
        """
        count = min(len(array), max(1, math.ceil(self.share * len(array) - 1e-9)))
        if not count:
            return np.zeros(0, np.uint32), np.zeros(0, np.float32)
        sizes = np.abs(array)
        largest = np.sort(np.argpartition(sizes, len(array) - count)[len(array) - count :])
        return largest.astype(np.uint32), array[largest]

    def decode(self, arrays: Arrays, size: int) -> np.ndarray:
        """See `Codec.decode`.

        Parameters
        ----------
        arrays, size : as there.
        """
        numbers = np.zeros(size, dtype=np.float32)
        numbers[arrays[0]] = arrays[1]
        return numbers
