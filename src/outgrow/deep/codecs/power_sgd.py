"""Products of two thin matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from outgrow._settings import is_whole
from outgrow.deep.codecs.codec import Codec, Memory
from outgrow.deep.topologies import mesh
from outgrow.engine.links import Links
from outgrow.errors import ParameterError


@dataclass(frozen=True)
class PowerSGD(Codec):
    """Each matrix of parameters as a product of two thin ones, by one step of subspace iteration from those
    of the last merge (Vogels, Karimireddy and Jaggi 2019); vectors are sent as they are.

    Parameters
    ----------
    rank : columns of the thin matrices.

    Raises
    ------
    ParameterError
        When it is no number of columns.

    Examples
    --------
    >>> import outgrow as og
    >>> og.DDP(codec=og.PowerSGD(rank=4))
    DDP(topology='mesh', codec=PowerSGD(rank=4), merge=None)
    """

    rank: int = 2
    dense: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not is_whole(self.rank):
            raise ParameterError(f"PowerSGD(rank={self.rank!r}): a whole number, at least 1.")

    def sum(self, links: Links, array: np.ndarray, shapes: Sequence[tuple[int, ...]], memory: Memory) -> None:
        """See `Codec.sum`.

        Parameters
        ----------
        links, array, shapes, memory : as there.
        """
        if "left" in memory:
            array += memory["left"]
        wanted, numbers = array.copy(), list(_matrices(array, shapes))
        matrices = [part for part in numbers if self._pays(part)]
        vectors = [part.reshape(-1) for part in numbers if not self._pays(part)]
        right = [self._start(memory, number, part) for number, part in enumerate(matrices)]
        left = _summed(links, [part @ basis for part, basis in zip(matrices, right, strict=True)])
        left = [np.linalg.qr(basis)[0].astype(np.float32) for basis in left]
        right = [part.T @ basis for part, basis in zip(matrices, left, strict=True)]
        *right, last = _summed(links, [*right, np.concatenate([np.zeros(0, np.float32), *vectors])])
        for number, (part, high, wide) in enumerate(zip(matrices, left, right, strict=True)):
            part[:] = high @ wide.T
            memory[f"right {number}"] = wide
        ends = list(accumulate(map(len, vectors)))
        for vector, end in zip(vectors, ends, strict=True):
            vector[:] = last[end - len(vector) : end]
        memory["left"] = wanted - array / np.float32(links.size)
        for part in _matrices(memory["left"], shapes):
            if not self._pays(part):
                part[:] = 0.0  # vectors were sent as they are

    def _pays(self, part: np.ndarray) -> bool:
        return part.ndim == 2 and self.rank * sum(part.shape) < part.size

    def _start(self, memory: Memory, number: int, part: np.ndarray) -> np.ndarray:
        known = memory.get(f"right {number}")
        if known is not None and known.any():
            return known
        shape = part.shape[1], self.rank
        return np.random.default_rng(number).normal(size=shape).astype(np.float32)  # the same on every rank


def _matrices(array: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Views of the parameters: of those with two or more sizes as matrices of as many rows as the first."""
    views, start = [], 0
    for shape in shapes or [array.shape]:
        end = start + int(np.prod(shape))
        part = array[start:end]
        views.append(part.reshape(shape[0], -1) if len(shape) > 1 else part)
        start = end
    return [*views, array[start:]]


def _summed(links: Links, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Several arrays, each added up over all ranks, by one sum."""
    flat = np.concatenate([array.reshape(-1) for array in arrays] or [np.zeros(0)]).astype(np.float32)
    mesh(links, flat)
    ends = list(accumulate(array.size for array in arrays))
    return [
        flat[end - array.size : end].reshape(array.shape) for array, end in zip(arrays, ends, strict=True)
    ]
