"""Random copies of the rows of a matrix: how often each has a row follows from the row's hash."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import pdtr

from outgrow.data.hashing import seeded, unit
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView

_SEED = 0xBA6
"""So that copies have nothing to do with other choices by the hashes of rows."""


@dataclass(frozen=True, eq=False)
class Copy:
    """How often one of several copies has each row.

    Attributes
    ----------
    seed, number : another seed gives other copies, which are told apart by their numbers.
    mean : how often a row is there on average.
    replacement : as often as Poisson's law says; else once or never.
    whole : whether all rows of each class are there once, whatever chance says; of shape (classes,).
    """

    seed: int
    number: int
    mean: float
    replacement: bool = True
    whole: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=bool))

    def times(self, block: Block) -> np.ndarray:
        """How often each row of a block is there, of shape (rows,)."""
        chance = unit(seeded(block.hashes(_SEED + self.seed), self.number))
        if self.replacement:
            most = int(self.mean + 12 * np.sqrt(self.mean) + 12)
            times = np.searchsorted(pdtr(np.arange(most), self.mean), chance, side="right").astype(np.float64)
        else:
            times = (chance < self.mean).astype(np.float64)
        if not self.whole.any():
            return times
        classes = np.zeros(len(block), np.intp) if len(self.whole) == 1 else np.asarray(block.y)
        return np.where(self.whole[classes], 1.0, times)

    def of(self, view: MatrixView) -> MatrixView:
        """The rows of this copy, by their weights; one pass counts them.

        A class of which there would be nothing is whole in it, so that every copy has all classes.

        Parameters
        ----------
        view : rows that `identified` gave.
        """
        labels = view.labels.classes is not None
        size = len(view.classes) if labels else 1

        def weights(block: Block) -> np.ndarray:
            times = self.times(block)
            each = times if block.weight is None else times * block.weight
            classes = np.asarray(block.y) if labels else np.zeros(len(block), np.intp)
            return np.bincount(classes, each, size)

        drawn: np.ndarray = view.reduce(weights)
        lost = drawn == 0
        if not labels:
            return view.weighed(replace(self, whole=lost).times, None)
        counts = np.where(lost, view.class_weights, drawn)
        return view.weighed(replace(self, whole=lost).times, counts)
