"""Minibatches of resident rows that are the same however the rows are divided: by a hash of each row and the epoch.

A row belongs to the step that its key, a hash of the row, the seed and the epoch, falls into. Batches have about
`batch_size` rows, as random draws have; each row comes once an epoch. Ranks know without a message which of their
rows a step takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.data.hashing import mix
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block, concatenated
from outgrow.engine.matrix import MatrixView

torch = optional("torch", "torch")


class Minibatches:
    """The rows of this rank, by epochs and steps.

    Parameters
    ----------
    view : rows with hashes, in which equal rows have others (`ml.meta.copies.identified`).
    batch_size : rows of a step over all ranks, about.
    seed : another one gives other batches.
    integers : y are indices of classes; else numbers.
    """

    def __init__(self, view: MatrixView, batch_size: int, seed: int, *, integers: bool) -> None:
        blocks = list(view.blocks())
        self._X = _joined(blocks, view.width)
        self._y = np.concatenate([_targets(block, integers) for block in blocks] or [np.zeros(0)])
        weights = concatenated([block.weight for block in blocks]) if view.labels.weighted else None
        self._weight = None if weights is None else weights.astype(np.float32)
        self._hashes = np.concatenate([block.source_hashes() for block in blocks] or [np.zeros(0, np.uint64)])
        self.steps = max(1, round(view.rows / batch_size))
        self._seed = seed

    def epoch(self, number: int) -> Iterator[tuple[Any, Any, Any]]:
        """The rows of each step: inputs, targets, weights or None, as tensors.

        Parameters
        ----------
        number : of the epoch, from 0.
        """
        key = mix(np.array([self._seed], np.uint64)) ^ mix(np.array([number + 1], np.uint64))
        keys = mix(self._hashes ^ key)
        order = np.argsort(keys)
        step = (keys[order] >> np.uint64(32)) * np.uint64(self.steps) >> np.uint64(32)
        borders = np.searchsorted(step, np.arange(self.steps + 1, dtype=np.uint64))
        for begin, end in zip(borders[:-1], borders[1:], strict=True):
            yield self._tensors(order[begin:end])

    def all(self, rows: int = 1 << 14) -> Iterator[tuple[Any, Any, Any]]:
        """All rows of this rank, so many at a time."""
        for start in range(0, len(self._y), rows):
            yield self._tensors(np.arange(start, min(start + rows, len(self._y))))

    def _tensors(self, rows: np.ndarray) -> tuple[Any, Any, Any]:
        X = self._X[rows]
        if is_sparse(X):
            X = X.toarray()
        weight = None if self._weight is None else torch.from_numpy(self._weight[rows])
        return torch.from_numpy(X), torch.from_numpy(self._y[rows]), weight


def _joined(blocks: list[Block], width: int) -> Any:
    """The features of blocks as float32, row after row."""
    if any(is_sparse(block.X) for block in blocks):
        return Block.joined(blocks).X.astype(np.float32)
    X = np.empty((sum(map(len, blocks)), width), dtype=np.float32)
    at = 0
    for block in blocks:
        X[at : at + len(block)] = block.X
        at += len(block)
    return X


def _targets(block: Block, integers: bool) -> np.ndarray:
    return np.asarray(block.y).astype(np.int64 if integers else np.float32)
