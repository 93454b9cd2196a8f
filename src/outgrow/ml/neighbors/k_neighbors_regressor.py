"""Numbers by the nearest rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.core.scoring import NUMBERS
from outgrow.ml.neighbors.supervised import NearestModel


class KNeighborsRegressor(NearestModel, Regressor):
    """Predict the mean y of the nearest rows.

    The model is the rows of the fit, which it holds: up to 268 million numbers. The search is exact, but with
    algorithm='ivf'; of rows as far from a query those count whose hash is the least, on every engine
    and in batches of any size.

    Parameters
    ----------
    n_neighbors : how many rows count.
    weights : 'uniform', or 'distance' for weights of one divided by the distance, or a function that makes
        weights of an array of distances of shape (rows, n_neighbors). Which functions a saved model may
        have, `FunctionTransformer` says.
    p : the power of 'minkowski': 1 is 'manhattan', 2 'euclidean', infinity 'chebyshev'.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    algorithm : 'ivf' looks at cells of near rows alone, as many as find the share `recall` of the neighbours;
        the others are accepted as in scikit-learn and change nothing: the search is exact.
    recall : the share of the neighbours that 'ivf' is to find, measured on 256 rows of the fit.
    leaf_size, metric_params, n_jobs : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, n_features), in the order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), their positions in the X of `fit`, where that was in memory,
        else, and in pipelines, their places in `rows_`.
    targets_ : ndarray of shape (n_samples_fit_,), or (n_samples_fit_, targets), their y.
    row_weights_ : ndarray of shape (n_samples_fit_,), by which their weights are multiplied.
    n_samples_fit_ : how many rows it holds: those that weigh something.
    recall_ : the share of the neighbours that 'ivf' found of those rows; 1 where the search is exact.
    probes_ : how many cells 'ivf' looks at; `centers_` are their centres, `cells_` those of the rows.

    Notes
    -----
    Unlike scikit-learn: takes weights; of neighbours as far as each other the least hashes count, there it is
    chance; more neighbours than rows are refused by `fit`; dense columns only.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([0.0, 1.0, 2.0, 10.0])
    >>> og.KNeighborsRegressor(n_neighbors=2).fit(X, y).predict(np.array([[0.4], [7.0]])).tolist()
    [0.5, 6.0]
    """

    _scoring = NUMBERS
    sklearn_class = "neighbors.KNeighborsRegressor"

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: str | Callable[[np.ndarray], np.ndarray] = "uniform",
        algorithm: str = "auto",
        leaf_size: int = 30,
        p: float = 2,
        metric: str = "minkowski",
        metric_params: Any = None,
        n_jobs: int | None = None,
        recall: float = 0.95,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.metric = metric
        self.metric_params = metric_params
        self.n_jobs = n_jobs
        self.recall = recall

    def _fit(self, view: MatrixView) -> None:
        self._gather(view)

    def _predict(self, X: Any) -> np.ndarray:
        places, weights = self._near(X)
        shares = weights / weights.sum(axis=1, keepdims=True)
        each = [(shares * target[places]).sum(axis=1) for target in np.atleast_2d(self.targets_.T)]
        return each[0] if self.target_names_ is None else np.column_stack(each)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _sklearn_model(self) -> Any:
        return self._twin(self.targets_)
