"""How good predictions are before their labels come, from the probabilities alone.

If the probabilities are calibrated, a row with the probability q of its predicted class is right with the
chance q; summed over rows this gives the expected table of true and predicted classes, and each metric of it
(confidence-based performance estimation: Guillory et al. 2021, arXiv 2107.03315; Garg et al. 2022, arXiv
2201.04234). It cannot see that the same rows now have other labels (concept drift): then only labels tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from outgrow.stats.confusion import averages
from outgrow.stats.state import State

CELLS = 1024
ASSUMPTION = "if the probabilities are calibrated and the same rows still have the same labels"


@dataclass(frozen=True, eq=False)
class EstimatedClassification(State):
    """The metrics that probabilities promise.

    Attributes
    ----------
    rows : how many have probabilities.
    left_out : how many have none: not finite, negative, or all 0.
    confusion : ndarray of shape (classes, classes), expected rows by true class (row) and predicted.
    spread : the sum of q (1 - q), q the probability of the predicted class.
    losses : ndarray of shape (2,), the expected sums of the Brier score (half the squared distance, from 0 to
        1) and of the log loss.
    scores : ndarray of shape (1024, 2), of two classes: expected rows of each class by the probability of the
        second one; shape (0, 2) for more classes.
    """

    rows: int
    left_out: int
    confusion: np.ndarray
    spread: float
    losses: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray) -> Self:
        """Of rows.

        Parameters
        ----------
        probabilities : shape (rows, classes); rows need not sum to 1.
        """
        given = np.asarray(probabilities, dtype=np.float64)
        totals = given.sum(axis=1)
        usable = np.isfinite(totals) & (totals > 0) & (given >= 0).all(axis=1)
        p = given[usable] / totals[usable, None]
        classes = p.shape[1]
        predicted = p[:, 1] > p[:, 0] if classes == 2 else p.argmax(axis=1)
        q = p[np.arange(len(p)), predicted.astype(np.intp)]
        confusion = [np.bincount(predicted, p[:, k], classes) for k in range(classes)]
        logs = np.log(np.where(p > 0, p, 1.0))
        losses = np.array([(p * (1 - p)).sum() / 2, -(p * logs).sum()])
        cells = np.minimum((p[:, -1] * CELLS).astype(np.intp), CELLS - 1)
        counted = [np.bincount(cells, p[:, k], CELLS) for k in (0, 1)] if classes == 2 else np.zeros((2, 0))
        scores = np.array(counted, dtype=np.float64).T
        left_out = int((~usable).sum())
        return cls(
            len(p),
            left_out,
            np.array(confusion, dtype=np.float64),
            float((q * (1 - q)).sum()),
            losses,
            scores,
        )

    def merge(self, other: Self) -> Self:
        return type(self)(
            self.rows + other.rows,
            self.left_out + other.left_out,
            self.confusion + other.confusion,
            self.spread + other.spread,
            self.losses + other.losses,
            self.scores + other.scores,
        )

    def metrics(self) -> dict[str, float]:
        """Each expected metric by its name; NaN of no rows."""
        of_classes = averages(self.confusion)
        brier, log_loss = self.losses / self.rows if self.rows else (math.nan, math.nan)
        metrics = {"accuracy": of_classes.pop("accuracy"), "log_loss": log_loss, "brier": brier, **of_classes}
        if len(self.scores):
            metrics["roc_auc"] = self._roc_auc()
        return {name: float(value) if self.rows else math.nan for name, value in metrics.items()}

    def accuracy_interval(self, deviations: float = 1.96) -> tuple[float, float]:
        """Where the accuracy of these rows lies, by chance alone.

        Parameters
        ----------
        deviations : how many standard deviations to each side; 1.96 for 95 %.
        """
        if self.rows == 0:
            return math.nan, math.nan
        mean = float(np.trace(self.confusion)) / self.rows
        margin = deviations * math.sqrt(self.spread) / self.rows
        return max(0.0, mean - margin), min(1.0, mean + margin)

    def _roc_auc(self) -> float:
        negative, positive = self.scores.T
        product = negative.sum() * positive.sum()
        below = np.cumsum(negative) - negative / 2
        return float((positive * below).sum() / product) if product > 0 else math.nan
