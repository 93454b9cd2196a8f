"""Arrays with an entry for each resident row of a rank, which passes over the rows read and change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView


class RowArrays:
    """What a fit remembers of each row from one pass to the next, beside the tiles that passes see.

    Each rank holds those of its own rows; they are gone with the fit, and not in its checkpoint: whoever
    reads them must be able to do without. Threads may read and write those of different tiles at once.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.engine.blocks import Block
    >>> from outgrow.engine.row_arrays import RowArrays
    >>> tile, arrays = Block(np.zeros((3, 2))), RowArrays()
    >>> arrays.get(tile) is None
    True
    >>> arrays.put(tile, np.arange(3))
    >>> arrays.get(tile)[0].tolist()
    [0, 1, 2]
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, int], Sequence[np.ndarray]] = {}

    def get(self, tile: Block) -> Sequence[np.ndarray] | None:
        """What was put for the rows of a tile; None where nothing was."""
        return self._arrays.get(tile.at)

    def put(self, tile: Block, *arrays: np.ndarray) -> None:
        """Remember arrays of shape (rows, ...) for the rows of a tile."""
        self._arrays[tile.at] = arrays


def room_for(view: MatrixView, bytes_a_row: int, *, wanted: bool = True) -> bool:
    """Whether every rank wants arrays beside its rows and has memory for them, which is then taken; all ranks
    call this.

    Parameters
    ----------
    view : the rows; those of each rank count.
    bytes_a_row : what the arrays take for a row.
    wanted : whether this rank wants them.
    """
    memory = view.run.memory
    need = _need(view, bytes_a_row)
    taken = wanted and memory.take(need)
    lacking = view.run.call(lambda: view.run.combine(np.array([0.0 if taken else 1.0])))
    if lacking[0] and taken:
        memory.give(need)
    return not lacking[0]


def give_back(view: MatrixView, bytes_a_row: int) -> None:
    """Give back the memory that `room_for` took on this rank.

    Parameters
    ----------
    view, bytes_a_row : as they were given there.
    """
    view.run.memory.give(_need(view, bytes_a_row))


def _need(view: MatrixView, bytes_a_row: int) -> int:
    return bytes_a_row * sum(len(block) for block in view.tiles)
