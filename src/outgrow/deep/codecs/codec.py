"""What a codec is: how arrays are written small on their way, and what becomes of what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from outgrow.deep.topologies import parts
from outgrow.engine.links import Links

Arrays = tuple[np.ndarray, ...]
Memory = dict[str, np.ndarray]
"""What a rank keeps of a training from one merge to the next; it belongs to the snapshot."""


@dataclass(frozen=True)
class Codec:
    """Writes arrays of float32 in fewer bytes. Hooks: `encode`, `decode`.

    What is left out on the way is kept, and added to what is sent next (error feedback: Seide et al. 2014,
    Karimireddy et al. 2019); so it is at the rank that adds up, when it tells the others (Tang et al. 2019).
    """

    dense: ClassVar[bool] = True
    """Whether every number arrives about as it was, so that parameters may be sent, not changes alone."""

    def encode(self, array: np.ndarray) -> Arrays:
        """An array in fewer bytes.

        Parameters
        ----------
        array : float32 of shape (size,).
        """
        raise NotImplementedError

    def decode(self, arrays: Arrays, size: int) -> np.ndarray:
        """What `encode` has written.

        Parameters
        ----------
        arrays : as it came.
        size : of the array.

        Returns
        -------
        float32 of shape (size,), which may be written to.
        """
        raise NotImplementedError

    def sum(self, links: Links, array: np.ndarray, shapes: Sequence[tuple[int, ...]], memory: Memory) -> None:
        """Add up the arrays of all ranks, in place, as far as the codec can tell; the same bits on each.

        Parameters
        ----------
        links : to the other ranks.
        array : float32 of shape (size,).
        shapes : of the parameters that lie one after the other in it.
        memory : of this rank: what was left out, here and in the part that it adds up.
        """
        size, rank = links.size, links.rank
        edges = parts(len(array), size)
        for owner, (start, end) in enumerate(edges):
            if owner != rank:
                links.send(owner, *self.written(array[start:end], memory, f"to {owner}"))
        start, end = edges[rank]
        total = array[start:end].copy()
        for other in range(size):
            if other != rank:
                total += self.decode(links.receive(other).arrays, end - start)
        arrays = self.written(total, memory, "sum")
        array[start:end] = self.decode(arrays, end - start)
        for other in range(size):
            if other != rank:
                links.send(other, *arrays)
        for owner, (start, end) in enumerate(edges):
            if owner != rank:
                array[start:end] = self.decode(links.receive(owner).arrays, end - start)

    def written(self, array: np.ndarray, memory: Memory, key: str) -> Arrays:
        """An array in fewer bytes, with what was left out before; what is left out now is kept.

        Parameters
        ----------
        array : float32 of shape (size,).
        memory : of this rank.
        key : under which it is kept.
        """
        wanted = array + memory[key] if key in memory else array.astype(np.float32)
        arrays = self.encode(wanted)
        with np.errstate(invalid="ignore"):  # of an infinite number nothing is left
            memory[key] = wanted - self.decode(arrays, len(wanted))
        return arrays
