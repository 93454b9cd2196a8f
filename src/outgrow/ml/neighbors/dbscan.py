"""Clusters of any shape, by density."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Clusterer
from outgrow.ml.cluster.unit import checked_directions
from outgrow.ml.core.joint import dense
from outgrow.ml.core.outputs import is_lazy
from outgrow.ml.core.parameters import Integer, Number, OneOf, Unused
from outgrow.ml.neighbors.density import within_radius
from outgrow.ml.neighbors.known_rows import RowParts, check_extent, check_size
from outgrow.ml.neighbors.search import METRICS, Search


class DBSCAN(Clusterer):
    """Join rows in dense places, and leave out the others (Ester, Kriegel, Sander and Xu 1996).

    A row is a core where rows that weigh `min_samples` lie within `eps` of it, itself counted. Cores within
    `eps` of each other are of one cluster; a row that is no core belongs to the nearest core within `eps`, or
    to none. Exact: all rows are brought together, up to 268 million numbers. A k-d tree finds what is near
    where it looks at few rows for that, as it does in few columns, or in more that lie about few directions;
    else products of matrices look at all pairs. Pairs of near rows are never held all at once.

    Parameters
    ----------
    eps : how far rows may be from each other, at most, to be near.
    min_samples : what the rows near a core weigh, at least.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    p : the power of 'minkowski'; None is 2.
    algorithm, leaf_size, metric_params, n_jobs : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    components_ : ndarray of shape (n_cores, n_features), the cores, in the order of their hashes.
    component_labels_ : ndarray of shape (n_cores,), the cluster of each; cluster 0 has the most cores.
    n_clusters_ : how many clusters there are.
    labels_ : ndarray of shape (rows,), the clusters of an array given to `fit`; -1 for none.

    Notes
    -----
    Unlike scikit-learn: `predict` and `core_distances` for new rows, by the nearest core; a row that is near
    cores of several clusters goes to the nearest, there to the first; clusters are numbered by their cores,
    the largest first; memory does not grow with the number of near pairs; dense columns only.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [0.3], [0.6], [9.0], [9.2], [50.0]])
    >>> model = og.DBSCAN(eps=0.5, min_samples=2).fit(X)
    >>> model.labels_.tolist(), model.predict(np.array([[9.5]])).tolist()
    ([0, 0, 0, 1, 1, -1], [1])
    """

    parameters = {
        "eps": Number(above=0, below=np.inf),
        "min_samples": Integer(low=1),
        "metric": OneOf(*METRICS),
        "metric_params": Unused(),
        "algorithm": Unused(OneOf("auto", "ball_tree", "kd_tree", "brute")),
        "leaf_size": Unused(Integer(low=1)),
        "p": Number(low=1) | None,
        "n_jobs": Unused(),
    }
    no_exports = {
        "ONNX": "it looks at all cores for each row",
        "scikit-learn": "that class says nothing of new rows",
    }
    _samples = True
    _by_rows = True
    components_: np.ndarray
    component_labels_: np.ndarray
    n_clusters_: int
    _search: Search | None = None

    def __init__(
        self,
        eps: float = 0.5,
        *,
        min_samples: int = 5,
        metric: str = "euclidean",
        metric_params: Any = None,
        algorithm: str = "auto",
        leaf_size: int = 30,
        p: float | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.metric_params = metric_params
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,): a row of weight 2 is two.
        """
        super().fit(X, y, sample_weight)
        if not is_lazy(X):
            self.labels_ = self.predict(X)
        return self

    def core_distances(self, X: Any) -> Any:
        """How far each row is from the nearest core: shape (rows,), infinite where there is none; for lazy
        tables a column `core_distance`."""
        return self._respond(X, "core_distances")

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        if view.sparse:
            raise ParameterError(
                "DBSCAN does not support sparse input. Give dense columns, such as PCA makes."
            )
        check_size(view.rows, view.width + 1, type(self).__name__, view.run.least_budget())
        table = view.reduce(_weighing).in_order()
        rows, weight = np.ascontiguousarray(table[:, :-1]), table[:, -1]
        near = checked_directions(rows) if self.metric == "cosine" else rows
        check_extent(near, self._power)
        # distances are taken as differences, so nothing is lost far from zero
        enough = self.min_samples * (1 - 1e-12)
        around = within_radius(near, self._power)
        dense = around.weights_near(weight, self._radius, enough, view.run.map) >= enough
        self.components_ = rows[dense]
        labels = within_radius(near[dense], self._power).tied(self._radius)
        self.component_labels_ = _numbered(labels, weight[dense])
        self.n_clusters_ = int(self.component_labels_.max(initial=-1)) + 1

    @property
    def _power(self) -> float:
        powers = {
            "minkowski": 2.0 if self.p is None else float(self.p),
            "manhattan": 1.0,
            "chebyshev": np.inf,
        }
        return powers.get(self.metric, 2.0)

    @property
    def _radius(self) -> float:
        """How far rows, or those of directions, may be from each other."""
        return float(np.sqrt(2 * self.eps)) if self.metric == "cosine" else float(self.eps)

    def _restored(self) -> None:
        known = hasattr(self, "components_") and len(self.components_)
        metric = "cosine" if self.metric == "cosine" else "minkowski"
        self._search = Search(self.components_, metric, self._power) if known else None

    def _learned(self) -> dict[str, Any]:
        return {name: value for name, value in super()._learned().items() if name != "labels_"}

    # ---- answer ------------------------------------------------------------------------------------------

    def _nearest(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """How far the nearest core of each row is, and its cluster."""
        if not len(self.components_):
            return np.full(X.shape[0], np.inf), np.full(X.shape[0], -1, dtype=np.int64)
        if self._search is None:
            self._restored()
        assert self._search is not None
        distances, places = self._search.nearest(np.asarray(dense(X), dtype=np.float64), 1)
        return distances[:, 0], self.component_labels_[places[:, 0]]

    def _predict(self, X: Any) -> np.ndarray:
        distances, labels = self._nearest(X)
        return np.where(distances <= self.eps, labels, -1)

    def _core_distances(self, X: Any) -> np.ndarray:
        return self._nearest(X)[0]

    def _transform(self, X: Any) -> np.ndarray:
        """What it is judged by."""
        return self._core_distances(X)[:, None]

    def _prediction_names(self, method: str) -> list[str]:
        return ["core_distance"] if method == "core_distances" else super()._prediction_names(method)


def _weighing(block: Block) -> RowParts:
    """The rows that weigh something, and their weights."""
    weight = np.ones(len(block)) if block.weight is None else block.weight
    kept = weight > 0
    return RowParts([np.column_stack([dense(block.X), weight])[kept]], [block.hashes(0)[kept]])


def _numbered(labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same labels as numbers from 0 on, the one of the most weight first; of equals, the first."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    heavy = np.bincount(codes, weight, len(first))
    order = np.lexsort((first, -heavy))
    rank = np.empty(len(first), dtype=np.int64)
    rank[order] = np.arange(len(first))
    return rank[codes]
