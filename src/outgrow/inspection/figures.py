"""The figures of what a model answered for rows, by what its `evaluate` keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from outgrow.inspection.pairs import Pairs, Silhouettes
from outgrow.inspection.times import survival_curves
from outgrow.page import format as say
from outgrow.page import model_plots, plots
from outgrow.page.canvas import SERIES
from outgrow.page.render import Plot, plot
from outgrow.page.tabular import html_table
from outgrow.stats.confusion import of_classes
from outgrow.stats.scores import ClassificationState, RankedScores

_NUMBERS_UP_TO = 8
"""Classes, whose table of confusion has numbers."""
_MOST_CLASSES = 60
"""Classes of a map of confusion."""
_MIXED_UP, _TOPIC_WORDS, _TOPICS = 15, 10, 60


@dataclass(frozen=True)
class Listing:
    """A table of a page with what it shows."""

    title: str
    caption: str
    html: Markup


def of_classes_answered(
    state: ClassificationState, classes: Sequence[Any], *, probable: bool = True, ranked: bool = True
) -> list[Plot]:
    """Curves of the scores of classes, calibration, gain and lift, and confusion.

    Parameters
    ----------
    state : the rows.
    classes : in the order of its table.
    probable : whether scores are probabilities, not margins.
    ranked : whether there are scores at all, not classes alone.
    """
    shown, of = _ranked(state, classes)
    figures = []
    if ranked:
        figures += [
            plot(
                "ROC",
                f"How many of the positives are found, at each rate of false alarms. Dashed: guessing.{of}",
                plots.roc(shown),
            ),
            plot(
                "Precision and recall",
                f"How many alarms are right, against how many positives are found. Dashed: guessing.{of}",
                plots.precision_recall(shown),
            ),
        ]
    if probable and ranked:
        caption = f"Does {classes[-1]!s} happen as often as predicted? Larger dots hold more rows."
        figures.append(plot("Calibration", caption, plots.calibration(state.calibration)))
    if ranked:
        figures += [
            plot(
                "Gain",
                f"How many of the positives are among so many rows with the highest scores.{of}",
                model_plots.gain(shown),
            ),
            plot(
                "Lift",
                f"How many times as many positives those rows hold as rows at random.{of}",
                model_plots.lift(shown),
            ),
        ]
    return [*figures, _confusion(state.confusion, classes)]


def _ranked(state: ClassificationState, classes: Sequence[Any]) -> tuple[dict[str, RankedScores], str]:
    """The scores of the classes that have a curve, and which those are."""
    if len(state.ranked) == 1:
        return {str(classes[-1]): state.ranked[0]}, ""
    most = len(SERIES)
    support = state.confusion.sum(axis=1)
    chosen = np.sort(np.argsort(-support, kind="stable")[:most])
    note = f" The {most} largest of {len(classes)} classes." if len(classes) > most else ""
    return {str(classes[k]): state.ranked[k] for k in chosen}, note


def _confusion(matrix: np.ndarray, classes: Sequence[Any]) -> Plot:
    if len(classes) <= _NUMBERS_UP_TO:
        caption = "Rows by actual and predicted class; percentages are of the actual class."
        return plot("Confusion", caption, plots.confusion(matrix, classes))
    caption = "Rows by actual and predicted class, darker where more of the actual class are. Blue is right."
    if len(classes) > _MOST_CLASSES:
        wrong = matrix.sum(axis=1) + matrix.sum(axis=0) - 2 * np.diag(matrix)
        chosen = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_CLASSES])
        caption += f" The {_MOST_CLASSES} of {len(classes)} classes with the most errors."
        matrix, classes = matrix[np.ix_(chosen, chosen)], [classes[k] for k in chosen]
    return plot("Confusion", caption, model_plots.confusion_map(matrix, classes), wide=True)


def mixed_up(matrix: np.ndarray, classes: Sequence[Any]) -> list[Listing]:
    """Which of many classes are taken for which, and which are recognised least.

    Parameters
    ----------
    matrix : shape (classes, classes), the true class first.
    classes : in its order.
    """
    if len(classes) <= _NUMBERS_UP_TO:
        return []
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MIXED_UP]
    support = np.maximum(matrix.sum(axis=1), 1e-300)
    pairs = [(i, j) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[i, j] > 0]
    heads = ("Actual", "Predicted", "Rows", "Of the actual class")
    lines = [
        (str(classes[i]), str(classes[j]), float(wrong[i, j]), say.share(wrong[i, j] / support[i]))
        for i, j in pairs
    ]
    precision, recall, f1 = of_classes(matrix)
    least = [k for k in np.argsort(f1, kind="stable") if matrix[k].sum() > 0][:_MIXED_UP]
    weak = [
        (str(classes[k]), say.score(precision[k]), say.score(recall[k]), say.score(f1[k]), float(support[k]))
        for k in least
    ]
    return [
        Listing("Most often mixed up", "Rows of one class that were taken for another.", _rows(heads, lines)),
        Listing(
            "Classes that are recognised least",
            "By F1, the least first.",
            _rows(("Class", "Precision", "Recall", "F1", "Rows"), weak),
        ),
    ]


def _rows(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> Markup:
    return html_table(heads, [dict(zip(heads, line, strict=True)) for line in lines])


def of_numbers(pairs: Pairs) -> list[Plot]:
    """Observed numbers and residuals by predicted ones.

    Parameters
    ----------
    pairs : the rows.
    """
    edge = "The 0.2 % at either end lie on the edge."
    return [
        plot(
            "Observed and predicted",
            f"Darker cells hold more rows; on the dashed line a prediction is right. {edge}",
            model_plots.observed(pairs.observed, pairs.edges),
        ),
        plot(
            "Residuals",
            "Observed less predicted. The orange line, their mean, lies at 0 where the model is not off.",
            model_plots.residuals(pairs.residuals, pairs.edges, pairs.error_edges),
        ),
        plot(
            "Spread of the residuals",
            f"How far off predictions are. {edge}",
            model_plots.residual_shares(pairs.residuals.sum(axis=0), pairs.error_edges),
        ),
    ]


def of_times(model: Any, state: Any) -> list[Plot]:
    """Survival of rows of low, medium and high risk.

    Parameters
    ----------
    model : of survival.
    state : what `evaluate` keeps of the rows.
    """
    curves = survival_curves(model, state)
    note = any(of_model is not None for _, of_model in curves.values())
    caption = "Thirds of the rows by their predicted risk. Lines: as observed (Kaplan and Meier)."
    caption += " Dashes: as the model says." if note else ""
    return [plot("Survival", caption, model_plots.survival(curves), wide=True)]


def of_clusters(silhouettes: Silhouettes) -> list[Plot]:
    """Silhouettes of the rows of each cluster.

    Parameters
    ----------
    silhouettes : the rows.
    """
    shares = silhouettes.rows / silhouettes.rows.sum()
    profiles = {
        f"{label} ({share:.0%})": (float(share), counts)
        for label, share, counts in zip(silhouettes.labels, shares, silhouettes.counts, strict=True)
    }
    caption = (
        "Each shape is a cluster, as high as it has rows, which are sorted: near 1 they lie well within, "
        f"below 0 nearer to another one. Of squared distances; dashed: the mean, {silhouettes.mean:.3f}."
    )
    return [plot("Silhouettes", caption, model_plots.silhouettes(profiles, silhouettes.mean), wide=True)]


def of_topics(model: Any) -> list[Plot]:
    """The words of each topic.

    Parameters
    ----------
    model : of topics, which `topics` lists.
    """
    table = model.topics(_TOPIC_WORDS).to_pydict()
    words: dict[int, list[tuple[str, float]]] = {}
    for topic, word, weight in zip(table["topic"], table["word"], table["weight"], strict=True):
        words.setdefault(topic, []).append((word, weight))
    many = f" The first {_TOPICS} of {len(words):,}." if len(words) > _TOPICS else ""
    shown = [(f"Topic {topic}", pairs) for topic, pairs in list(words.items())[:_TOPICS]]
    caption = f"The words that each topic has most of, with their share of the topic.{many}"
    return [plot("Topics", caption, model_plots.topics(shown), wide=True)]
