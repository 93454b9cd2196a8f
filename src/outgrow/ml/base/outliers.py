"""Models that tell outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import OutlierMixin

from outgrow.ml import evaluation
from outgrow.ml.base.models import DECISION, PREDICTION, Unsupervised
from outgrow.ml.core.scoring import OUTLIERS

SCORE = "score"


class OutlierModel(OutlierMixin, Unsupervised):
    """Tells how usual rows are. Hook: `_score_samples(X)`, greater for usual rows; those below `offset_` are
    outliers."""

    _scoring = OUTLIERS
    offset_: float

    def _score_samples(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _decision_function(self, X: Any) -> np.ndarray:
        return self._score_samples(X) - self.offset_

    def _predict(self, X: Any) -> np.ndarray:
        return np.where(self._decision_function(X) < 0, -1, 1)

    def score_samples(self, X: Any) -> Any:
        """How usual each row is: an array, or for lazy tables a column `score`."""
        return self._respond(X, "score_samples")

    def decision_function(self, X: Any) -> Any:
        """How far the score of each row is above `offset_`; for lazy tables a column `decision`."""
        return self._respond(X, "decision_function")

    def predict(self, X: Any) -> Any:
        """1 for usual rows, -1 for outliers: an array, or for lazy tables a column `prediction`."""
        return self._respond(X, "predict")

    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """The mean of the scores, and the share of rows that are outliers, from one pass.

        Parameters
        ----------
        X : rows with the columns of the fit, in any form that `fit` takes.
        y : ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,), by which rows count.

        Returns
        -------
        Scores
            A mapping of metrics by name, with the state they were read from.
        """
        return evaluation.evaluate(self, X, None, sample_weight)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The mean score of rows.

        Parameters
        ----------
        X, y, sample_weight : as for `evaluate`.
        """
        return float(self.evaluate(X, y, sample_weight)["mean_score"])

    def _prediction_names(self, method: str) -> list[str]:
        return [{"score_samples": SCORE, "decision_function": DECISION}.get(method, PREDICTION)]
