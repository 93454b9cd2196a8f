"""What models with centers of clusters have in common."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError
from outgrow.ml.base import Clusterer
from outgrow.ml.core.outputs import is_lazy


class CenterClusterer(TransformerMixin, Clusterer):
    """Finds clusters with centers. Hooks: `_fit(view)` and `_predict(X)`.

    Attributes
    ----------
    n_clusters : how many were asked for.
    cluster_centers_ : ndarray of shape (clusters, n_features).
    cluster_sizes_ : ndarray of shape (clusters,), how many rows each has.
    """

    n_clusters: int
    cluster_centers_: np.ndarray
    cluster_sizes_: np.ndarray

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        """
        super().fit(X, y, sample_weight)
        self._warn_of_empty()
        if not is_lazy(X):
            self.labels_ = self.predict(X)
        return self

    def _warn_of_empty(self) -> None:
        distinct = int(np.count_nonzero(self.cluster_sizes_))
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def transform(self, X: Any) -> np.ndarray:
        """Distances to the centers, of shape (rows, clusters)."""
        return self._respond(X, "transform")

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The negated sum of the squared distances of rows to their centers.

        Parameters
        ----------
        X : array of shape (rows, columns).
        y : ignored.
        sample_weight : array of shape (rows,); None where each row counts once.
        """
        nearest = np.min(self.transform(X), axis=1) ** 2
        weight = 1.0 if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        return -float(np.sum(nearest * weight))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives."""
        check_is_fitted(self)
        return np.array(self._prediction_names("transform"), dtype=object)

    def _check_rows(self, rows: int) -> None:
        if rows < self.n_clusters:
            raise DataError(
                f"n_samples={rows} should be >= n_clusters={self.n_clusters}. Ask for fewer clusters."
            )

    def _learned(self) -> dict[str, Any]:
        return {name: value for name, value in super()._learned().items() if name != "labels_"}

    def _transform(self, X: Any) -> np.ndarray:
        X = X.toarray() if is_sparse(X) else X
        return np.stack(
            [np.sqrt(((X - center) ** 2).sum(axis=1)) for center in self.cluster_centers_], axis=1
        )

    def _prediction_names(self, method: str) -> list[str]:
        if method == "transform":
            return [f"{type(self).__name__.lower()}{i}" for i in range(len(self.cluster_centers_))]
        return super()._prediction_names(method)
