"""K-means that begins with few rows, and learns on from a stream."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np

from outgrow.data.hashing import matrix_hash
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.cluster.centers import Centers
from outgrow.ml.cluster.checks import check_squares, moments_of
from outgrow.ml.cluster.kmeans import KMeans, best_of
from outgrow.ml.cluster.lloyd import Walk, cluster_sums, lloyd
from outgrow.ml.cluster.nearest import closest
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.outputs import is_lazy
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
from outgrow.ml.core.task import Task

SHARES = (1 / 16, 1 / 4)
"""Of the rows, on which it learns before it learns from all."""
_ROWS_PER_CLUSTER = 100
"""A share with fewer rows than these for each cluster tells little."""


class MiniBatchKMeans(KMeans):
    """K-means that moves its centers on a sixteenth and a quarter of the rows before it looks at all.

    The smaller parts lie within the larger ones (Newling and Fleuret 2016), chosen by the rows' hashes, and
    the last is all rows: the end is one of Lloyd's algorithm, in fewer passes over all rows. `partial_fit`
    learns on from batches of a stream, and may forget what is long ago.

    Parameters
    ----------
    n_clusters, init, n_init, max_iter, tol, spherical, random_state : as for `KMeans`; `max_iter` holds for
        each part, and `partial_fit` takes one step a call.
    batch_size, max_no_improvement, init_size, reassignment_ratio, compute_labels, verbose : accepted as in
        scikit-learn, without effect.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features); float32 where X was an array of float32.
    counts_ : ndarray of shape (n_clusters,), the weight of the rows that each center stands for: after
        `partial_fit`, as far as they are not forgotten.
    inertia_ : summed squared distance of the rows to their centers, weighted; after `partial_fit` of the rows
        of the last batch, before it moved the centers.
    cluster_sizes_ : ndarray of shape (n_clusters,), how many rows each has, of those that weigh something;
        after `partial_fit`, of the last batch.
    n_iter_ : iterations over all rows.
    n_steps_ : batches that `partial_fit` has seen; 0 after `fit`.
    labels_ : ndarray of shape (rows,), the clusters of the array that was given last.

    Notes
    -----
    Unlike scikit-learn: `fit` ends in Lloyd's algorithm over all rows, not after random batches, so its
    inertia is that of `KMeans`; `partial_fit` knows `decay`, and moves no center to other places where it
    has few rows.

    Unlike Spark MLlib's `StreamingKMeans(k=2, decayFactor=1.0, timeUnit='batches')`: `partial_fit(decay=)`
    is its update by batches; begins with k-means|| on the first batch; centers that lost their rows stay.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> model = og.MiniBatchKMeans(n_clusters=2, random_state=0)
    >>> model = model.partial_fit(np.array([[0.0], [1.0], [9.0], [10.0]]))
    >>> sorted(model.cluster_centers_[:, 0].round(6).tolist())
    [0.5, 9.5]
    >>> model = model.partial_fit(np.array([[1.5], [10.5]]), decay=0.5)
    >>> sorted(model.cluster_centers_[:, 0].round(6).tolist())
    [1.0, 10.0]
    """

    parameters = {
        "n_clusters": Integer(low=1),
        "init": OneOf("k-means||", "k-means++", "random") | ARRAY | FUNCTION,
        "max_iter": Integer(low=1),
        "batch_size": Unused(Integer(low=1)),
        "verbose": Unused(),
        "compute_labels": Unused(FLAG),
        "random_state": RANDOM_STATE,
        "tol": Number(low=0),
        "max_no_improvement": Unused(Integer(low=0) | None),
        "init_size": Unused(Integer(low=1) | None),
        "n_init": Integer(low=1) | "auto",
        "reassignment_ratio": Unused(Number(low=0)),
        "spherical": FLAG,
    }
    shared_fit_parameters = None
    counts_: np.ndarray
    n_steps_: int

    _before: Self | None = None
    """What has learned from the batches before that of the call under way."""

    _decay: float | None = None
    """What the weight of earlier rows is multiplied by; None where the call under way is a `fit`."""

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means||",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | str = 1,
        reassignment_ratio: float = 0.01,
        spherical: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.spherical = spherical

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, decay: float = 1.0) -> Self:
        """Move each center to the mean of the rows it stands for and those of a batch that are nearest to it.

        The first batch is where the centers begin, so it must have `n_clusters` rows.

        Parameters
        ----------
        X, y, sample_weight : as `fit` takes them.
        decay : by what the weight of all earlier rows is multiplied first: 1 forgets nothing, 0 all but this
            batch.
        """
        self.check_parameters()
        Number(low=0, high=1).check(f"{type(self).__name__}.partial_fit", "decay", decay)
        first = not hasattr(self, "cluster_centers_")
        self._before, self._decay = None if first else self, float(decay)
        try:
            self._fit_on_engine(open_training(self, X, y, sample_weight, reset=first))
        finally:
            self._before, self._decay = None, None
        if not is_lazy(X):
            self.labels_ = self.predict(X)
        return self

    def _worker(self) -> Self:
        made = super()._worker()
        made._before, made._decay = self._before, self._decay
        return made

    def _identity(self, task: Task) -> dict[str, Any]:
        before = (
            () if self._before is None else (self._before.cluster_centers_, self._before.counts_[:, None])
        )
        hashes = [matrix_hash(np.asarray(part, dtype=np.float64)).tolist() for part in before]
        return {**super()._identity(task), "before": hashes, "decay": self._decay}

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        view = self._directed(view)
        if self._before is None:
            self._check_rows(view.rows)
        walks = [self._known()] if self._before is not None else self._begun(view)
        if self._decay is not None:
            self._step(view, walks[0].centers, self._decay)
            return
        first = seed(self.random_state)
        least = _ROWS_PER_CLUSTER * self.n_clusters
        for share in SHARES:
            if share * view.rows < least:
                continue
            part = view.sampled(share, first)
            if part.rows >= least:  # of rows that are all alike, all are chosen or none
                lloyd(FoldedView.whole(part), walks)
                walks = [self._again(walk) for walk in walks]
        lloyd(FoldedView.whole(view), walks)
        best = best_of(walks)
        self.cluster_centers_, self.inertia_, self.n_iter_ = best.centers, best.inertia, best.steps
        self.cluster_sizes_, self.counts_ = best.sizes.astype(np.int64), best.weights
        self.n_steps_ = 0

    def _begun(self, view: MatrixView) -> list[Walk]:
        moments = view.reduce(moments_of)
        check_squares(moments)
        return self._starts(view, moments, 0)

    def _again(self, walk: Walk) -> Walk:
        """A walk that goes on with more rows."""
        return Walk(walk.fold, walk.centers, walk.origin, walk.slack, walk.max_iter, spherical=self.spherical)

    def _known(self) -> Walk:
        """Where the batches before have led."""
        assert self._before is not None
        centers = self._before.cluster_centers_.astype(np.float64)
        if len(centers) != self.n_clusters:
            raise ParameterError(
                f"partial_fit of {self.n_clusters} clusters: there are {len(centers)} from the batches "
                "before. Keep n_clusters, or begin anew with fit."
            )
        return Walk(0, centers, centers.mean(axis=0), 0.0, 1)

    def _step(self, view: MatrixView, centers: np.ndarray, decay: float) -> None:
        made = Centers.of(centers, centers.mean(axis=0))
        sums = view.reduce(partial(_batch_sums, made))
        counts = np.zeros(len(centers)) if self._before is None else decay * self._before.counts_
        total = counts + sums[:, -3]
        moved = centers * counts[:, None] + sums[:, :-3]
        means = np.where(total[:, None] > 0, moved / np.where(total > 0, total, 1)[:, None], centers)
        self.cluster_centers_ = self._placed(means)
        self.counts_, self.inertia_ = total, float(sums[:, -2].sum())
        self.cluster_sizes_ = sums[:, -1].astype(np.int64)
        self.n_steps_ = 1 + (0 if self._before is None else self._before.n_steps_)
        self.n_iter_ = self.n_steps_


def _batch_sums(centers: Centers, block: Block) -> np.ndarray:
    """For each cluster: summed rows, weight, cost, and how many rows weigh something."""
    labels = closest(centers, block.X)
    counted = labels if block.weight is None else labels[block.weight > 0]
    sums = cluster_sums(block.X, centers.exact, labels, block.weight)
    return np.column_stack([sums, np.bincount(counted, minlength=len(sums))])
