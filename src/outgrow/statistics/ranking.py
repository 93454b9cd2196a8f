"""How well rankings put what is relevant first, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import poisson

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded, unit
from outgrow.engine.memory import describe_size
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.parameters import Integer, OneOf, Share
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, open_rows
from outgrow.stats.grouped import Keys
from outgrow.stats.rankings import QueryRows, per_query

_BYTES = 200
"""About what a row takes while it is sorted and looked at."""
_LEVELS = 24
"""How often a query may be in a resample: more has a probability below 1e-23."""
_TILE = 1 << 20
"""Random numbers that are made at once."""


@dataclass(frozen=True, eq=False, repr=False)
class RankingReport(Result):
    """Metrics of rankings; `columns` are their names.

    Attributes
    ----------
    values : the mean over all queries of each metric, by its name.
    low, high : the ends of the confidence interval of each, by its name.
    queries : how many queries there are.
    without_relevant : how many of them have no relevant document; their metrics are 0, and count.
    per_query : table with the columns of the query and all metrics, a row for each query.
    """

    values: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    queries: int
    without_relevant: int
    per_query: pa.Table

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def to_arrow(self) -> pa.Table:
        """A row for each metric."""
        parts = {"value": self.values, "low": self.low, "high": self.high}
        listed = {name: [part[metric] for metric in self.columns] for name, part in parts.items()}
        return pa.table({"metric": list(self.columns), **listed})


def ranking_report(
    data: Any,
    *,
    query: str | Sequence[str],
    score: str,
    label: str,
    k: int | Sequence[int] = (5, 10),
    gains: str = "linear",
    confidence: float = 0.95,
    resamples: int = 1000,
    random_state: int = 0,
) -> RankingReport:
    """How well documents are ranked by a score, query by query, from one pass.

    The metrics are NDCG, whole and of the first k places; MAP, the mean over the relevant documents of the
    precision at their places; MRR, of the reciprocal place of the first relevant one; and of the first k
    places MAP, precision, recall, and the share of queries with a relevant document (hit rate). Documents of
    a label above 0 are relevant.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table with a row for each document of a query.
    query : the column, or columns, that tell queries apart.
    score : the column by which documents are ranked, the highest first. Where it is missing, the document is
        not among those ranked, but counts as one that should have been: so recommendations are joined with
        what they should have been.
    label : the column of how relevant each is, from 0.
    k : how many places count; one number or several.
    gains : what a label counts in NDCG: 'linear', as it is, or 'exponential', 2**label - 1.
    confidence : of the intervals: resamples of queries, each as often as a Poisson number says.
    resamples : how many; 0 for no intervals.
    random_state : another number draws others.

    Raises
    ------
    DataError
        When there are no rows, a label is missing or negative, or rows need more memory than a task has.

    Notes
    -----
    Documents of equal scores share their places in NDCG, precision and recall; in all else those that are not
    relevant come first, so that a constant score gains nothing. MAP divides by the number of relevant
    documents, MAP of k places by k where there are more. Queries without a relevant document count with 0.

    Unlike scikit-learn's `ndcg_score`: one row a document, not one a query; several metrics at once.

    Unlike Spark MLlib's `RankingEvaluator(metricName="meanAveragePrecision", k=10)`: rows in place of arrays;
    labels may be graded; all metrics at once, with intervals.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table(
    ...     {"q": [1, 1, 1, 2, 2], "score": [0.9, 0.5, 0.1, 0.3, 0.2], "label": [0, 1, 0, 2, 0]}
    ... )
    >>> report = og.stats.ranking_report(rows, query="q", score="score", label="label", k=1)
    >>> report["mrr"], report["precision@1"]
    (0.75, 0.5)
    >>> report.per_query.select(["q", "map"]).to_pydict()
    {'q': [1, 2], 'map': [0.5, 1.0]}
    """
    ks = [k] if isinstance(k, int) and not isinstance(k, bool) else list(k)  # type: ignore[arg-type]
    for cut in ks:
        Integer(low=1).check("ranking_report", "k", cut)
    OneOf("linear", "exponential").check("ranking_report", "gains", gains)
    Share(above=0, below=1).check("ranking_report", "confidence", confidence)
    Integer(low=0).check("ranking_report", "resamples", resamples)
    Integer(low=0).check("ranking_report", "random_state", random_state)
    if score == label:
        raise ParameterError(f"score and label are both {label!r}. Name two columns.")
    rows = open_rows(data, [score, label], by=query)
    keys, documents = rows.learn(partial(_gather, rows=rows, score=score, label=label))
    relevant = documents.gains > 0
    if gains == "exponential":
        documents = QueryRows(documents.queries, documents.scores, np.exp2(documents.gains) - 1)
    queries, metrics = per_query(documents, sorted(set(ks)))
    without = len(queries) - len(np.unique(documents.queries[relevant]))
    return _report(rows, keys, queries, metrics, without, confidence, resamples, random_state)


def _report(
    rows: Rows,
    keys: Keys,
    queries: np.ndarray,
    metrics: dict[str, np.ndarray],
    without: int,
    confidence: float,
    resamples: int,
    random_state: int,
) -> RankingReport:
    values = np.column_stack(list(metrics.values()))
    low = high = np.full(values.shape[1], np.nan)
    if resamples:
        means = _resampled_means(queries, values, resamples, random_state)
        edges = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.nanquantile(means, edges, axis=0)
    names = tuple(metrics)
    centre, bottom, top = (
        dict(zip(names, part.tolist(), strict=True)) for part in (values.mean(axis=0), low, high)
    )
    table = keys.table
    columns = {name: table[name] for name in table.column_names if name in rows.by}
    order = np.searchsorted(queries, keys.hashes)
    per = pa.table({**columns, **{name: metric[order] for name, metric in metrics.items()}})
    per = per.sort_by([(name, "ascending") for name in columns])
    return RankingReport(names, centre, bottom, top, len(queries), without, per)


def _gather(shard: Shard, rows: Rows, score: str, label: str) -> Any:
    counted = shard.reduce(lambda batch: np.array([float(batch.num_rows)]))
    if _BYTES * counted[0] > shard.run.memory.budget:
        raise DataError(
            f"{counted[0]:,.0f} ranked rows need about {describe_size(_BYTES * counted[0])}, of a budget of "
            f"{describe_size(shard.run.memory.budget)}. Raise the memory of the engine, or take a sample of "
            "the queries."
        )
    return shard.reduce(partial(_fold, rows=rows, score=score, label=label), encoded=True)


def _fold(batch: Batch, rows: Rows, score: str, label: str) -> tuple[Keys, QueryRows]:
    segments, keys = rows.grouped(batch)
    scores, labels = (batch.matrix([name])[:, 0].astype(np.float64) for name in (score, label))
    if not (labels >= 0).all() or np.isinf(labels).any():
        wrong = labels[~(labels >= 0) | np.isinf(labels)][:5].tolist()
        raise DataError(f"Labels in {label!r} must be numbers from 0 on, and there are {wrong}.")
    queries = np.repeat(segments.hashes, segments.counts)
    return keys, QueryRows(queries, scores[segments.order], labels[segments.order])


def _resampled_means(queries: np.ndarray, values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The means over resamples of queries, each of which is in each as often as a Poisson number says.

    The numbers follow from the hashes of the queries (Chamandy et al. 2012).

    Parameters
    ----------
    queries : uint64 of shape (queries,).
    values : of shape (queries, metrics).
    resamples : how many.
    seed : another one gives others.

    Returns
    -------
    ndarray of shape (resamples, metrics), NaN where a resample has no query.
    """
    levels = poisson.cdf(np.arange(_LEVELS), 1.0)
    sums, weights = np.zeros((resamples, values.shape[1])), np.zeros(resamples)
    step = max(1, _TILE // max(len(queries), 1))
    for start in range(0, resamples, step):
        part = range(start, min(start + step, resamples))
        draws = np.stack([unit(seeded(queries, seed * 1_000_003 + number)) for number in part])
        times = np.searchsorted(levels, draws, side="right").astype(np.float64)
        sums[part] = times @ values
        weights[part] = times.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / weights[:, None]
