"""Rows of a matrix with hashes in which equal rows differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outgrow.data.hashing import mix
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.row_ids import told_apart


def identified(view: MatrixView) -> MatrixView:
    """The same rows, copied but for their features, with other hashes where several are equal; no pass.

    Equal are those of the same values, y and weight. Which of them gets a hash depends on the partitioning,
    how many get it does not. All ranks call this together.

    Parameters
    ----------
    view : rows with y.
    """
    hashes = [_hashes(block) for block in view.blocks()]
    weighing = [_weighing(block) for block in view.blocks()]
    every, stays = (
        np.concatenate([*parts, np.zeros(0, kind)])
        for parts, kind in ((hashes, np.uint64), (weighing, np.bool_))
    )
    every[stays] = view.run.call(lambda: told_apart(view.run, every[stays]))
    each = np.split(every, np.cumsum([len(part) for part in hashes]))
    pairs = zip(view.blocks(), each, strict=False)
    return view.of_blocks(replace(block, source=own) for block, own in pairs)


def _weighing(block: Block) -> np.ndarray:
    return np.ones(len(block), bool) if block.weight is None else np.asarray(block.weight > 0)


def _hashes(block: Block) -> np.ndarray:
    """Hashes of rows by their values, y and weights; to weigh one is to have no weight."""
    hashes = block.source_hashes()
    if block.y is not None:
        for column in np.asarray(block.y, dtype=np.float64).reshape(len(block), -1).T:
            hashes = _with(hashes, column)
    if block.weight is None:
        return hashes
    weight = np.asarray(block.weight, dtype=np.float64)
    return np.where(weight == 1, hashes, _with(hashes, weight))


def _with(hashes: np.ndarray, column: np.ndarray) -> np.ndarray:
    return mix(hashes ^ mix((column + 0.0).view(np.uint64)))
