"""What clusterers share."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClusterMixin

from outgrow.ml.base import Model
from outgrow.ml.core.inputs import open_training


class Clusterer(ClusterMixin, Model):
    """Finds groups. Hook: `_predict(X)`, the index of each row's cluster."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows; `y` names a column of X to leave out, otherwise it is ignored."""
        self._check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    def predict(self, X: Any) -> Any:
        """The cluster of each row: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict")

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Learn from rows, then give each row's cluster."""
        return self.fit(X, y, sample_weight=sample_weight).predict(X)

    def _predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
