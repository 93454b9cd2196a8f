"""How well rankings put what is relevant first: of each query by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class QueryRows(State):
    """Ranked documents of queries, kept as they are: 24 bytes each.

    Attributes
    ----------
    queries : uint64, a hash of the query of each.
    scores : float64, by which documents are ranked; NaN for one that is not among those ranked.
    gains : float64, how relevant each is; from 0.
    """

    queries: np.ndarray
    scores: np.ndarray
    gains: np.ndarray

    def merge(self, other: QueryRows) -> QueryRows:
        return QueryRows(
            np.concatenate([self.queries, other.queries]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.gains, other.gains]),
        )


def per_query(rows: QueryRows, ks: Sequence[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The metrics of each query.

    Documents of equal scores share their places in the gain, precision and recall, as if they came in any
    order alike; in all else those that are not relevant come first.

    Parameters
    ----------
    rows : the documents.
    ks : how many of the first places count, for the metrics that are cut.

    Returns
    -------
    The hashes of the queries, sorted, and for each metric an array of shape (queries,).
    """
    ranked = ~np.isnan(rows.scores)
    scores = np.where(ranked, rows.scores, -np.inf)
    order = np.lexsort((rows.gains, -scores, ~ranked, rows.queries))
    queries, scores, gains, ranked = rows.queries[order], scores[order], rows.gains[order], ranked[order]
    first = np.append(True, queries[1:] != queries[:-1])
    query = np.cumsum(first) - 1
    rank = np.arange(len(queries)) - np.flatnonzero(first)[query]
    count = int(query[-1]) + 1

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(query, values, count)

    relevant = (gains > 0).astype(np.float64)
    total = np.maximum(summed(relevant), 1.0)
    ties = first | np.append(True, (scores[1:] != scores[:-1]) | (ranked[1:] != ranked[:-1]))
    gain, share = (_shared(values, ties) * ranked for values in (gains, relevant))
    discount = 1 / np.log2(rank + 2)
    ideal = gains[np.lexsort((-gains, queries))]
    met = np.cumsum(relevant)
    met -= (met - relevant)[np.flatnonzero(first)][query]
    hits = relevant * ranked
    precision = hits * met / (rank + 1)
    reciprocal = np.zeros(count)
    np.maximum.at(reciprocal, query, hits / (rank + 1))
    metrics = {"ndcg": _ratio(summed(gain * discount), summed(ideal * discount))}
    metrics |= {"map": summed(precision) / total, "mrr": reciprocal}
    for k in ks:
        early = rank < k
        metrics[f"ndcg@{k}"] = _ratio(summed(gain * discount * early), summed(ideal * discount * early))
        metrics[f"map@{k}"] = summed(precision * early) / np.minimum(total, k)
        metrics[f"precision@{k}"] = summed(share * early) / k
        metrics[f"recall@{k}"] = summed(share * early) / total
        metrics[f"hit_rate@{k}"] = (summed(hits * early) > 0).astype(np.float64)
    return queries[first], metrics


def _shared(values: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """The mean of the values of each run of ties, at each of its places."""
    starts = np.flatnonzero(ties)
    lengths = np.diff(np.append(starts, len(values)))
    return np.repeat(np.add.reduceat(values, starts) / lengths, lengths)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)
