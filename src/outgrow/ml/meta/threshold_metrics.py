"""Metrics of two classes at every threshold at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from outgrow.stats.scores import RankedScores

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Of the weights of true and false positives, true and false negatives: larger is better."""


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _accuracy(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return _ratio(tp + tn, tp + fp + tn + fn)


def _balanced(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)) / 2


def _precision(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return _ratio(tp, tp + fp)


def _recall(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return _ratio(tp, tp + fn)


def _f1(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _jaccard(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return _ratio(tp, tp + fp + fn)


def _matthews(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
    return _ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


METRICS: dict[str, Metric] = {
    "balanced_accuracy": _balanced,
    "accuracy": _accuracy,
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "jaccard": _jaccard,
    "matthews_corrcoef": _matthews,
}


def by_cost(costs: np.ndarray) -> Metric:
    """The mean cost of a row, negated.

    Parameters
    ----------
    costs : shape (2, 2), by the true class (row) and the predicted one, the positive class last.
    """

    def metric(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        total = tn * costs[0, 0] + fp * costs[0, 1] + fn * costs[1, 0] + tp * costs[1, 1]
        return -_ratio(total, tp + fp + tn + fn)

    return metric


def at_thresholds(
    ranked: RankedScores, metric: Metric, wanted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, ascending, and the metric at each.

    Parameters
    ----------
    ranked : the scores of rows, and which are positive.
    metric : what is read at each threshold.
    wanted : ascending thresholds; None for all that part rows. Of these the first takes all rows for
        positive, the last none, and the others lie between two neighbouring scores.
    """
    used = ranked.positive + ranked.negative > 0
    scores, place = np.unique(ranked.score[used], return_inverse=True)
    positive = np.bincount(place, ranked.positive[used], len(scores))
    negative = np.bincount(place, ranked.negative[used], len(scores))
    below = [np.append(0.0, np.cumsum(each)) for each in (positive, negative)]
    tp, fp = (each[-1] - each for each in below)
    values = metric(tp, fp, below[1], below[0])
    if wanted is not None:
        return wanted, values[np.searchsorted(scores, wanted)]
    between = scores[:-1] + np.diff(scores) / 2
    between = np.where(between > scores[:-1], between, scores[1:])
    thresholds = np.concatenate([scores[:1], between, np.nextafter(scores[-1:], np.inf)])
    return thresholds, values
