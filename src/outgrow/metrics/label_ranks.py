"""How well scores of labels rank those that are right, row by row."""

from __future__ import annotations

import numpy as np


def label_ranks(right: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of each row's ranking of the labels, as scikit-learn has them.

    Parameters
    ----------
    right : boolean of shape (rows, labels).
    scores : shape (rows, labels), the higher the more probable.

    Returns
    -------
    Arrays of shape (rows,): `lrap`, the label ranking average precision; `coverage_error`, how far down one
    has to go for all right labels; `label_ranking_loss`, the share of pairs of a right and a wrong label in
    the wrong order. Equal scores count as the worse order. (Tsoumakas, Katakis and Vlahavas 2010.)
    """
    labels = right.shape[1]
    order = np.argsort(-scores, axis=1, kind="stable")
    right, scores = (np.take_along_axis(part, order, axis=1) for part in (right, scores))
    last = np.where(np.diff(scores, axis=1, append=-np.inf) < 0, np.arange(labels), labels)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]  # where the run of equal scores ends
    rank = last + 1.0
    rank_of_right = np.take_along_axis(np.cumsum(right, axis=1), last, axis=1)
    many = right.sum(axis=1)
    pairs = many * (labels - many)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = (right * rank_of_right / rank).sum(axis=1) / many
        loss = (right * (rank - rank_of_right)).sum(axis=1) / pairs
    return {
        "lrap": np.where(pairs > 0, precision, 1.0),
        "coverage_error": (right * rank).max(axis=1, initial=0.0),
        "label_ranking_loss": np.where(pairs > 0, loss, 0.0),
    }
