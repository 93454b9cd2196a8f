"""Metrics and curves of probabilities."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from outgrow.stats.scores import RankedScores

_ECE_BINS = 15


def probability_metrics(scores: tuple[RankedScores, ...]) -> dict[str, float]:
    """What probabilities are worth beyond their losses.

    Parameters
    ----------
    scores : those of the second of two classes, or of each of more.
    """
    errors = [_calibration_error(ranked) for ranked in scores]
    areas = [ranked.roc_auc() for ranked in scores]
    precisions = [ranked.average_precision() for ranked in scores]
    if len(scores) > 1:
        names = ("ece", "roc_auc_ovr", "pr_auc_macro")
        return dict(
            zip(names, (float(np.mean(values)) for values in (errors, areas, precisions)), strict=True)
        )
    false, true = scores[0].roc()
    ks = float(np.max(true - false)) if len(true) else float("nan")
    return {"ece": errors[0], "roc_auc": areas[0], "pr_auc": precisions[0], "ks": ks}


@np.errstate(divide="ignore", invalid="ignore")
def pairwise_metrics(
    pairs: np.ndarray, scores: tuple[RankedScores, ...], true: np.ndarray
) -> dict[str, float]:
    """ROC areas of several classes, one against one (Hand and Till 2001), and weighted ones.

    Parameters
    ----------
    pairs : shape (classes, classes), as `ScoredGroups.pairs` gives them.
    scores : those of each class, one against the rest.
    true : shape (classes,), the weight of the rows of each class.
    """
    upper = np.triu_indices(len(true), 1)
    areas = ((pairs + pairs.T) / 2)[upper]
    weight = (true[:, None] + true)[upper]
    rest = np.array([ranked.roc_auc() for ranked in scores])
    return {
        "roc_auc_ovr_weighted": float(true @ rest / true.sum()),
        "roc_auc_ovo": float(areas.mean()),
        "roc_auc_ovo_weighted": float(weight @ areas / weight.sum()),
    }


def thresholds(ranked: RankedScores) -> pa.Table:
    """What each threshold would do, the highest first.

    Parameters
    ----------
    ranked : the scores of the positive class.
    """
    order = np.argsort(-ranked.score)
    score = ranked.score[order]
    last: np.ndarray = np.flatnonzero(np.append(np.diff(score), -1.0)[: len(score)])
    positive, negative = (np.cumsum(weight[order])[last] for weight in (ranked.positive, ranked.negative))
    called, positives = positive + negative, ranked.positive.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "threshold": score[last],
            "precision": positive / called,
            "recall": positive / positives,
            "false_positive_rate": negative / ranked.negative.sum(),
            "f1": 2 * positive / (called + positives),
            "predicted": called / (positives + ranked.negative.sum()),
        }
    return pa.table(columns)


def lift(ranked: RankedScores, bins: int) -> pa.Table:
    """The share of the positives among the highest scores.

    Parameters
    ----------
    ranked : the scores of the positive class.
    bins : parts of equal weight; rows of equal score lie evenly.
    """
    curve = thresholds(ranked)
    shares = np.arange(1, bins + 1) / bins
    gain = np.interp(shares, np.append(0, curve["predicted"]), np.append(0, curve["recall"]))
    return pa.table({"share": shares, "gain": gain, "lift": gain / shares})


def calibration(ranked: RankedScores, bins: int) -> pa.Table:
    """How probable the positive class was said to be, and how often it was.

    Parameters
    ----------
    ranked : the scores of the positive class.
    bins : of equal weight by score; rows of equal score are together.
    """
    weight, claimed, there = _binned(ranked, bins)
    return pa.table({"probability": claimed / weight, "share": there / weight, "weight": weight})


def _binned(ranked: RankedScores, bins: int) -> np.ndarray:
    """Weight, summed score and weight of positives of each bin that has rows, of shape (3, bins)."""
    order = np.argsort(ranked.score, kind="stable")
    score, positive = ranked.score[order], ranked.positive[order]
    weight = positive + ranked.negative[order]
    first = np.flatnonzero(np.append(True, np.diff(score) > 0)) if len(score) else np.zeros(0, np.intp)
    sums = (
        np.add.reduceat(np.stack([weight, weight * score, positive]), first, axis=1)
        if len(score)
        else np.zeros((3, 0))
    )
    middle = np.cumsum(sums[0]) - sums[0] / 2
    index = np.minimum((middle * bins / max(sums[0].sum(), np.finfo(float).tiny)).astype(np.intp), bins - 1)
    table = np.stack([np.bincount(index, part, bins) for part in sums])
    return table[:, table[0] > 0]


def _calibration_error(ranked: RankedScores) -> float:
    weight, claimed, there = _binned(ranked, _ECE_BINS)
    return float(np.abs(claimed - there).sum() / weight.sum()) if weight.sum() > 0 else float("nan")
