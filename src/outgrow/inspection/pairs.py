"""Predicted numbers beside observed ones, and rows beside their clusters, counted in cells for figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse, matrix_columns
from outgrow.engine.blocks import Block, MatrixSpec
from outgrow.engine.checks import weight_column
from outgrow.engine.shard import Shard
from outgrow.ml.core.inputs import Training
from outgrow.stats.counts import ValueCounts
from outgrow.stats.quantiles import quantiles

BINS = 48
_ENDS = (0.002, 0.998)
"""Between these quantiles figures show rows; those beyond lie on their edges."""
_PAIR = ("observed", "predicted", "residual")
_OF_DISTANCE = frozenset({"mse", "mae", "deviance", "pinball"})
SILHOUETTE_BINS = 200


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows by observed and predicted number.

    Attributes
    ----------
    edges, error_edges : ndarrays of shape (bins + 1,), of the bins of both numbers, and of residuals.
    observed, residuals : ndarrays of shape (bins, bins), weight of rows by predicted number (first) and
        observed one, or residual.
    """

    edges: np.ndarray
    error_edges: np.ndarray
    observed: np.ndarray
    residuals: np.ndarray


@dataclass(frozen=True, eq=False)
class Silhouettes:
    """Rows by cluster and silhouette.

    Attributes
    ----------
    labels : the clusters.
    counts : ndarray of shape (clusters, bins), of rows by silhouette from -1 to 1.
    means : ndarray of shape (clusters,), the mean silhouette of each.
    """

    labels: list[int]
    counts: np.ndarray
    means: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """How many rows each cluster has."""
        return self.counts.sum(axis=1)

    @property
    def mean(self) -> float:
        """Of all rows."""
        return float(self.means @ self.rows / self.rows.sum())


def predicts_one_number(model: Any, metrics: Iterable[str]) -> bool:
    """Whether a model is judged by how near a number lies to the observed one.

    Parameters
    ----------
    model : fitted, or a pipeline that ends in one.
    metrics : the names of those by which it is judged.
    """
    last = getattr(model, "model", model)
    near = not _OF_DISTANCE.isdisjoint(metrics)
    return near and last.target_names_ is None and not last.answers_several


def count_pairs(predictor: Any, opened: Training) -> Pairs:
    """Count rows by what is predicted and observed: one look at each row, a few at its two numbers.

    Parameters
    ----------
    predictor : of a model of one number.
    opened : the rows.
    """
    work = partial(_counted, step=_PairStep(predictor, str(opened.target), opened.weight))
    engine, scan = opened.dataset.engine, opened.dataset.scan
    edges, error_edges, *tables = engine.fit(work, scan, stage="figures", keep=False).result
    return Pairs(np.array(edges), np.array(error_edges), *map(np.array, tables))


@dataclass(frozen=True)
class _PairStep:
    """Puts numbers in place of the columns of a batch: observed, predicted, residual, and the weight."""

    predictor: Any
    target: str
    weight: str | None

    def __call__(self, batch: Batch) -> Batch:
        y = batch.matrix([self.target])[:, 0]
        predicted = np.asarray(self.predictor.answer(batch), dtype=np.float64)
        columns = dict(matrix_columns(np.column_stack([y, predicted, y - predicted]), list(_PAIR)))
        if self.weight is not None:
            columns["weight"] = pa.array(weight_column(batch, self.weight))
        return Batch(columns, batch.num_rows)


def _counted(shard: Shard, step: _PairStep) -> list[Any]:
    weight = None if step.weight is None else "weight"
    view = shard.transformed(step).matrix(MatrixSpec(_PAIR, None, weight), last=True)
    ends, _ = quantiles(lambda fold: view.reduce(lambda block: fold(_dense(block.X))), 3, _ENDS)
    edges, error_edges = _edges(ends[:, :2].min(), ends[:, :2].max()), _edges(*ends[:, 2])

    def fold(block: Block) -> np.ndarray:
        y, predicted, error = _dense(block.X).T
        first = _bins(predicted, edges) * BINS
        cells = (first + _bins(y, edges), first + _bins(error, error_edges))
        size = BINS * BINS
        return np.stack([np.bincount(cell, block.weight, size) for cell in cells]).astype(np.float64)

    tables = view.reduce(fold).reshape(2, BINS, BINS)
    return [edges.tolist(), error_edges.tolist(), *tables.tolist()]


def _edges(low: float, high: float) -> np.ndarray:
    """Ends of bins; around one number where there is one."""
    if not high > low:
        low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    return np.linspace(low, high, BINS + 1)


def _bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    scaled = (values - edges[0]) / (edges[-1] - edges[0]) * BINS
    return np.clip(np.nan_to_num(scaled), 0, BINS - 1).astype(np.intp)


def count_silhouettes(predictor: Any, opened: Training) -> Silhouettes | None:
    """Count rows by cluster and silhouette, of squared distances: three looks at each row.

    Parameters
    ----------
    predictor : of a model that puts rows into clusters.
    opened : the rows.

    Returns
    -------
    None where there is one cluster.
    """
    work = partial(_silhouettes, predictor=predictor)
    engine, scan = opened.dataset.engine, opened.dataset.scan
    labels, table = engine.fit(work, scan, stage="figures", keep=False).result
    if len(labels) < 2:
        return None
    counts = np.array(table)
    return Silhouettes(labels, counts[:, :-1], counts[:, -1] / np.maximum(counts[:, :-1].sum(axis=1), 1))


def _silhouettes(shard: Shard, predictor: Any) -> list[Any]:
    def seen(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        X, labels = predictor.clustered(batch)
        return (X.toarray() if is_sparse(X) else np.asarray(X, dtype=np.float64)), labels

    seen_labels = shard.reduce(lambda batch: ValueCounts.of(pa.array(seen(batch)[1].astype(np.int64))))
    labels = [int(label) for label in seen_labels.values() if label >= 0]  # below 0 are rows of no cluster
    known = np.array(labels)

    def sums(batch: Batch) -> np.ndarray:
        X, answers = seen(batch)
        member = (answers[:, None] == known).astype(np.float64)
        return np.column_stack([member.T @ X, member.T @ (X**2).sum(axis=1), member.sum(axis=0)])

    if len(labels) < 2:
        return [labels, []]
    totals = shard.reduce(sums)
    middle = totals[:, :-2].sum(axis=0) / totals[:, -1].sum()
    counts = totals[:, -1]
    centred = totals[:, :-2] - counts[:, None] * middle
    squares = totals[:, -2] - 2 * totals[:, :-2] @ middle + counts * (middle @ middle)

    def fold(batch: Batch) -> np.ndarray:
        X, answers = seen(batch)
        X, inside = (X - middle)[answers >= 0], np.searchsorted(known, answers[answers >= 0])
        distances = (X**2).sum(axis=1)[:, None] * counts - 2 * X @ centred.T + squares
        values = _values(np.maximum(distances, 0), inside, counts)
        bins = np.clip((values + 1) / 2 * SILHOUETTE_BINS, 0, SILHOUETTE_BINS - 1).astype(np.intp)
        size = len(known) * SILHOUETTE_BINS
        table = np.bincount(inside * SILHOUETTE_BINS + bins, minlength=size).reshape(len(known), -1)
        return np.column_stack([table, np.bincount(inside, values, len(known))])

    return [labels, shard.reduce(fold).tolist()]


def _values(distances: np.ndarray, cluster: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The silhouettes of rows by their summed distances to each cluster (Rousseeuw 1987)."""
    rows = np.arange(len(cluster))
    inside = distances[rows, cluster] / np.maximum(counts[cluster] - 1, 1)
    means = distances / counts
    means[rows, cluster] = np.inf
    outside = means.min(axis=1)
    value = (outside - inside) / np.maximum(np.maximum(inside, outside), np.finfo(np.float64).tiny)
    return np.where(counts[cluster] > 1, value, 0.0)


def _dense(X: Any) -> np.ndarray:
    return np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float64)
