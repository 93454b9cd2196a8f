"""How well clusters are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from outgrow.engine.blocks import Block, MatrixSpec
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Model
from outgrow.ml.cluster.seeding import FoundRows
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.task import Task

EXACT_ROWS = 20_000


class _Labelled(Model):
    """Opens rows with labels the way estimators open rows with a target."""

    _labels = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def silhouette_score(X: Any, labels: Any, *, metric: str = "euclidean") -> float:
    """Mean silhouette of the rows (Rousseeuw 1987), as `sklearn.metrics.silhouette_score`.

    Parameters
    ----------
    X : dataset, table, or array of shape (rows, columns).
    labels : the cluster of each row: an array, or the name of a column of X.
    metric : 'sqeuclidean' takes two passes over any number of rows, as Spark MLlib's ClusteringEvaluator
        does; 'euclidean' needs all pairs, for up to 20,000 rows.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> round(og.silhouette_score(X, np.array([0, 0, 1, 1])), 4)
    0.8997
    """
    if metric not in ("euclidean", "sqeuclidean"):
        raise ParameterError(f"metric={metric!r}: give 'euclidean' or 'sqeuclidean'.")
    opened = open_training(_Labelled(), X, labels, None)
    task = Task(opened.target, None, ())

    def score(shard: Shard) -> float:
        view = shard.matrix(MatrixSpec(tuple(task.features(shard.example)), task.target, labels=True))
        if not 2 <= len(view.classes) < view.rows:
            raise DataError(
                f"There are {len(view.classes)} clusters of {view.rows} rows; "
                "between 2 and rows - 1 are needed."
            )
        return _squared(view) if metric == "sqeuclidean" else _all_pairs(view)

    return float(opened.dataset.engine.fit(score, opened.dataset.scan, stage="silhouette").result)


def _squared(view: MatrixView) -> float:
    """Summed squared distances to a cluster follow from its count, sum and squares."""
    k = len(view.classes)
    origin = view.reduce(lambda block: np.append(_dense(block).sum(axis=0), len(block)))
    centre = origin[:-1] / origin[-1]

    def cluster_sums(block: Block) -> np.ndarray:
        X, member = _dense(block) - centre, np.eye(k)[block.y]
        return np.column_stack([member.T @ X, member.T @ (X**2).sum(axis=1), member.sum(axis=0)])

    sums = view.reduce(cluster_sums)
    totals, squares, counts = sums[:, :-2], sums[:, -2], sums[:, -1]

    def fold(block: Block) -> np.ndarray:
        X = _dense(block) - centre
        distances = (X**2).sum(axis=1)[:, None] * counts - 2 * X @ totals.T + squares
        return _silhouettes(np.maximum(distances, 0), block, counts)

    return float(view.reduce(fold)[0] / view.rows)


def _all_pairs(view: MatrixView) -> float:
    if view.rows > EXACT_ROWS:
        raise DataError(
            f"metric='euclidean' compares all pairs, for up to {EXACT_ROWS} rows; there are {view.rows}. "
            "Use metric='sqeuclidean', or a sample."
        )
    everything = view.reduce(_labelled_rows).rows
    rows, member = everything[:, :-1], np.eye(len(view.classes))[everything[:, -1].astype(int)]
    counts = member.sum(axis=0)
    return float(
        view.reduce(lambda b: _silhouettes(cdist(_dense(b), rows) @ member, b, counts))[0] / view.rows
    )


def _labelled_rows(block: Block) -> FoundRows:
    return FoundRows(np.column_stack([_dense(block), np.asarray(block.y)]), block.hashes(0))


def _silhouettes(distances: np.ndarray, block: Block, counts: np.ndarray) -> np.ndarray:
    """The summed silhouette of rows with summed distances to each cluster."""
    rows, own = np.arange(len(block)), block.y
    inside = distances[rows, own] / np.maximum(counts[own] - 1, 1)
    means = distances / counts
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    value = (outside - inside) / np.maximum(np.maximum(inside, outside), np.finfo(np.float64).tiny)
    return np.array([np.where(counts[own] > 1, value, 0.0).sum()])


def _dense(block: Block) -> np.ndarray:
    return block.X.toarray() if hasattr(block.X, "toarray") else block.X
