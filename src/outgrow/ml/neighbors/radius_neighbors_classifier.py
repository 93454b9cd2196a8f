"""Classes by the rows within a radius."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.core.parameters import described
from outgrow.ml.core.scoring import PROBABILITIES
from outgrow.ml.neighbors.radius_model import RadiusModel

_SHOWN = 5


class RadiusNeighborsClassifier(RadiusModel, ProbabilityClassifier):
    """Let all rows within a radius vote.

    The model is the rows of the fit, which it holds: up to 268 million numbers. The search is exact.

    Parameters
    ----------
    radius : how far rows may be that vote.
    weights : 'uniform', or 'distance' for votes of one divided by the distance, or a function that makes
        votes of the distances of each row's neighbours, an array. Which functions a saved model may have,
        `FunctionTransformer` says.
    p : the power of 'minkowski': 1 is 'manhattan', 2 'euclidean', infinity 'chebyshev'.
    outlier_label : the class of rows with no neighbour: one of those of the fit, or 'most_frequent'; None
        refuses such rows.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    algorithm, leaf_size, metric_params, n_jobs : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,).
    outlier_class_ : the place in `classes_` of what rows with no neighbour are; -1 where they are refused.
    rows_ : ndarray of shape (n_samples_fit_, n_features), in the order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), their positions in the X of `fit`, where that was in memory,
        else, and in pipelines, their places in `rows_`.
    targets_ : ndarray of shape (n_samples_fit_,), the places of their classes in `classes_`.
    row_weights_ : ndarray of shape (n_samples_fit_,), by which their votes are multiplied.
    n_samples_fit_ : how many rows it holds: those that weigh something.

    Notes
    -----
    Unlike scikit-learn: takes weights, by which a row of weight 2 is two; `outlier_label` must be one of the
    classes, there one that is not has no probability; near pairs are never held all at once; one y and dense
    columns only.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["low", "low", "high", "high"])
    >>> model = og.RadiusNeighborsClassifier(1.5, outlier_label="high").fit(X, y)
    >>> model.predict(np.array([[0.4], [90.0]])).tolist()
    ['low', 'high']
    """

    parameters = {
        **RadiusModel.parameters,
        "outlier_label": described("'most_frequent', one of the classes, or None"),
    }
    test_parameters = {"outlier_label": "most_frequent"}
    _scoring = PROBABILITIES
    sklearn_class = "neighbors.RadiusNeighborsClassifier"
    outlier_class_: int

    def __init__(
        self,
        radius: float = 1.0,
        *,
        weights: str | Callable[[np.ndarray], np.ndarray] = "uniform",
        algorithm: str = "auto",
        leaf_size: int = 30,
        p: float = 2,
        metric: str = "minkowski",
        outlier_label: Any = None,
        metric_params: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.radius = radius
        self.weights = weights
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.metric = metric
        self.outlier_label = outlier_label
        self.metric_params = metric_params
        self.n_jobs = n_jobs

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        self._gather(view)
        self.outlier_class_ = self._outliers()

    def _outliers(self) -> int:
        """The place of the class of rows with no neighbour."""
        if self.outlier_label is None:
            return -1
        classes = self.classes_.tolist()
        if isinstance(self.outlier_label, str) and self.outlier_label == "most_frequent":
            heavy = np.bincount(self.targets_.astype(np.intp), self.row_weights_, len(classes))
            return int(np.argmax(heavy))
        if self.outlier_label not in classes:
            raise ParameterError(
                f"outlier_label={self.outlier_label!r} is none of the classes {classes[:20]}. Give one of "
                "them, or 'most_frequent'."
            )
        return classes.index(self.outlier_label)

    def _predict_proba(self, X: Any) -> np.ndarray:
        made = self._sums(X, self.targets_.astype(np.intp), len(self.classes_))
        total = made.sum(axis=1)
        alone = total == 0
        if alone.any():
            if self.outlier_class_ < 0:
                raise DataError(
                    f"{int(alone.sum())} rows have no neighbour within radius={self.radius:g}, of a part of "
                    f"{len(alone)} rows those at {np.flatnonzero(alone)[:_SHOWN].tolist()}. Give a larger "
                    "radius or an outlier_label, or leave them out."
                )
            made[alone, self.outlier_class_], total[alone] = 1.0, 1.0
        return np.asarray(made / total[:, None])

    def _sklearn_model(self) -> Any:
        return self._twin(self.classes_[self.targets_.astype(np.intp)], outlier_label=self.outlier_label)
