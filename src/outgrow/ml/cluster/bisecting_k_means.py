"""Bisecting k-means clustering."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.cluster.base import CenterClusterer
from outgrow.ml.cluster.bisecting import Growth, Halving
from outgrow.ml.cluster.centers import ALIKE
from outgrow.ml.cluster.checks import check_squares, moments_of
from outgrow.ml.cluster.halving import CenterTree
from outgrow.ml.core.parameters import RANDOM_STATE, Integer, Number, OneOf, Unused, seed
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned

NOTHING = 1e-20
"""The share of all squares below which those of a cluster are but rounding: its rows are alike."""


class BisectingKMeans(CenterClusterer):
    """Split clusters in two until there are enough (Steinbach, Karypis and Kumar 2000).

    Each split is k-means with two centers. All clusters that may be split next are split in the same passes,
    so passes grow with the depth of the tree, not with the clusters; which splits count is what one after
    the other gives.

    Parameters
    ----------
    n_clusters : how many clusters.
    init : where the two centers of a split begin: 'k-means++' among up to 1,000 rows of the cluster that
        hashes choose, or 'random' for two of those.
    n_init : how often to start each split anew, in passes that the starts share; the best counts.
    bisecting_strategy : which cluster is split next: the one of the 'biggest_inertia', or the
        'largest_cluster' by its rows.
    min_divisible_cluster_size : clusters with fewer rows are not split; below 1 it is a share of all rows.
    max_iter : most iterations of a split.
    tol : a split ends when its two centers move, in summed squares, by no more than this share of the
        cluster's mean variance.
    random_state : another number starts elsewhere. The starts depend on it and on the rows alone.
    verbose, copy_x, algorithm : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (clusters, n_features), from left to right in the tree; float32 where
        X was an array of float32. There are fewer than `n_clusters`, with a warning, where no further cluster
        could be split.
    inertia_ : summed squared distance of the rows to the centers of their clusters, weighted.
    cluster_sizes_ : ndarray of shape (clusters,), how many rows each has, of those that weigh something.
    labels_ : ndarray of shape (rows,), the clusters of an array given to `fit`.
    tree_left_ : ndarray of shape (nodes,), for each cluster that there was the first of the two that it was
        split into, behind which the second is; -1 for those that stay.
    tree_centers_ : ndarray of shape (nodes, n_features), their centers.
    tree_labels_ : ndarray of shape (nodes,), the label of those that stay, else -1.

    Notes
    -----
    `predict` goes down the tree, as scikit-learn and MLlib do, so a row may have a nearer center than that of
    its cluster.

    Unlike scikit-learn: starts from 'k-means++'; `tol` is a share of the variance of the cluster;
    `min_divisible_cluster_size`; rows that are all alike are not split.

    Unlike Spark MLlib's `BisectingKMeans(k=4, maxIter=20, minDivisibleClusterSize=1.0)`: `n_clusters` and
    `min_divisible_cluster_size`; splits the cluster of the largest inertia first, not all of a level while
    there is room; squared Euclidean distances only.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [0.2], [3.0], [9.0], [9.2]])
    >>> model = og.BisectingKMeans(n_clusters=3, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_[:, 0].round(6).tolist())
    [0.1, 3.0, 9.1]
    """

    _follows_type = ("cluster_centers_",)
    parameters = {
        "n_clusters": Integer(low=1),
        "init": OneOf("k-means++", "random"),
        "n_init": Integer(low=1),
        "bisecting_strategy": OneOf("biggest_inertia", "largest_cluster"),
        "min_divisible_cluster_size": Number(low=0),
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
        "verbose": Unused(),
        "random_state": RANDOM_STATE,
        "copy_x": Unused(),
        "algorithm": Unused(OneOf("lloyd", "elkan")),
    }
    test_parameters = {"n_clusters": 3}

    _samples = True
    _by_rows = True
    tree_left_: np.ndarray
    tree_centers_: np.ndarray
    tree_labels_: np.ndarray

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str = "k-means++",
        n_init: int = 1,
        bisecting_strategy: str = "biggest_inertia",
        min_divisible_cluster_size: float = 1.0,
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.bisecting_strategy = bisecting_strategy
        self.min_divisible_cluster_size = min_divisible_cluster_size
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        self._check_rows(view.rows)
        moments = view.reduce(moments_of)
        check_squares(moments)
        how = Halving(self.n_init, self.init == "random", self.max_iter, self.tol, seed(self.random_state))
        grown = Growth.of(view, moments, how)
        score = grown.inertia if self.bisecting_strategy == "biggest_inertia" else grown.sizes
        least, nothing = self._least_size(view.rows), NOTHING * grown.inertia[0]

        def able(node: int) -> bool:
            return grown.sizes[node] >= least and grown.inertia[node] > nothing

        leaves = grown.leaves(self.n_clusters, lambda node: float(score[node]), able)
        self._keep(grown, leaves)

    def _least_size(self, rows: int) -> float:
        least = self.min_divisible_cluster_size
        return least if least >= 1 else least * rows

    def _keep(self, grown: Growth, leaves: list[int]) -> None:
        """Note the clusters and the tree above them; splits that are not needed are dropped."""
        nodes, left, kept = [0], [], set(leaves)
        for node in nodes:  # grows on the way
            inner = node not in kept
            left.append(len(nodes) if inner else -1)
            nodes += [grown.left[node], grown.left[node] + 1] if inner else []
        labels = {leaf: label for label, leaf in enumerate(leaves)}
        self.tree_left_ = np.array(left, dtype=np.int32)
        self.tree_centers_ = np.array([grown.centers[node] for node in nodes])
        self.tree_labels_ = np.array([labels.get(node, -1) for node in nodes], dtype=np.int32)
        self.cluster_centers_ = np.array([grown.centers[leaf] for leaf in leaves])
        self.cluster_sizes_ = np.array([grown.sizes[leaf] for leaf in leaves], dtype=np.int64)
        self.inertia_ = float(sum(grown.inertia[leaf] for leaf in leaves))

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict(self, X: Any) -> np.ndarray:
        return self.tree_labels_[CenterTree(self.tree_left_, self.tree_centers_).leaves(X)]

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        """Of each split which side a row is on, as 1 and -1; its leaf agrees with all above it."""
        graph, inner = table.graph, np.flatnonzero(self.tree_left_ >= 0)
        X = features(self.features_, table, type(self).__name__)
        if not len(inner):
            column = graph.node("Gather", X, graph.constant([0], np.int64), axis=1)
            return Answer(graph.node("ArgMax", column, axis=1, keepdims=0), "integer")
        first = self.tree_left_[inner]
        near, far = (_squares(graph, X, self.tree_centers_[which]) for which in (first, first + 1))
        slack = graph.node("Mul", graph.node("Add", near, far), graph.constant(ALIKE))
        second = graph.cast(graph.node("Greater", graph.node("Sub", near, far), slack), "number")
        sides = graph.node("Sub", graph.node("Mul", second, graph.constant(2.0)), graph.constant(1.0))
        paths = self._paths(inner)
        scores = graph.node("MatMul", sides, graph.constant(paths))
        missing = graph.constant(np.abs(paths).sum(axis=0)[None, :])
        return Answer(graph.node("ArgMax", graph.node("Sub", scores, missing), axis=1, keepdims=0), "integer")

    def _paths(self, inner: np.ndarray) -> np.ndarray:
        """Which side of each split the leaves are on: 1, -1, or 0 for none; of shape (splits, leaves)."""
        above: dict[int, list[tuple[int, float]]] = {0: []}
        for place, node in enumerate(inner):  # nodes come before their children
            for side in (0, 1):
                child = int(self.tree_left_[node]) + side
                above[child] = [*above[int(node)], (place, 2.0 * side - 1)]
        paths = np.zeros((len(inner), len(self.cluster_centers_)))
        for leaf in np.flatnonzero(self.tree_left_ < 0):
            for place, way in above[int(leaf)]:
                paths[place, self.tree_labels_[leaf]] = way
        return paths

    def _sklearn_model(self) -> Any:
        """Fitted on different points, as many as there are clusters, then given the tree."""
        clusters, width = self.cluster_centers_.shape
        points = np.repeat(np.arange(float(clusters))[:, None], width, axis=1)
        made = twin(
            "cluster.BisectingKMeans", clusters, max_iter=self.max_iter, tol=self.tol, random_state=0
        ).fit(points)
        made.set_params(bisecting_strategy=self.bisecting_strategy, n_init=self.n_init)
        made._X_mean = np.zeros(width)
        made._bisecting_tree = self._sklearn_node(type(made._bisecting_tree), 0)
        made.labels_ = np.zeros(0, dtype=np.int32)
        return with_learned(made, self, "cluster_centers_", "inertia_")

    def _sklearn_node(self, kind: Any, node: int) -> Any:
        made = kind(center=self.tree_centers_[node], indices=None, score=0.0)
        first = int(self.tree_left_[node])
        if first < 0:
            made.label = int(self.tree_labels_[node])
        else:
            made.left, made.right = (self._sklearn_node(kind, child) for child in (first, first + 1))
        return made


def _squares(graph: Graph, X: str, centers: np.ndarray) -> str:
    """The squared distances of rows from centers, of shape (rows, centers)."""
    columns = []
    for center in centers:
        apart = graph.node("Sub", X, graph.constant(center[None, :]))
        square = graph.node("Mul", apart, apart)
        columns.append(graph.node("ReduceSum", square, graph.constant([1], np.int64), keepdims=1))
    return graph.join(columns)
