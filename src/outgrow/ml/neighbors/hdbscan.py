"""Clusters of any shape and of several densities."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Clusterer
from outgrow.ml.cluster.unit import checked_directions
from outgrow.ml.core.joint import dense
from outgrow.ml.core.outputs import is_lazy
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.neighbors.bubbles import bubble_cores, data_bubbles
from outgrow.ml.neighbors.condensed_tree import CondensedTree, chosen, condensed, label_of_clusters
from outgrow.ml.neighbors.index import rows_in_seconds
from outgrow.ml.neighbors.known_rows import RowParts, check_extent, check_size
from outgrow.ml.neighbors.reachability import Cores, Space, core_distances, spanning_tree
from outgrow.ml.neighbors.search import METRICS, Search

_BUBBLES = 20_000
"""Bubbles of which all pairs are looked at in a few seconds."""


class HDBSCAN(Clusterer):
    """Join rows in dense places, whatever the density (Campello, Moulavi and Sander 2013).

    DBSCAN for all distances at once: a hierarchy of clusters that part as the distance shrinks, of which
    those are given out that hold together longest. Up to `max_rows` rows are brought together and the
    hierarchy is exact. Rows of few columns find each other by a k-d tree (March, Ram and Gray 2010); with
    many, or without Numba, time grows with the square of the rows. **Past that it is approximate**: up to
    20,000 rows, chosen by their hashes, become data bubbles, with what lies around them and how wide, from
    two passes over all rows wherever they are; the bubbles are clustered, and a row is what its bubble is.

    Parameters
    ----------
    min_cluster_size : what a cluster weighs, at least.
    min_samples : what the rows within the core distance of a row weigh, itself counted; None for
        `min_cluster_size`.
    cluster_selection_epsilon : clusters that part at a smaller distance stay together.
    max_cluster_size : what a cluster weighs, at most, with 'eom'; None for anything.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    p : the power of 'minkowski'; None is 2.
    alpha : by what distances are divided before the core distances count.
    cluster_selection_method : 'eom' for the clusters that last longest, 'leaf' for the smallest.
    allow_single_cluster : whether all rows may be one cluster.
    max_rows : rows up to which it is exact, and how many bubbles there are past that, but no more than
        20,000; None for as many rows as take seconds: 500,000 of up to 5 columns, 100,000 of up to 10,
        20,000 of more, or without Numba.
    algorithm, leaf_size, metric_params, n_jobs, store_centers, copy : accepted as in scikit-learn, without
        effect.

    Attributes
    ----------
    rows_ : ndarray of shape (n_rows, n_features), the rows of the fit in the order of their hashes, or those
        around which bubbles are.
    row_labels_, row_probabilities_ : ndarrays of shape (n_rows,), the cluster of each, -1 for none, and how
        near to its heart it is, from 0 to 1.
    n_clusters_ : how many clusters there are; cluster 0 is the heaviest.
    exact_ : whether no bubbles were made.
    labels_, probabilities_ : ndarrays of shape (rows,), of an array given to `fit`.

    Notes
    -----
    Unlike scikit-learn: takes weights, where a row of weight 2 is two; edges of the same length part at once,
    where there the order of the rows chooses which part first, and with it the clusters; rows that are alike
    are never parted;
    `predict` and `probabilities` for new rows (as hdbscan's `approximate_predict`); clusters are numbered by
    their weight; a cluster with rows that are alike keeps the probabilities of its others; bubbles past
    `max_rows`; dense columns only, and no missing values.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [6.0], [7.0], [8.1], [90.0]])
    >>> model = og.HDBSCAN(min_cluster_size=3, min_samples=2).fit(X)
    >>> model.labels_.tolist()
    [1, 1, 1, 0, 0, 0, 0, -1]
    >>> model.predict(np.array([[6.5], [40.0]])).tolist()
    [0, -1]
    """

    parameters = {
        "min_cluster_size": Integer(low=2),
        "min_samples": Integer(low=1) | None,
        "cluster_selection_epsilon": Number(low=0, below=np.inf),
        "max_cluster_size": Integer(low=1) | None,
        "metric": OneOf(*METRICS),
        "metric_params": Unused(),
        "alpha": Number(above=0, below=np.inf),
        "algorithm": Unused(OneOf("auto", "brute", "kd_tree", "ball_tree")),
        "leaf_size": Unused(Integer(low=1)),
        "p": Number(low=1) | None,
        "n_jobs": Unused(),
        "cluster_selection_method": OneOf("eom", "leaf"),
        "allow_single_cluster": FLAG,
        "store_centers": Unused(),
        "copy": Unused(),
        "max_rows": Integer(low=2) | None,
    }
    no_exports = {
        "ONNX": "it looks at all rows of the fit for each row",
        "scikit-learn": "that class says nothing of new rows",
    }
    _samples = True
    _by_rows = True
    rows_: np.ndarray
    row_labels_: np.ndarray
    row_probabilities_: np.ndarray
    row_weights_: np.ndarray | None = None  # of models that were saved before there were any
    n_clusters_: int
    exact_: bool
    _search: Search | None = None

    def __init__(
        self,
        min_cluster_size: int = 5,
        *,
        min_samples: int | None = None,
        cluster_selection_epsilon: float = 0.0,
        max_cluster_size: int | None = None,
        metric: str = "euclidean",
        metric_params: Any = None,
        alpha: float = 1.0,
        algorithm: str = "auto",
        leaf_size: int = 40,
        p: float | None = None,
        n_jobs: int | None = None,
        cluster_selection_method: str = "eom",
        allow_single_cluster: bool = False,
        store_centers: Any = None,
        copy: bool = False,
        max_rows: int | None = None,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.cluster_selection_epsilon = cluster_selection_epsilon
        self.max_cluster_size = max_cluster_size
        self.metric = metric
        self.metric_params = metric_params
        self.alpha = alpha
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.n_jobs = n_jobs
        self.cluster_selection_method = cluster_selection_method
        self.allow_single_cluster = allow_single_cluster
        self.store_centers = store_centers
        self.copy = copy
        self.max_rows = max_rows

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
            self.probabilities_ = self.probabilities(X)
        return self

    def probabilities(self, X: Any) -> Any:
        """How near each row is to the heart of its cluster, from 0 for rows of none to 1: shape (rows,); for
        lazy tables a column `probability`."""
        return self._respond(X, "probabilities")

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        if view.sparse:
            raise ParameterError(
                "HDBSCAN does not support sparse input. Give dense columns, such as PCA makes."
            )
        space = self._gather(view)
        least = self.min_cluster_size if self.min_samples is None else self.min_samples
        total = float(space.weight.sum())
        if total < least * (1 - 1e-12):
            raise DataError(
                f"min_samples ({least}) must be at most the number of samples in X, which is "
                f"n_samples = {total:g}. Ask for fewer, or give more rows."
            )
        if self.exact_:
            cores = core_distances(space, least, view.run.map)
        else:
            cores = Cores(bubble_cores(view, space, least))
        ends, sizes = spanning_tree(space, cores, self.alpha, view.run.map)
        tree = condensed(ends, sizes, space.weight, cores.distances, float(self.min_cluster_size))
        self._note(tree, cores.distances)

    def _gather(self, view: MatrixView) -> Space:
        """The rows of the fit, or bubbles of them."""
        cosine = self.metric == "cosine"
        most = rows_in_seconds(view.width) if self.max_rows is None else self.max_rows
        self.exact_ = view.rows <= most
        if not self.exact_:
            count = min(most, _BUBBLES)
            self.rows_, space = data_bubbles(view, count, self._power, cosine=cosine)
            return space
        check_size(view.rows, view.width + 1, type(self).__name__, view.run.least_budget())
        table = view.reduce(_weighing).in_order()
        self.rows_ = np.ascontiguousarray(table[:, :-1])
        if not len(table):
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        near = checked_directions(self.rows_) if cosine else self.rows_
        check_extent(near, self._power)
        return Space(near, table[:, -1].copy(), self._power, cosine)

    def _note(self, tree: CondensedTree, core: np.ndarray) -> None:
        """Keep what was chosen of a hierarchy, and what new rows are compared with."""
        found = chosen(
            tree,
            self.cluster_selection_method,
            single=bool(self.allow_single_cluster),
            epsilon=self.cluster_selection_epsilon,
            most=self.max_cluster_size,
        )
        labels, deaths = label_of_clusters(tree, found), tree.deaths()
        self.row_cores_, self.row_lambdas_ = core, tree.row_lambda
        self.row_weights_ = tree.row_weight
        self.row_clusters_ = tree.row_cluster
        self.cluster_parents_, self.cluster_births_ = tree.parent, tree.birth
        self.cluster_labels_ = labels
        self.least_lambda_ = self._least_lambda(found, deaths)
        self.label_deaths_ = np.array([deaths[found[labels[found] == k][0]] for k in range(len(found))])
        self.n_clusters_ = len(found)
        self.row_labels_ = self._labels_at(tree.row_cluster, tree.row_lambda)
        self.row_probabilities_ = self._shares(self.row_labels_, tree.row_lambda)

    def _least_lambda(self, found: np.ndarray, deaths: np.ndarray) -> float:
        """What the lambda of a row must be where all rows may be one cluster, and are."""
        if found.tolist() != [0]:
            return 0.0
        return 1 / self.cluster_selection_epsilon if self.cluster_selection_epsilon else float(deaths[0])

    def _labels_at(self, clusters: np.ndarray, lambdas: np.ndarray) -> np.ndarray:
        labels = self.cluster_labels_[clusters]
        return np.where(lambdas >= self.least_lambda_, labels, -1)

    def _shares(self, labels: np.ndarray, lambdas: np.ndarray) -> np.ndarray:
        if not self.n_clusters_:
            return np.zeros(len(labels))
        last = self.label_deaths_[labels]
        with np.errstate(invalid="ignore"):
            shares = np.minimum(lambdas, last) / np.where(last > 0, last, 1.0)
        whole = np.isinf(last) | np.isinf(lambdas) | (last == 0)
        return np.where(labels < 0, 0.0, np.where(whole, 1.0, shares))

    @property
    def _power(self) -> float:
        powers = {
            "minkowski": 2.0 if self.p is None else float(self.p),
            "manhattan": 1.0,
            "chebyshev": np.inf,
        }
        return powers.get(self.metric, 2.0)

    def _restored(self) -> None:
        metric = "cosine" if self.metric == "cosine" else "minkowski"
        self._search = Search(self.rows_, metric, self._power) if hasattr(self, "rows_") else None

    def _learned(self) -> dict[str, Any]:
        aside = ("labels_", "probabilities_")
        return {name: value for name, value in super()._learned().items() if name not in aside}

    # ---- answer ------------------------------------------------------------------------------------------

    def _placed(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The label and the probability of each row: those of a row of the fit where it is one, or of its
        bubble; else as if it joined the hierarchy at the row that it reaches first."""
        if self._search is None:
            self._restored()
        assert self._search is not None
        X = np.asarray(dense(X), dtype=np.float64)
        least = self.min_cluster_size if self.min_samples is None else self.min_samples
        count = min(len(self.rows_), 2 * least) if self.exact_ else 1
        distances, places = self._search.nearest(X, count)
        first = places[:, 0]
        labels, shares = self.row_labels_[first], self.row_probabilities_[first]
        new = (distances[:, 0] > 0) & self.exact_
        if new.any():
            labels[new], shares[new] = self._joined(distances[new], places[new], least)
        return labels, shares

    def _joined(self, distances: np.ndarray, places: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
        """The labels and probabilities of new rows, by how far the rows around each are."""
        weight = np.ones(len(self.rows_)) if self.row_weights_ is None else self.row_weights_
        beside = np.cumsum(weight[places], axis=1) < least - 1 - 1e-9  # itself weighs one
        last = np.minimum(beside.sum(axis=1), distances.shape[1] - 1)
        core = distances[np.arange(len(last)), last]
        reach = np.maximum(distances / self.alpha, np.maximum(core[:, None], self.row_cores_[places]))
        best = np.argmin(reach, axis=1)
        everything = np.arange(len(best))
        lambdas = 1 / reach[everything, best]
        near = places[everything, best]
        clusters = self.row_clusters_[near].copy()
        while (early := (clusters > 0) & (self.cluster_births_[clusters] >= lambdas)).any():
            clusters[early] = self.cluster_parents_[clusters[early]]
        lambdas = np.minimum(lambdas, self.row_lambdas_[near])
        labels = self._labels_at(clusters, lambdas)
        return labels, self._shares(labels, lambdas)

    def _predict(self, X: Any) -> np.ndarray:
        return self._placed(X)[0]

    def _probabilities(self, X: Any) -> np.ndarray:
        return self._placed(X)[1]

    def _transform(self, X: Any) -> np.ndarray:
        """What it is judged by: how far the nearest row of a cluster is."""
        inside = self.rows_[self.row_labels_ >= 0]
        if not len(inside):
            return np.full((X.shape[0], 1), np.inf)
        metric = "cosine" if self.metric == "cosine" else "minkowski"
        return Search(inside, metric, self._power).nearest(np.asarray(dense(X), dtype=np.float64), 1)[0]

    def _prediction_names(self, method: str) -> list[str]:
        return ["probability"] if method == "probabilities" else super()._prediction_names(method)


def _weighing(block: Block) -> RowParts:
    """The rows that weigh something, and their weights."""
    weight = np.ones(len(block)) if block.weight is None else block.weight
    kept = weight > 0
    return RowParts([np.column_stack([dense(block.X), weight])[kept]], [block.hashes(0)[kept]])
