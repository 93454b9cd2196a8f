"""The rows nearest to each of some points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class LeastDistances(State):
    """How far the nearest rows of each point are, and what they weigh.

    Attributes
    ----------
    distances : ndarray of shape (points, most), rising; infinite where there are fewer rows.
    weights : ndarray of shape (points, most).
    """

    distances: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, distances: np.ndarray, weights: np.ndarray, most: int) -> LeastDistances:
        """Those of some rows.

        Parameters
        ----------
        distances, weights : shape (points, any).
        most : how many are kept.
        """
        fill = ((0, 0), (0, max(0, most - distances.shape[1])))
        distances = np.pad(distances, fill, constant_values=np.inf)
        order = np.argsort(distances, axis=1, kind="stable")[:, :most]
        weights = np.pad(weights, fill)
        return cls(np.take_along_axis(distances, order, axis=1), np.take_along_axis(weights, order, axis=1))

    def merge(self, other: LeastDistances) -> LeastDistances:
        return LeastDistances.of(
            np.concatenate([self.distances, other.distances], axis=1),
            np.concatenate([self.weights, other.weights], axis=1),
            self.distances.shape[1],
        )

    def reaching(self, least: float) -> np.ndarray:
        """How far the rows are that weigh so much together: shape (points,); the last that there is, if
        fewer do.

        Parameters
        ----------
        least : what they weigh.
        """
        there = np.isfinite(self.distances)
        reached = (np.cumsum(self.weights, axis=1) >= least * (1 - 1e-12)) | ~there
        first = np.where(reached.any(axis=1), np.argmax(reached, axis=1), there.shape[1] - 1)
        last = np.maximum(there.sum(axis=1) - 1, 0)
        places = np.minimum(first, last)
        return np.asarray(self.distances[np.arange(len(places)), places])
