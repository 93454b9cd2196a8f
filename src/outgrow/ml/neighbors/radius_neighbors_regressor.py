"""Numbers by the rows within a radius."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.core.scoring import NUMBERS
from outgrow.ml.neighbors.radius_model import RadiusModel


class RadiusNeighborsRegressor(RadiusModel, Regressor):
    """Predict the mean y of all rows within a radius.

    The model is the rows of the fit, which it holds: up to 268 million numbers. The search is exact.

    Parameters
    ----------
    radius : how far rows may be that count.
    weights : 'uniform', or 'distance' for weights of one divided by the distance, or a function that makes
        weights of the distances of each row's neighbours, an array. Which functions a saved model may have,
        `FunctionTransformer` says.
    p : the power of 'minkowski': 1 is 'manhattan', 2 'euclidean', infinity 'chebyshev'.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    algorithm, leaf_size, metric_params, n_jobs : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, n_features), in the order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), their positions in the X of `fit`, where that was in memory,
        else, and in pipelines, their places in `rows_`.
    targets_ : ndarray of shape (n_samples_fit_,), or (n_samples_fit_, targets), their y.
    row_weights_ : ndarray of shape (n_samples_fit_,), by which their weights are multiplied.
    n_samples_fit_ : how many rows it holds: those that weigh something.

    Notes
    -----
    Unlike scikit-learn: takes weights, by which a row of weight 2 is two; near pairs are never held all at
    once; dense columns only.

    A row with no neighbour is NaN, with a warning, as there.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([0.0, 1.0, 2.0, 10.0])
    >>> og.RadiusNeighborsRegressor(2.5).fit(X, y).predict(np.array([[0.4], [9.0]])).tolist()
    [1.0, 10.0]
    """

    test_parameters = {"radius": 1e3, "weights": "distance"}
    _scoring = NUMBERS
    sklearn_class = "neighbors.RadiusNeighborsRegressor"

    def __init__(
        self,
        radius: float = 1.0,
        *,
        weights: str | Callable[[np.ndarray], np.ndarray] = "uniform",
        algorithm: str = "auto",
        leaf_size: int = 30,
        p: float = 2,
        metric: str = "minkowski",
        metric_params: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.radius = radius
        self.weights = weights
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.metric = metric
        self.metric_params = metric_params
        self.n_jobs = n_jobs

    def _fit(self, view: MatrixView) -> None:
        self._gather(view)

    def _predict(self, X: Any) -> np.ndarray:
        one = np.zeros(self.n_samples_fit_, dtype=np.intp)
        total = self._sums(X, one, 1)[:, 0]
        each = [self._sums(X, one, 1, target)[:, 0] for target in np.atleast_2d(self.targets_.T)]
        alone = total == 0
        if alone.any():
            warnings.warn(
                f"{int(alone.sum())} rows have no neighbour within radius={self.radius:g}; what is predicted "
                "for them is NaN. Give a larger radius.",
                stacklevel=2,
            )
        with np.errstate(invalid="ignore"):
            made = [sums / total for sums in each]
        return made[0] if self.target_names_ is None else np.column_stack(made)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _sklearn_model(self) -> Any:
        return self._twin(self.targets_)
