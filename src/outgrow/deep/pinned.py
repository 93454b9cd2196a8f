"""Arrays in memory that a GPU reads by itself, kept until it has."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from outgrow._optional import optional

torch = optional("torch", "torch")


class Pinned:
    """Makes arrays that are copied to a GPU while this process goes on."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[Any, Any]] = deque()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of any content.

        Parameters
        ----------
        shape, dtype : of it.
        """
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        array: np.ndarray = torch.empty(shape, dtype=kind, pin_memory=True).numpy()
        return array

    def keep(self, arrays: Any) -> None:
        """Hold on to arrays until the copies that were asked for so far are made.

        Parameters
        ----------
        arrays : parts of what `empty` made, whose memory would else be given to others.
        """
        copied = torch.cuda.Event()
        copied.record()
        self._under_way.append((copied, arrays))
        while self._under_way and self._under_way[0][0].query():
            self._under_way.popleft()
