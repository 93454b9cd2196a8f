"""How good clusters are: how far apart they lie, and how they agree with classes that are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import gammaln, xlogy

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.statistics.contingency import crosstab
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, dense, open_rows
from outgrow.stats.grouped import GroupedMoments, GroupedSums

_DEVIATIONS = 40
"""So many standard deviations about the mean hold all of a distribution that double precision can."""
_TOGETHER = 1 << 20
"""Terms that are worked on at once."""


@dataclass(frozen=True, eq=False, repr=False)
class ClusterScores(Result):
    """How far clusters lie apart.

    Attributes
    ----------
    calinski_harabasz : variance between clusters by that within them; the higher, the better.
    davies_bouldin : of each cluster the worst ratio of its spread and another's to the distance of the two,
        on average; the lower, the better.
    clusters : how many there are.
    rows : what the rows weigh that were looked at.
    """

    calinski_harabasz: float
    davies_bouldin: float
    clusters: int
    rows: float

    def to_arrow(self) -> pa.Table:
        """A row for each score."""
        return _listed(self, "calinski_harabasz", "davies_bouldin")


@dataclass(frozen=True, eq=False, repr=False)
class ClusterAgreement(Result):
    """How two ways to divide rows agree; all scores are 1 where they are the same.

    Attributes
    ----------
    rand, adjusted_rand : the share of pairs of rows on which both agree (Rand 1971); the same, where chance
        alone gives 0 (Hubert and Arabie 1985).
    mutual_info, normalized_mutual_info, adjusted_mutual_info : in nats; divided by the mean entropy; the
        same, where chance alone gives 0 (Vinh, Epps and Bailey 2010). With weights that are no whole numbers
        there is no chance to speak of, and the last is NaN.
    homogeneity, completeness, v_measure : whether clusters hold one class each, whether classes lie in one
        cluster each, and the harmonic mean of both (Rosenberg and Hirschberg 2007).
    fowlkes_mallows : the geometric mean of precision and recall of pairs (Fowlkes and Mallows 1983).
    purity : the share of rows in the largest class of their cluster.
    """

    rand: float
    adjusted_rand: float
    mutual_info: float
    normalized_mutual_info: float
    adjusted_mutual_info: float
    homogeneity: float
    completeness: float
    v_measure: float
    fowlkes_mallows: float
    purity: float

    def to_arrow(self) -> pa.Table:
        """A row for each score."""
        return _listed(self, *(name for name in self.__dataclass_fields__ if name != "columns"))


def cluster_scores(data: Any, columns: Columns = None, *, by: Any, weights: Any = None) -> ClusterScores:
    """How far clusters lie apart, without known classes: two passes, for any number of rows.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns).
    columns : by which clusters were sought: names, or a selector; by default all that hold numbers.
    by : the cluster of each row: a column's name, or an array of shape (rows,).
    weights : of the rows: a column's name, or an array of shape (rows,).

    Raises
    ------
    DataError
        When there are fewer than two clusters or no more rows than clusters, or a value is missing.

    Notes
    -----
    `outgrow.silhouette_score` is one more of the kind. Scores are `sklearn.metrics.calinski_harabasz_score`
    (Calinski and Harabasz 1974) and `davies_bouldin_score` (Davies and Bouldin 1979).

    Unlike Spark MLlib's `ClusteringEvaluator`: that is `outgrow.silhouette_score`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> og.stats.cluster_scores(X, by=np.array([0, 0, 1, 1]))
    ClusterScores
    score              value
    calinski_harabasz  200
    davies_bouldin     0.1000
    """
    rows = open_rows(data, columns, by=by, weights=weights)
    moments, spread = rows.learn(partial(_learn, rows=rows), keep=True)
    total, count = float(moments.n[:, 0].sum()), len(moments.hashes)
    if not 2 <= count < total:
        raise DataError(
            f"There are {count} clusters of {total:g} rows; between 2 and rows - 1 are needed. Check by=."
        )
    between = _between(moments)
    within = float(moments.m2.sum())
    ratio = between * (total - count) / (within * (count - 1)) if within else 1.0
    davies = _davies_bouldin(moments.mean, spread.sums[:, 0] / moments.n[:, 0])
    return ClusterScores(rows.labels, float(ratio), davies, count, total)


def cluster_agreement(data: Any, truth: str, labels: Any, *, weights: Any = None) -> ClusterAgreement:
    """How clusters agree with known classes, or two ways to find clusters with each other: one pass.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table.
    truth : the column of classes.
    labels : the column of clusters, or an array of shape (rows,). Rows that lack a class or a cluster count
        for nothing.
    weights : of the rows: a column's name, or an array of shape (rows,).

    Raises
    ------
    DataError
        When no row has both, or there are more than 16 million combinations.

    Notes
    -----
    Scores are those of `sklearn.metrics`, from `adjusted_rand_score` to `v_measure_score`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> found = pa.table({"kind": ["a", "a", "b", "b"], "cluster": [1, 1, 0, 2]})
    >>> result = og.stats.cluster_agreement(found, "kind", "cluster")
    >>> round(result.adjusted_rand, 4), round(result.v_measure, 4), result.purity
    (0.5714, 0.8, 1.0)
    """
    table = crosstab(data, truth, labels, weights=weights)
    counts = table.count.astype(np.float64)
    if not counts.sum():
        raise DataError(f"No row has both {truth!r} and a cluster. Check the columns.")
    return ClusterAgreement(table.columns, *_pairs(counts), *_information(counts))


def _listed(result: Any, *names: str) -> pa.Table:
    return pa.table({"score": list(names), "value": [float(getattr(result, name)) for name in names]})


# ---- without known classes ------------------------------------------------------------------------------


def _learn(shard: Shard, rows: Rows) -> tuple[GroupedMoments, GroupedSums]:
    moments = shard.reduce(partial(_moments, rows=rows), encoded=True)
    spread = shard.reduce(partial(_spread, rows=rows, known=moments), encoded=True)
    return moments, spread


def _matrix(batch: Batch, rows: Rows) -> np.ndarray:
    X = dense(rows.finite(batch))
    if np.isnan(X).any():
        raise DataError("Values are missing: distances need all of them. Fill them in with SimpleImputer.")
    return X


def _moments(batch: Batch, rows: Rows) -> GroupedMoments:
    segments, _ = rows.grouped(batch)
    weight, X = rows.weights(batch), _matrix(batch, rows)
    return GroupedMoments.of(
        segments, X[segments.order].T, None if weight is None else weight[segments.order]
    )


def _spread(batch: Batch, rows: Rows, known: GroupedMoments) -> GroupedSums:
    """The summed distances of rows from the middle of their cluster."""
    segments, _ = rows.grouped(batch)
    means = known.mean[np.searchsorted(known.hashes, segments.hashes)]
    apart = _matrix(batch, rows)[segments.order].T - segments.spread(means.T)
    distances, weight = np.sqrt(np.einsum("ij,ij->j", apart, apart)), rows.weights(batch)
    weighed = distances if weight is None else distances * weight[segments.order]
    return GroupedSums.of(segments, weighed[None])


def _between(moments: GroupedMoments) -> float:
    """The summed squares of the middles of clusters about that of all rows, weighted."""
    n = moments.n[:, :1]
    middle = (n * moments.mean).sum(axis=0) / n.sum()
    return float((n * (moments.mean - middle) ** 2).sum())


def _davies_bouldin(middles: np.ndarray, spread: np.ndarray) -> float:
    worst = np.zeros(len(middles))
    apart_at_all = False
    for k, middle in enumerate(middles):
        apart = np.sqrt(((middles - middle) ** 2).sum(axis=1))
        apart_at_all |= bool((apart > 1e-8).any())
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(apart > 0, (spread + spread[k]) / apart, 0.0)
        worst[k] = ratio.max()
    return float(worst.mean()) if apart_at_all and (spread > 1e-8).any() else 0.0


# ---- with known classes ---------------------------------------------------------------------------------


def _pairs(counts: np.ndarray) -> tuple[float, float]:
    """The Rand index, as it is and adjusted for chance."""
    both, first, second, total = _pair_sums(counts)
    only_first, only_second = first - both, second - both
    neither = total - first - second + both
    if not only_first and not only_second:
        return 1.0, 1.0
    chance = (both + only_first) * (only_first + neither) + (both + only_second) * (only_second + neither)
    adjusted = 2.0 * (both * neither - only_first * only_second) / chance
    return (both + neither) / total, adjusted


def _pair_sums(counts: np.ndarray) -> tuple[float, float, float, float]:
    """Ordered pairs of rows: in the same cell, the same row, the same column, and all of them."""
    n = counts.sum()
    sums = [float((part**2).sum() - n) for part in (counts, counts.sum(axis=1), counts.sum(axis=0))]
    return sums[0], sums[1], sums[2], float(n * n - n)


def _information(counts: np.ndarray) -> tuple[float, ...]:
    """What is read from entropies, then from pairs and from the largest classes."""
    n, a, b = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    of_truth, of_labels = _entropy(a / n), _entropy(b / n)
    mutual = max(0.0, of_truth + of_labels - _entropy((counts / n).ravel()))
    homogeneity = mutual / of_truth if of_truth else 1.0
    completeness = mutual / of_labels if of_labels else 1.0
    both = homogeneity + completeness
    mean = (of_truth + of_labels) / 2
    single = len(a) == len(b) == 1
    normalized = 1.0 if single else mutual / mean if mutual > 0 and mean else 0.0
    same, first, second, _ = _pair_sums(counts)
    pairs = np.sqrt(same / first) * np.sqrt(same / second) if same and first and second else 0.0
    return (
        *(mutual, normalized, _adjusted(counts, mutual, mean), homogeneity, completeness),
        2 * homogeneity * completeness / both if both else 0.0,
        *(float(pairs), float(counts.max(axis=0).sum() / n)),
    )


def _entropy(shares: np.ndarray) -> float:
    return float(-xlogy(shares, shares).sum())


def _adjusted(counts: np.ndarray, mutual: float, mean: float) -> float:
    """Mutual information less what chance gives."""
    if (counts != np.round(counts)).any():
        return float("nan")
    if 1 in counts.shape:
        return 1.0 if counts.shape == (1, 1) else 0.0
    chance, least = _by_chance(counts.sum(axis=1), counts.sum(axis=0)), float(np.finfo(np.float64).eps)
    above, most = mutual - chance, mean - chance
    return np.copysign(max(abs(above), least), above) / np.copysign(max(abs(most), least), most)


def _by_chance(a: np.ndarray, b: np.ndarray) -> float:
    """The mutual information expected of two divisions into parts of these sizes: each cell's count has a
    hypergeometric distribution, whose terms are summed as far as they are anything."""
    n = a.sum()
    total = 0.0
    for size in a:
        center, least = size * b / n, np.maximum(1.0, size + b - n)
        if n > 1:
            wide = (
                _DEVIATIONS * np.sqrt(center * (1 - size / n) * np.maximum(n - b, 0) / (n - 1)) + _DEVIATIONS
            )
        else:
            wide = np.full_like(b, _DEVIATIONS)
        low = np.maximum(least, np.floor(center - wide))
        high = np.minimum(np.minimum(size, b), np.ceil(center + wide))
        for first, last, other in zip(low, high, b, strict=True):
            for start in np.arange(first, last + 1, _TOGETHER):
                total += _terms(
                    np.arange(start, min(last + 1, start + _TOGETHER)), float(size), float(other), n
                )
    return total


def _terms(cell: np.ndarray, a: float, b: float, n: float) -> float:
    logs: Any = gammaln(a + 1) + gammaln(b + 1) + gammaln(n - a + 1) + gammaln(n - b + 1) - gammaln(n + 1)
    logs = logs - gammaln(cell + 1) - gammaln(a - cell + 1) - gammaln(b - cell + 1)
    logs -= gammaln(n - a - b + cell + 1)
    return float((cell / n * np.log(n * cell / (a * b)) * np.exp(logs)).sum())
