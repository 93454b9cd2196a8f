"""Rows of a matrix as batches again, for what learns from tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView


class BlockRows:
    """The rows that a view of a matrix sees, made batches at each pass.

    Parameters
    ----------
    view : the rows.
    change : gives the batch of a block.
    """

    place: str | None = None
    identified: Any = None
    """The same rows with their numbers, once somebody has asked for these."""

    def __init__(self, view: MatrixView, change: Callable[[Block], Batch]) -> None:
        self.run = view.run
        self.matrices: dict[Any, MatrixView] = {}
        self._view = view
        self._change = change

    def plain(self, batch: Batch) -> Batch:
        """The batch: its text is in no dictionaries."""
        return batch

    def empty(self, width: int) -> Batch:
        """A batch without rows.

        Parameters
        ----------
        width : of the matrix.
        """
        return self._change(Block(np.zeros((0, width)), np.zeros(0, dtype=np.intp), np.zeros(0)))

    def units(self) -> Sequence[Callable[[], Iterator[Batch]]]:
        """One unit for each block of this rank."""
        return [partial(self._batches, unit) for unit in self._view.block_units()]

    def last_units(self) -> Sequence[Callable[[], Iterator[Batch]]]:
        """The same: nothing is kept."""
        return self.units()

    def _batches(self, unit: Callable[[], Block]) -> Iterator[Batch]:
        block = unit()
        if len(block):
            yield self._change(block)
