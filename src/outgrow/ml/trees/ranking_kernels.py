"""The derivatives of LambdaMART and the NDCG of lists of documents, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.compiled import kernel

_LEAST = 1e-16
"""The least second derivative of a pair, as XGBoost has it."""
_NEAR = 0.01
"""What is added to the distance of two scores by which a pair is divided, as XGBoost does."""


@kernel
def lambdas(
    scores: Any, gains: Any, starts: Any, ideal: Any, first: int, last: int, top: int, slopes: Any
) -> None:
    """The first and second derivatives for the documents of some queries.

    Parameters
    ----------
    scores, gains : shape (documents,), those of a query one after the other; in the order given where scores
        tie.
    starts : shape (queries + 1,), where those of each query begin.
    ideal : shape (queries,), the discounted gain of the best order.
    first, last : the queries to look at.
    top : pairs count of which one document is among so many of the first places.
    slopes : shape (2, documents), filled.
    """
    for query in range(first, last):
        begin, end = starts[query], starts[query + 1]
        count = end - begin
        if count < 2 or ideal[query] <= 0.0:
            continue
        order = np.argsort(-scores[begin:end], kind="mergesort") + begin
        discount = 1.0 / np.log2(np.arange(count) + 2.0)
        spread = scores[order[0]] != scores[order[count - 1]]
        total = 0.0
        for i in range(min(top, count - 1)):
            for j in range(i + 1, count):
                better, worse = order[i], order[j]
                if gains[better] == gains[worse]:
                    continue
                if gains[better] < gains[worse]:
                    better, worse = worse, better
                change = (gains[better] - gains[worse]) * (discount[i] - discount[j]) / ideal[query]
                ahead = scores[better] - scores[worse]
                if spread:
                    change /= abs(ahead) + _NEAR
                chance = 1.0 / (1.0 + np.exp(-ahead))
                slope = (1.0 - chance) * change
                bend = max(chance * (1.0 - chance), _LEAST) * change * 2.0
                slopes[0, better] -= slope
                slopes[0, worse] += slope
                slopes[1, better] += bend
                slopes[1, worse] += bend
                total += 2.0 * slope
        if total > 0.0:
            factor = np.log2(1.0 + total) / total
            for k in range(begin, end):
                slopes[0, k] *= factor
                slopes[1, k] *= factor


@kernel
def gained(scores: Any, gains: Any, starts: Any, ideal: Any, first: int, last: int, found: Any) -> None:
    """The NDCG of some queries; documents of equal scores share their places.

    Parameters
    ----------
    scores, gains, starts, ideal, first, last : as for `lambdas`.
    found : shape (queries,), filled; 0 for queries without a relevant document.
    """
    for query in range(first, last):
        begin, end = starts[query], starts[query + 1]
        if ideal[query] <= 0.0:
            continue
        order = np.argsort(-scores[begin:end], kind="mergesort") + begin
        total, k = 0.0, 0
        while k < end - begin:
            stop, gain, discount = k, 0.0, 0.0
            while stop < end - begin and scores[order[stop]] == scores[order[k]]:
                gain += gains[order[stop]]
                discount += 1.0 / np.log2(stop + 2.0)
                stop += 1
            total += gain / (stop - k) * discount
            k = stop
        found[query] = total / ideal[query]
