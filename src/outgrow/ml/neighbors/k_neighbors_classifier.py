"""Classes by the nearest rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.scoring import PROBABILITIES
from outgrow.ml.neighbors.supervised import NearestModel
from outgrow.ml.several_classes import SeveralClassifier, joined


class KNeighborsClassifier(NearestModel, SeveralClassifier):
    """Let the nearest rows vote (Fix and Hodges 1951; Cover and Hart 1967).

    The model is the rows of the fit, which it holds: up to 268 million numbers. The search is exact, but with
    algorithm='ivf'; of rows as far from a query those count whose hash is the least, on every engine
    and in batches of any size. Of several targets, such as labels of which a row may have many, the same rows
    vote on each.

    Parameters
    ----------
    n_neighbors : how many rows vote.
    weights : 'uniform', or 'distance' for votes of one divided by the distance, or a function that makes
        votes of an array of distances of shape (rows, n_neighbors). Which functions a saved model may have,
        `FunctionTransformer` says.
    p : the power of 'minkowski': 1 is 'manhattan', 2 'euclidean', infinity 'chebyshev'.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    algorithm : 'ivf' looks at cells of near rows alone, as many as find the share `recall` of the neighbours;
        the others are accepted as in scikit-learn and change nothing: the search is exact.
    recall : the share of the neighbours that 'ivf' is to find, measured on 256 rows of the fit.
    leaf_size, metric_params, n_jobs : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,); of several targets a list of those of each.
    rows_ : ndarray of shape (n_samples_fit_, n_features), in the order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), their positions in the X of `fit`, where that was in memory,
        else, and in pipelines, their places in `rows_`.
    targets_ : ndarray of shape (n_samples_fit_,), or (n_samples_fit_, targets), the places of their classes
        in `classes_`.
    row_weights_ : ndarray of shape (n_samples_fit_,), by which their votes are multiplied.
    n_samples_fit_ : how many rows it holds: those that weigh something.
    recall_ : the share of the neighbours that 'ivf' found of those rows; 1 where the search is exact.
    probes_ : how many cells 'ivf' looks at; `centers_` are their centres, `cells_` those of the rows.

    Notes
    -----
    Unlike scikit-learn: takes weights, which count in votes; of neighbours as far as each other the least
    hashes count, there it is chance; more neighbours than rows are refused by `fit`; dense columns only.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["low", "low", "high", "high"])
    >>> og.KNeighborsClassifier(n_neighbors=3).fit(X, y).predict(np.array([[1.1], [9.0]])).tolist()
    ['low', 'high']
    """

    _scoring = PROBABILITIES
    sklearn_class = "neighbors.KNeighborsClassifier"

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
        if self.target_names_ is None:
            self._learn_classes(view)
            self._gather(view)
            return
        codes = self._learn_combinations(view).codes
        self._gather(view)
        self.targets_ = codes[self.targets_.astype(np.intp)].astype(np.float64)

    def _predict_proba(self, X: Any) -> np.ndarray:
        places, votes = self._near(X)
        codes = self.targets_.astype(np.intp)
        if self.target_names_ is None:
            return _shares(codes[places], votes, len(self.classes_))
        pairs = zip(codes.T, self.classes_, strict=True)
        return np.hstack([_shares(target[places], votes, len(classes)) for target, classes in pairs])

    def _sklearn_model(self) -> Any:
        codes = self.targets_.astype(np.intp)
        if self.target_names_ is None:
            return self._twin(self.classes_[codes])
        pairs = zip(codes.T, self.classes_, strict=True)
        return self._twin(joined([classes[target] for target, classes in pairs]))


def _shares(codes: np.ndarray, votes: np.ndarray, classes: int) -> np.ndarray:
    """The share of the votes of each class, of shape (rows, classes)."""
    rows = len(codes)
    cells = (np.arange(rows)[:, None] * classes + codes).ravel()
    counted = np.bincount(cells, votes.ravel(), rows * classes).reshape(rows, classes)
    shares: np.ndarray = counted / counted.sum(axis=1, keepdims=True)
    return shares
