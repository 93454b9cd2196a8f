"""Minibatches of resident rows that are the same however the rows are divided among ranks.

A row belongs to the step that its key falls into, a hash of the row, the seed and the epoch. Batches have
about `batch_size` rows, as random draws have; each row comes once an epoch. Ranks know without a message
which of their rows a step takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from outgrow.data.hashing import mix, seeded, unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block, concatenated
from outgrow.engine.identified import identified
from outgrow.engine.matrix import MatrixView
from outgrow.engine.memory import describe_size
from outgrow.errors import DataError

_HELD_OUT = 0x4E1D


class Steps:
    """Which rows of this rank each step of an epoch takes.

    Parameters
    ----------
    hashes : uint64 of shape (rows,), of the rows of this rank; equal rows have others.
    every : how many rows there are over all ranks.
    batch_size : rows of a step over all ranks, about.
    seed : another one gives other batches.
    """

    def __init__(self, hashes: np.ndarray, every: int, batch_size: int, seed: int) -> None:
        self._hashes, self._seed = hashes, seed
        self.count = max(1, round(every / batch_size))

    def epoch(self, number: int, start: int = 0) -> Iterator[np.ndarray]:
        """The indices of the rows of each step of an epoch.

        Parameters
        ----------
        number : of the epoch, from 0.
        start : the first step.
        """
        key = mix(np.array([self._seed], np.uint64)) ^ mix(np.array([number + 1], np.uint64))
        keys = mix(self._hashes ^ key)
        order = np.argsort(keys)
        step = (keys[order] >> np.uint64(32)) * np.uint64(self.count) >> np.uint64(32)
        borders = np.searchsorted(step, np.arange(start, self.count + 1, dtype=np.uint64))
        for begin, end in pairwise(borders.tolist()):
            yield order[begin:end]


def held_out(hashes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Whether each row only judges, as about a share of them do.

    Parameters
    ----------
    hashes : uint64 of shape (rows,).
    share : of the rows that judge.
    seed : another one chooses others.
    """
    chosen: np.ndarray = unit(seeded(hashes, seed + _HELD_OUT)) < share
    return chosen


def weighing(view: MatrixView) -> list[Block]:
    """The blocks of this rank without rows that weigh nothing; equal rows have other hashes.

    All ranks call this together.

    Parameters
    ----------
    view : rows with y.
    """
    blocks = list(identified(view).blocks())
    stays = [None if block.weight is None else block.weight > 0 for block in blocks]
    return [
        block if mask is None or mask.all() else block.take(mask)
        for block, mask in zip(blocks, stays, strict=True)
    ]


def resident(view: MatrixView, owner: str) -> Block:
    """The rows of this rank that weigh something as one block, row after row, with their hashes.

    Parameters
    ----------
    view : rows with y; all ranks call this together.
    owner : the class, for messages.

    Raises
    ------
    DataError
        When they need more memory than the rank with least of it has.
    """
    _check_memory(view, owner)
    blocks = weighing(view)
    sources = [block.source_hashes() for block in blocks]
    y = concatenated([block.y for block in blocks])
    if y is None:
        y = np.zeros((0, view.targets) if view.targets else 0, np.intp)
    return Block(
        _rows(blocks, view.width),
        y,
        concatenated([block.weight for block in blocks]),
        source=np.concatenate([*sources, np.zeros(0, np.uint64)]),
    )


def _check_memory(view: MatrixView, owner: str) -> None:
    needed = int(8 * view.rows * (3 + view.width * max(view.labels.density, 1e-12)) / view.run.comm.size)
    budget = view.run.least_budget()
    if needed > budget:
        raise DataError(
            f"{owner} holds all rows in memory for its minibatches: {view.rows} rows of {view.width} columns "
            f"need about {describe_size(needed)} in each task, of a budget of {describe_size(budget)}. Raise "
            "the memory of the engine, use more tasks, or take solver='lbfgs', which reads rows by blocks."
        )


def _rows(blocks: Sequence[Block], width: int) -> Any:
    """The features of blocks, row after row."""
    if any(is_sparse(block.X) for block in blocks):
        return Block.joined(blocks).X
    kind = np.result_type(*(block.X.dtype for block in blocks)) if blocks else np.float64
    X, start = np.empty((sum(map(len, blocks)), width), dtype=kind), 0
    for block in blocks:
        X[start : start + len(block)] = block.X
        start += len(block)
    return X
