"""K-means clustering."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import is_sparse
from outgrow.engine.matrix import Block, MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml import parameters as check
from outgrow.ml.base import Clusterer
from outgrow.ml.cluster.seeding import farthest_rows, scalable_start
from outgrow.ml.inputs import is_lazy
from outgrow.stats.moments import Moments


class KMeans(TransformerMixin, Clusterer):
    """Lloyd's algorithm from a k-means|| start (Bahmani et al. 2012).

    One pass over the rows for each iteration. Spark MLlib's `KMeans(k=2, maxIter=20, initSteps=2)` is the
    same algorithm with other defaults; scikit-learn starts from k-means++, which needs a pass for each
    cluster.

    Parameters
    ----------
    n_clusters : how many clusters.
    init : 'k-means||', or the first centers, of shape (n_clusters, n_features).
    n_init : how often to start anew; the best run counts.
    max_iter : most iterations of a run.
    tol : stop when the centers move, in summed squares, by no more than this share of the mean variance.
    random_state : another number starts elsewhere. The start depends on it and on the rows alone.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features).
    inertia_ : summed squared distance of the rows to their centers, weighted.
    n_iter_ : iterations of the best run.
    labels_ : ndarray of shape (rows,), the clusters of an array given to `fit`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> model = og.KMeans(n_clusters=2, random_state=0).fit(np.array([[0.0], [0.2], [9.0], [9.2]]))
    >>> sorted(model.cluster_centers_[:, 0].round(6).tolist())
    [0.1, 9.1]
    """

    def __init__(self, n_clusters: int = 8, *, init: Any = "k-means||", n_init: int = 1, max_iter: int = 300,
                 tol: float = 1e-4, random_state: int | None = None) -> None:  # fmt: skip
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows; `y` names a column of X to leave out, otherwise it is ignored."""
        super().fit(X, y, sample_weight)
        if not is_lazy(X):
            self.labels_ = self.predict(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Distances to the centers, of shape (rows, clusters)."""
        return self._respond(X, "transform")

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives."""
        check_is_fitted(self)
        return np.array(self._answer_names("transform"), dtype=object)

    def _check_parameters(self) -> None:
        check.integer(self, "n_clusters", low=1)
        check.integer(self, "n_init", low=1)
        check.integer(self, "max_iter", low=1)
        check.number(self, "tol", low=0)
        if isinstance(self.init, str) and self.init != "k-means||":
            raise ParameterError(
                f"KMeans(init={self.init!r}): init must be 'k-means||' or an array of centers."
            )

    def _learn(self, view: MatrixView) -> None:
        if view.rows < self.n_clusters:
            raise DataError(
                f"n_samples={view.rows} should be >= n_clusters={self.n_clusters}. Ask for fewer clusters."
            )
        moments: Moments = view.reduce(lambda block: Moments.of(block.X, block.weight))
        slack = self.tol * float(moments.variance().mean())
        best = np.inf
        for run in range(1 if not isinstance(self.init, str) else self.n_init):
            centers, steps = self._lloyd(view, self._start(view, moments, run), moments.mean, slack)
            inertia = _inertia(view, centers, moments.mean)
            if inertia < best:
                best = inertia
                self.cluster_centers_, self.inertia_, self.n_iter_ = centers, inertia, steps

    def _start(self, view: MatrixView, moments: Moments, run: int) -> np.ndarray:
        if isinstance(self.init, str):
            seed = (self.random_state or 0) + 7919 * run
            return scalable_start(view, self.n_clusters, moments.mean, seed)
        centers = np.array(self.init, dtype=np.float64)
        if centers.shape != (self.n_clusters, view.width):
            raise ParameterError(
                f"init has shape {centers.shape}; {(self.n_clusters, view.width)} is needed."
            )
        return centers

    def _lloyd(
        self, view: MatrixView, centers: np.ndarray, origin: np.ndarray, slack: float
    ) -> tuple[np.ndarray, int]:
        for step in range(1, self.max_iter + 1):
            sums = view.reduce(partial(_sums, centers=centers, origin=origin))
            weights, new = sums[:, -2], sums[:, :-2].copy()
            filled = weights > 0
            new[filled] /= weights[filled, None]
            if not filled.all():
                new[~filled] = farthest_rows(view, centers, origin, int((~filled).sum()))
            moved = float(((new - centers) ** 2).sum())
            centers = new
            view.run.tell("iteration", step, self.max_iter, loss=float(sums[:, -1].sum()))
            if moved <= slack:
                break
        return centers, step

    def _learned(self) -> dict[str, Any]:
        return {name: value for name, value in super()._learned().items() if name != "labels_"}

    def _answer_predict(self, X: Any) -> np.ndarray:
        scores = _scores(X, self.cluster_centers_, self.cluster_centers_.mean(axis=0))
        return scores.argmax(axis=0).astype(np.int32)

    def _answer_transform(self, X: Any) -> np.ndarray:
        X = X.toarray() if is_sparse(X) else X
        return np.stack(
            [np.sqrt(((X - center) ** 2).sum(axis=1)) for center in self.cluster_centers_], axis=1
        )

    def _answer_names(self, method: str) -> list[str]:
        if method == "transform":
            return [f"kmeans{i}" for i in range(len(self.cluster_centers_))]
        return super()._answer_names(method)


def _scores(X: Any, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Half of each row's square less half its distance to each center, of shape (clusters, rows).

    Centers are taken relative to `origin`: far from zero the products would lose the difference.
    """
    apart = centers - origin
    scores = np.ascontiguousarray((X @ apart.T).T) if is_sparse(X) else apart @ X.T
    scores -= (apart @ origin + 0.5 * (apart**2).sum(axis=1))[:, None]
    return scores


def _sums(block: Block, centers: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """For each cluster: summed rows, weight, and the part of the cost that depends on the centers."""
    scores = _scores(block.X, centers, origin)
    best = scores.max(axis=0)
    nearest = scores == best
    if np.count_nonzero(nearest) != len(block):  # a row as near to two centers belongs to the first
        nearest[:] = False
        nearest[scores.argmax(axis=0), np.arange(len(block))] = True
    member = nearest.astype(np.float64)
    if block.weight is not None:
        member *= block.weight
    sums = np.asarray((block.X.T @ member.T).T) if is_sparse(block.X) else member @ block.X
    return np.column_stack([sums, member.sum(axis=1), -(member @ best)])


def _inertia(view: MatrixView, centers: np.ndarray, origin: np.ndarray) -> float:
    return float(view.reduce(lambda block: np.array([_cost(block, centers, origin)]))[0])


def _cost(block: Block, centers: np.ndarray, origin: np.ndarray) -> float:
    X = block.X.toarray() if is_sparse(block.X) else block.X
    labels = _scores(block.X, centers, origin).argmax(axis=0)
    squares = ((X - centers[labels]) ** 2).sum(axis=1)
    return float(squares.sum() if block.weight is None else block.weight @ squares)
