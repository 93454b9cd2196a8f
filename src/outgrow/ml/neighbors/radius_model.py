"""What models of the rows within a radius have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.joint import dense
from outgrow.ml.core.parameters import Number
from outgrow.ml.neighbors.queries import RadiusQueries
from outgrow.ml.neighbors.search import Near
from outgrow.ml.neighbors.supervised import NeighborsModel


class RadiusModel(RadiusQueries, NeighborsModel):
    """Answers by all rows within a radius."""

    parameters = {"radius": Number(low=0), **NeighborsModel.parameters}
    counted = "radius"

    def _sums(self, X: Any, kinds: np.ndarray, count: int, values: np.ndarray | None = None) -> np.ndarray:
        """What the near rows of each row amount to, by kind: of shape (rows, count); zeros of rows with no
        neighbour.

        Parameters
        ----------
        X : the rows.
        kinds : shape (n_samples_fit_,), of the rows of the fit.
        count : how many kinds there are.
        values : shape (n_samples_fit_,), by which they count; None for ones.
        """
        sums = [np.zeros((0, count))]
        rows = np.asarray(dense(X), dtype=np.float64)
        for near in self._finder().within(rows, float(self.radius)):
            counted = self._counted(near)
            counted = counted if values is None else counted * values[near.places]
            cells = near.queries * count + kinds[near.places]
            made = np.bincount(cells, counted, len(near.counts) * count).reshape(-1, count)
            sums.append(np.asarray(made, dtype=np.float64))
        return np.concatenate(sums)

    def _counted(self, near: Near) -> np.ndarray:
        """What each near row counts."""
        own = self.row_weights_[near.places]
        if callable(self.weights):
            each = np.split(near.distances, np.cumsum(near.counts)[:-1])
            made = [np.asarray(self.weights(part), dtype=np.float64) for part in each if len(part)]
            return own * np.concatenate([np.zeros(0), *made])
        if self.weights == "uniform":
            return own
        same = near.distances == 0
        some = np.bincount(near.queries[same], minlength=len(near.counts))[near.queries] > 0
        with np.errstate(divide="ignore"):
            return own * np.where(some, same.astype(np.float64), 1 / near.distances)
