"""To what the perceptron's scales are set, from one pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.stats.moments import Moments


def scales_of_features(view: MatrixView, categories: Sequence[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Means, and the inverse of deviations, of the columns that are numbers; one pass.

    Parameters
    ----------
    view : the rows.
    categories : the places of the other columns, and how many values each has.
    """
    moments = view.reduce(lambda block: Moments.of(block.X, block.weight))
    numbers = np.setdiff1d(np.arange(view.width), [column for column, _ in categories])
    deviation = _deviations(moments)[numbers]
    return {
        "shift": moments.mean[numbers].astype(np.float32),
        "scale": (1.0 / deviation).astype(np.float32),
    }


def scales_of_targets(view: MatrixView) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the targets, of shape (targets,); one pass.

    Parameters
    ----------
    view : rows whose y are numbers.
    """
    moments = view.reduce(lambda block: Moments.of(_targets(block), block.weight))
    return moments.mean, _deviations(moments)


def _targets(block: Block) -> np.ndarray:
    return np.asarray(block.y, dtype=np.float64).reshape(len(block), -1)


def _deviations(moments: Moments) -> np.ndarray:
    """Of each column; 1 where all values are the same."""
    deviation = np.sqrt(moments.m2 / np.where(moments.n > 0, moments.n, 1.0))
    constant = deviation <= 1e-12 * np.abs(moments.mean)
    return np.where(constant | (deviation == 0), 1.0, deviation)
