"""K-means clustering."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.cluster.base import CenterClusterer
from outgrow.ml.cluster.centers import ALIKE, Centers
from outgrow.ml.cluster.checks import check_squares, moments_of
from outgrow.ml.cluster.lloyd import Walk, lloyd
from outgrow.ml.cluster.nearest import closest
from outgrow.ml.cluster.seeding import first_rows, sampled_rows, scalable_start
from outgrow.ml.cluster.unit import checked_directions, directions, unit_rows
from outgrow.ml.core.candidates import Candidate, side_by_side_fits, usable
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import (
    ARRAY,
    FLAG,
    FUNCTION,
    RANDOM_STATE,
    Integer,
    Number,
    OneOf,
    Unused,
    seed,
)
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.stats.moments import Moments


class KMeans(CenterClusterer):
    """Lloyd's algorithm from a k-means|| start (Bahmani et al. 2012).

    One pass over the rows for each iteration. With Numba (the extra `fast`) it looks at those alone whose
    cluster may have changed (Hamerly 2010), where memory allows 28 bytes a row beside them; without it the
    clusters are the same but for rounding. scikit-learn starts from k-means++, which needs a pass for each
    cluster.

    Parameters
    ----------
    n_clusters : how many clusters.
    init : 'k-means||', for which 'k-means++' is another name here; 'random' for rows that hashes choose; the
        first centers, of shape (n_clusters, n_features); or a function that makes them of
        `(X, n_clusters, random_state)`, where X are 2,000 rows a cluster, or all, ordered by their hashes.
    n_init : how often to start anew; the best run counts. 'auto' is once.
    max_iter : most iterations of a run.
    tol : stop when the centers move, in summed squares, by no more than this share of the mean variance.
    spherical : rows count by their direction alone, and centers have length 1 (Dhillon and Modha 2001):
        squared distances are twice the cosine distance. Rows of zeros, which have no direction, are refused.
    random_state : another number starts elsewhere. The start depends on it and on the rows alone.
    verbose, copy_x, algorithm : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features); float32 where X was an array of float32.
    inertia_ : summed squared distance of the rows to their centers, weighted.
    n_iter_ : iterations of the best run.
    cluster_sizes_ : ndarray of shape (n_clusters,), how many rows each has, of those that weigh something;
        Spark MLlib's `summary.clusterSizes`. There is a warning when one has none.
    labels_ : ndarray of shape (rows,), the clusters of an array given to `fit`.

    Notes
    -----
    Unlike scikit-learn: starts from k-means||, which takes few passes; `init` may be a function; knows
    `cluster_sizes_` and `spherical`.

    Unlike Spark MLlib's `KMeans(k=2, maxIter=20, initSteps=2)`: the same algorithm, with scikit-learn's
    defaults; `cluster_sizes_` is `summary.clusterSizes`; `distanceMeasure='cosine'` is `spherical=True`,
    whose `inertia_` is twice `summary.trainingCost`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> model = og.KMeans(n_clusters=2, random_state=0).fit(np.array([[0.0], [0.2], [9.0], [9.2]]))
    >>> sorted(model.cluster_centers_[:, 0].round(6).tolist())
    [0.1, 9.1]
    """

    _follows_type = ("cluster_centers_",)
    parameters = {
        "n_clusters": Integer(low=1),
        "init": OneOf("k-means||", "k-means++", "random") | ARRAY | FUNCTION,
        "n_init": Integer(low=1) | "auto",
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
        "spherical": FLAG,
        "verbose": Unused(),
        "random_state": RANDOM_STATE,
        "copy_x": Unused(),
        "algorithm": Unused(OneOf("lloyd", "elkan")),
    }
    test_parameters = {"n_clusters": 3}

    _samples = True
    _by_rows = True
    shared_fit_parameters: ClassVar[tuple[str, ...] | None] = ("n_clusters", "init", "n_init", "random_state")

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means||",
        n_init: int | str = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        spherical: bool = False,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.spherical = spherical
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        """
        if not isinstance(self.init, str) and not callable(self.init) and self.n_init not in (1, "auto"):
            warnings.warn(
                "Explicit initial center position passed: performing only one init in KMeans instead of "
                f"n_init={self.n_init}.",
                RuntimeWarning,
                stacklevel=2,
            )
        return super().fit(X, y, sample_weight)

    def _fit(self, view: MatrixView) -> None:
        one = Candidate(self, 0)
        self._fit_many(FoldedView.whole(view), [one])
        if one.error is not None:
            raise one.error

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        for candidate in usable(rows, candidates):
            candidate.attempt(partial(candidate.model._check_rows, int(rows.counts[candidate.fold])))
        chosen = [candidate for candidate in candidates if candidate.error is None]
        if not chosen:
            return
        rows = replace(rows, view=chosen[0].model._directed(rows.view))
        moments = rows.each(moments_of)
        walks: dict[int, list[Walk]] = {}

        def begin(candidate: Candidate, part: FoldedView) -> None:
            view, own = part.fold(candidate.fold), moments[candidate.fold]
            check_squares(own)
            walks[id(candidate)] = candidate.model._starts(view, own, candidate.fold)

        side_by_side_fits(rows, chosen, begin)
        begun = [candidate for candidate in chosen if candidate.error is None]
        if begun:
            lloyd(rows, [walk for candidate in begun for walk in walks[id(candidate)]])
        for candidate in begun:
            best = best_of(walks[id(candidate)])
            model = candidate.model
            model.cluster_centers_, model.inertia_, model.n_iter_ = best.centers, best.inertia, best.steps
            model.cluster_sizes_ = best.sizes.astype(np.int64)

    def _starts(self, view: MatrixView, moments: Moments, fold: int) -> list[Walk]:
        """Each run as it begins."""
        slack, first_seed = self.tol * float(moments.variance().mean()), seed(self.random_state)
        return [
            Walk(
                *(fold, self._start(view, moments, first_seed + 7919 * run), moments.mean, slack),
                max_iter=self.max_iter,
                spherical=self.spherical,
            )
            for run in range(self._runs())
        ]

    def _runs(self) -> int:
        """How often it starts anew: once from centers that are given."""
        many = isinstance(self.init, str) or callable(self.init)
        return int(self.n_init) if many and not isinstance(self.n_init, str) else 1

    def _start(self, view: MatrixView, moments: Moments, run_seed: int) -> np.ndarray:
        centers = self._first_centers(view, moments, run_seed)
        return self._placed(centers)

    def _placed(self, centers: np.ndarray) -> np.ndarray:
        """Centers where they may be: of directions, at length 1."""
        made: np.ndarray = unit_rows(centers) if self.spherical else centers
        return made

    def _directed(self, view: MatrixView) -> MatrixView:
        """The rows as they count."""
        return directions(view) if self.spherical else view

    def _first_centers(self, view: MatrixView, moments: Moments, run_seed: int) -> np.ndarray:
        if isinstance(self.init, str):
            start = first_rows if self.init == "random" else partial(scalable_start, moments=moments)
            return start(view, self.n_clusters, seed=run_seed)
        made = self.init
        if callable(made):
            rows = sampled_rows(view, self.n_clusters, run_seed)
            made = made(rows, self.n_clusters, random_state=np.random.RandomState(run_seed % 2**32))
        centers = np.array(made, dtype=np.float64)
        wanted = (self.n_clusters, view.width)
        if centers.shape != wanted:
            what = "clusters" if len(centers) != self.n_clusters else "features of the data"
            raise ParameterError(
                f"The shape of the initial centers {centers.shape} does not match the number of {what}: "
                f"{wanted} is needed."
            )
        return centers

    def _matrix(self, batch: Batch) -> Any:
        X = super()._matrix(batch)
        return checked_directions(X) if self.spherical else X

    def _predict(self, X: Any) -> np.ndarray:
        exact = self.cluster_centers_.astype(np.float64)
        centers = Centers.of(exact, exact.mean(axis=0))
        return closest(centers, X)

    def _to_onnx(self, table: Table) -> Answer:
        graph, centers = table.graph, self.cluster_centers_.astype(np.float64)
        origin = centers.mean(axis=0)
        apart = centers - origin
        half = apart @ origin + 0.5 * (apart**2).sum(axis=1)
        X = features(self.features_, table, type(self).__name__)
        if self.spherical:
            length = graph.node("ReduceL2", X, graph.constant(np.array([1])))
            none = graph.node("Equal", length, graph.constant(0.0))
            X = graph.refuse(none, graph.node("Div", X, length), f"{type(self).__name__}: a row of zeros")
        scores = graph.node("MatMul", X, graph.constant(apart.T))
        scores = graph.node("Sub", scores, graph.constant(half[None, :]))
        return Answer(graph.node("ArgMax", scores, axis=1, keepdims=0), "integer")

    def _sklearn_model(self) -> Any:
        if self.spherical:
            fact = "scikit-learn's k-means does not look at directions."
            raise refusal(self, fact, "Put Normalizer before it, with spherical=False.")
        return self._euclidean_twin()

    def _euclidean_twin(self) -> Any:
        """Fitted on different points, as many as there are centers, then given the centers."""
        clusters, width = self.cluster_centers_.shape
        points = np.repeat(np.arange(float(clusters))[:, None], width, axis=1)
        shared = {"max_iter": self.max_iter, "tol": self.tol}
        made = twin("cluster.KMeans", clusters, init=points, n_init=1, **shared).fit(points)
        made.set_params(init=self.cluster_centers_)
        made.labels_ = np.zeros(0, dtype=np.int32)
        return with_learned(made, self, "cluster_centers_", "inertia_", "n_iter_")


def best_of(walks: Sequence[Walk]) -> Walk:
    """The first walk of the least inertia; rounding, which differs with the partitions, does not decide.

    Parameters
    ----------
    walks : at their ends.
    """
    least = min(walk.inertia for walk in walks)
    return next(walk for walk in walks if walk.inertia <= least * (1 + ALIKE))
