"""Figures of what models answer for rows: numbers, classes, times, clusters and topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from outgrow.page import format as say
from outgrow.page.canvas import INK, MUTED, NEGATIVE, SERIES, Canvas
from outgrow.stats.scores import RankedScores

_LINE = (0, (3, 3))
Curve = tuple[np.ndarray, np.ndarray]


def observed(counts: np.ndarray, edges: np.ndarray) -> str:
    """Observed against predicted numbers, darker where more rows are; on the dashed line both are equal.

    Parameters
    ----------
    counts : shape (bins, bins), weight of rows by predicted number (first) and observed one.
    edges : shape (bins + 1,), of the bins of both.
    """
    canvas = Canvas("observed")
    with canvas as axes:
        _shade(axes, counts, edges, edges)
        axes.plot(edges[[0, -1]], edges[[0, -1]], color=MUTED, lw=1, ls=_LINE)
        axes.set(xlabel="Predicted", ylabel="Observed", xlim=edges[[0, -1]], ylim=edges[[0, -1]])
        _few_ticks(axes)
    return canvas.svg


def residuals(counts: np.ndarray, edges: np.ndarray, error_edges: np.ndarray) -> str:
    """Observed less predicted against predicted numbers; the line is the mean at each prediction.

    Parameters
    ----------
    counts : shape (bins, bins), weight of rows by predicted number (first) and residual.
    edges, error_edges : shape (bins + 1,), of the bins of each.
    """
    middle, weight = (error_edges[1:] + error_edges[:-1]) / 2, counts.sum(axis=1)
    enough = weight > 0.002 * weight.sum()
    canvas = Canvas("residuals")
    with canvas as axes:
        _shade(axes, counts, edges, error_edges)
        axes.axhline(0, color=MUTED, lw=1, ls=_LINE)
        centres = (edges[1:] + edges[:-1]) / 2
        axes.plot(centres[enough], (counts @ middle)[enough] / weight[enough], color=NEGATIVE, lw=1.6)
        axes.set(xlabel="Predicted", ylabel="Residual", xlim=edges[[0, -1]], ylim=error_edges[[0, -1]])
        _few_ticks(axes)
    return canvas.svg


def residual_shares(counts: np.ndarray, edges: np.ndarray) -> str:
    """How residuals are spread: a histogram.

    Parameters
    ----------
    counts : shape (bins,), weight of rows by residual.
    edges : shape (bins + 1,).
    """
    canvas = Canvas("spread")
    with canvas as axes:
        width = np.diff(edges)
        axes.bar(edges[:-1], counts / counts.sum(), width=0.88 * width, align="edge", color=SERIES[0])
        axes.axvline(0, color=MUTED, lw=1, ls=_LINE)
        axes.set(xlabel="Residual", ylabel="Share of rows", xlim=edges[[0, -1]])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        _few_ticks(axes)
    return canvas.svg


def gain(ranked: Mapping[str, RankedScores]) -> str:
    """The share of the positives among the rows with the highest scores; one curve for each class given."""
    canvas = Canvas("gain")
    with canvas as axes:
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=_LINE)
        for color, (name, scores) in zip(SERIES, ranked.items(), strict=False):
            axes.plot(*_gain(scores), color=color, label=name)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="Share of rows, highest scores first")
        axes.set_ylabel("Share of positives found")
        _percent(axes.xaxis, axes.yaxis)
        if len(ranked) > 1:
            axes.legend(labelcolor=INK)
    return canvas.svg


def lift(ranked: Mapping[str, RankedScores], bins: int = 10) -> str:
    """How many times as many positives as at random, among as many rows with the highest scores.

    Parameters
    ----------
    ranked : the scores of classes, by the name in the legend.
    bins : parts of equal weight; a dot for each.
    """
    canvas = Canvas("lift")
    shares = np.arange(1, bins + 1) / bins
    with canvas as axes:
        for color, (name, scores) in zip(SERIES, ranked.items(), strict=False):
            values = np.interp(shares, *_gain(scores)) / shares
            axes.plot(shares, values, color=color, label=name, marker="o", ms=3.5)
        axes.axhline(1, color=MUTED, lw=1, ls=_LINE)
        axes.set(xlabel="Share of rows, highest scores first", ylabel="Lift")
        axes.set_ylim(bottom=0)
        _percent(axes.xaxis)
        if len(ranked) > 1:
            axes.legend(labelcolor=INK)
    return canvas.svg


def confusion_map(matrix: np.ndarray, classes: Sequence[Any]) -> str:
    """A table of many classes: shades of the share of the true class, blue where right, orange where not.

    Parameters
    ----------
    matrix : shape (classes, classes), the true class first; counts or weights.
    classes : labels, in the order of the matrix.
    """
    size = len(classes)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-300)
    inches = float(np.clip(1.4 + 0.16 * size, 5.2, 11.0))
    canvas = Canvas("confusion", inches, inches)
    with canvas as axes:
        for i, j in np.argwhere(matrix > 0):
            color = SERIES[0] if i == j else NEGATIVE
            shade = 0.1 + 0.9 * float(np.sqrt(share[i, j]))
            axes.add_patch(Rectangle((j - 0.47, i - 0.47), 0.94, 0.94, fc=color, alpha=shade, lw=0))
        labels, small = [_short(str(label)) for label in classes], float(np.clip(400 / size, 4.5, 8.5))
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="Predicted", ylabel="Actual")
        axes.set_xticks(range(size), labels, rotation=90, fontsize=small)
        axes.set_yticks(range(size), labels, fontsize=small)
        axes.grid(visible=True, lw=0.3)
        axes.set_aspect("equal")
        for side in axes.spines.values():
            side.set_visible(False)
    return canvas.svg


def survival(curves: Mapping[str, tuple[Curve, Curve | None]]) -> str:
    """How many are left at each time: lines as observed, dashes as the model says.

    Parameters
    ----------
    curves : by the name in the legend, times and shares that were observed, and those of the model.
    """
    canvas = Canvas("survival", 8.4, 3.6)
    with canvas as axes:
        for color, (name, (seen, expected)) in zip(SERIES, curves.items(), strict=False):
            axes.step(*seen, where="post", color=color, label=name, lw=1.6)
            if expected is not None:
                axes.plot(*expected, color=color, lw=1.4, ls=(0, (4, 2)))
        axes.set(ylim=(-0.01, 1.01), xlabel="Time", ylabel="Without an event")
        axes.set_xlim(left=0)
        _percent(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.legend(labelcolor=INK)
    return canvas.svg


def silhouettes(profiles: Mapping[str, tuple[float, np.ndarray]], mean: float) -> str:
    """For each cluster a shape as high as it has rows, which are sorted by their silhouette.

    Parameters
    ----------
    profiles : by cluster, its share of the rows, and shape (bins,), its rows by silhouette from -1 to 1.
    mean : the mean of all rows, the dashed line.
    """
    canvas = Canvas("silhouettes", 8.4, float(np.clip(0.9 + 0.36 * len(profiles), 3.1, 9.0)))
    with canvas as axes:
        bottom, ticks = 0.0, []
        for k, (share, counts) in enumerate(profiles.values()):
            edges = np.linspace(-1, 1, len(counts) + 1)
            up = bottom + share * np.append(0, np.cumsum(counts)) / max(counts.sum(), 1e-300)
            axes.fill_betweenx(up, 0, edges, color=SERIES[k % len(SERIES)], alpha=0.8, lw=0)
            ticks.append(bottom + share / 2)
            bottom += share + 0.012
        axes.axvline(mean, color=MUTED, lw=1, ls=_LINE)
        least = [edges_of_first(counts) for _, counts in profiles.values()]
        axes.set(xlabel="Silhouette", xlim=(min([*least, -0.05]), 1.0), ylim=(-0.01, bottom))
        axes.set_yticks(ticks, [_short(name) for name in profiles])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
    return canvas.svg


def edges_of_first(counts: np.ndarray) -> float:
    """Where the first silhouette that a row has lies, of bins from -1 to 1."""
    filled = np.flatnonzero(counts)
    return float(np.linspace(-1, 1, len(counts) + 1)[filled[0]]) if len(filled) else 0.0


def topics(words: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Markup:
    """A list of words for each topic, each before a bar as long as it weighs in the topic.

    Parameters
    ----------
    words : of each topic its heading, and its words with their shares, the largest first.
    """
    cards = []
    for heading, pairs in words:
        most = max((share for _, share in pairs), default=1.0) or 1.0
        lines = Markup("").join(
            Markup(
                '<tr><td>{}</td><td class="n">{}</td><td><span class="weight"><i style="width:{}%"></i>'
            ).format(word, say.share(share), f"{100 * share / most:.1f}")
            + Markup("</span></td></tr>")
            for word, share in pairs
        )
        card = Markup('<div class="topic"><h4>{}</h4><table><tbody>{}</tbody></table></div>')
        cards.append(card.format(heading, lines))
    return Markup('<div class="topics">{}</div>').format(Markup("").join(cards))


def _gain(scores: RankedScores) -> tuple[np.ndarray, np.ndarray]:
    """The share of rows called positive, and that of the positives among them, at falling thresholds."""
    false, true = scores.roc()
    positive, negative = scores.positive.sum(), scores.negative.sum()
    called = (true * positive + false * negative) / max(positive + negative, 1e-300)
    if len(called) > 400:
        chosen = np.unique(np.linspace(0, len(called) - 1, 400).astype(int))
        called, true = called[chosen], true[chosen]
    return called, true


def _shade(axes: Any, counts: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """Rectangles where there are rows; their shade grows with the logarithm of how many."""
    most = np.log1p(counts.max() / max(counts[counts > 0].min(), 1e-300)) if counts.any() else 1.0
    least = counts[counts > 0].min() if counts.any() else 1.0
    for i, j in np.argwhere(counts > 0):
        shade = 0.12 + 0.83 * float(np.log1p(counts[i, j] / least) / most)
        corner, size = (across[i], up[j]), (across[i + 1] - across[i], up[j + 1] - up[j])
        axes.add_patch(Rectangle(corner, *size, fc=SERIES[0], alpha=shade, lw=0))


def _few_ticks(axes: Any) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _percent(*every: Any) -> None:
    for axis in every:
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
