"""The figures of a report, each as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from outgrow.page import format as say
from outgrow.page.canvas import INK, MUTED, NEGATIVE, POSITIVE, SERIES, Canvas
from outgrow.stats.scores import RankedScores

POINTS_DRAWN = 400
"""At most this many points of a curve are drawn."""
FEATURES_DRAWN = 20
"""At most this many features are drawn."""
COLUMNS_DRAWN = 32
"""At most this many columns are in the correlation map."""


def roc(ranked: Mapping[str, RankedScores]) -> str:
    """True against false positive rate; one curve for each class given."""
    canvas = Canvas("roc")
    with canvas as axes:
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (3, 3)))
        for color, (name, scores) in zip(SERIES, ranked.items(), strict=False):
            label = f"{name}: {scores.roc_auc():.3f}" if len(ranked) > 1 else None
            axes.plot(*_thin(*scores.roc()), color=color, label=label)
        _shares(axes, "False positive rate", "True positive rate", legend=len(ranked) > 1)
    return canvas.svg


def precision_recall(ranked: Mapping[str, RankedScores]) -> str:
    """Precision against recall; the dashed line is what guessing reaches."""
    canvas = Canvas("pr")
    with canvas as axes:
        for color, (name, scores) in zip(SERIES, ranked.items(), strict=False):
            precision, recall = scores.precision_recall()
            label = f"{name}: {scores.average_precision():.3f}" if len(ranked) > 1 else None
            axes.plot(*_thin(recall[1:], precision[1:]), color=color, label=label)
            weight = scores.positive.sum() + scores.negative.sum()
            share = scores.positive.sum() / weight if weight else 0.0
            axes.axhline(share, color=color if len(ranked) > 1 else MUTED, lw=1, ls=(0, (3, 3)))
        _shares(axes, "Recall", "Precision", legend=len(ranked) > 1)
    return canvas.svg


def calibration(bins: np.ndarray) -> str:
    """Observed against predicted share, from a `ClassificationState.calibration`."""
    filled = bins[bins[:, 0] > 0]
    weight, predicted, observed = filled[:, 0], filled[:, 1] / filled[:, 0], filled[:, 2] / filled[:, 0]
    canvas = Canvas("calibration")
    with canvas as axes:
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (3, 3)))
        axes.plot(predicted, observed, color=SERIES[0], lw=1.2)
        axes.scatter(predicted, observed, s=12 + 130 * weight / weight.max(), color=SERIES[0], alpha=0.75)
        _shares(axes, "Predicted probability", "Observed share")
    return canvas.svg


def confusion(matrix: np.ndarray, classes: Sequence[Any]) -> str:
    """Rows by true class and predicted class, shaded by the share of the true class.

    Parameters
    ----------
    matrix : shape (classes, classes), the true class first; counts or weights.
    classes : labels, in the order of the matrix. Beyond 8 no numbers are written.
    """
    size = len(classes)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-300)
    canvas = Canvas("confusion")
    with canvas as axes:
        for i, j in np.ndindex(size, size):
            axes.add_patch(
                Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, fc=SERIES[0], alpha=0.06 + 0.5 * share[i, j])
            )
            if size <= 8:
                axes.text(
                    j,
                    i,
                    f"{say.number(float(matrix[i, j]))}\n{say.share(share[i, j])}",
                    ha="center",
                    va="center",
                )
        _table_axes(axes, [str(label) for label in classes], size)
        axes.set(xlabel="Predicted", ylabel="Actual")
    return canvas.svg


def importance(features: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars, the largest on top."""
    shown = features[:FEATURES_DRAWN][::-1]
    canvas = Canvas("importance", height=0.7 + 0.2 * len(shown))
    with canvas as axes:
        axes.barh(
            [_short(name) for name, _ in shown], [value for _, value in shown], color=SERIES[0], height=0.68
        )
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(y=0.01)
    return canvas.svg


def losses(curves: Mapping[str, Sequence[tuple[int, float]]], unit: str) -> str:
    """The value minimised at each step, a line for each curve.

    Parameters
    ----------
    curves : by the name in the legend, pairs of step and value; as many are drawn as there are colours.
    unit : what a step is, under the axis.
    """
    canvas = Canvas("losses")
    with canvas as axes:
        for color, (name, curve) in zip(SERIES, curves.items(), strict=False):
            steps, values = np.array(curve, dtype=float).T
            dots = "o" if len(steps) <= 25 else None
            axes.plot(*_thin(steps, values), color=color, label=name, marker=dots, ms=3.5)
        axes.set(xlabel=unit, ylabel="Loss")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if len(curves) > 1:
            axes.legend(labelcolor=INK)
    return canvas.svg


def correlation(matrix: np.ndarray, names: Sequence[str]) -> str:
    """A square of shades; of many columns, those that correlate most.

    Parameters
    ----------
    matrix : shape (columns, columns), from -1 to 1; NaN is drawn as 0.
    names : of the columns.
    """
    filled = np.nan_to_num(matrix)
    strongest = np.abs(filled - np.diag(np.diag(filled))).max(axis=1)
    chosen = np.sort(np.argsort(-strongest, kind="stable")[:COLUMNS_DRAWN])
    values, size = filled[np.ix_(chosen, chosen)], len(chosen)
    canvas = Canvas("correlation", 5.6, 5.2)
    with canvas as axes:
        for i, j in np.ndindex(size, size):
            r = float(values[i, j])
            color = POSITIVE if r >= 0 else NEGATIVE
            axes.add_patch(
                Rectangle((j - 0.47, i - 0.47), 0.94, 0.94, fc=color, alpha=min(1.0, 0.04 + 0.9 * abs(r)))
            )
        _table_axes(axes, [_short(names[k]) for k in chosen], size)
        axes.tick_params(axis="x", rotation=90)
        axes.set_aspect("equal")
    return canvas.svg


def sparkline(counts: Sequence[float], width: int = 96, height: int = 22) -> str:
    """A histogram small enough for the cell of a table.

    Parameters
    ----------
    counts : what each bin holds; the highest is as high as the picture.
    width, height : of the picture, in pixels.
    """
    top = max(counts, default=0) or 1
    step = width / max(1, len(counts))
    bars = [
        f"M{index * step:.1f} {height}v{-max(0.6, height * value / top):.1f}h{step * 0.86:.1f}V{height}z"
        for index, value in enumerate(counts)
        if value > 0
    ]
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="histogram"><path d="{"".join(bars)}"/></svg>'
    )


def histogram(values: np.ndarray, across: str, *, name: str = "histogram", bins: int = 40) -> str:
    """How many groups have a value where, from the 1st to the 99th percentile; the line is the median.

    Parameters
    ----------
    values : one for each group, shape (groups,), at least one; those beyond the percentiles are drawn on
        them.
    across : what the values are, under the axis.
    name : of the figure, which tells its parts from those of others on the page.
    bins : how many bars.
    """
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    canvas = Canvas(name)
    with canvas as axes:
        axes.hist(np.clip(values, low, high), bins=bins, color=POSITIVE, rwidth=0.88)
        axes.axvline(middle, color=NEGATIVE, lw=1.4)
        axes.set(xlabel=across, ylabel="Groups")
    return canvas.svg


def against_size(rows: np.ndarray, values: np.ndarray, up: str, most: int = 2000) -> str:
    """A metric against the rows of a group; of many groups an even choice.

    Parameters
    ----------
    rows : how many rows each group has, shape (groups,).
    values : the metric of each group.
    up : the name of the metric, beside the axis.
    most : dots that are drawn.
    """
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)
    canvas = Canvas("sizes")
    with canvas as axes:
        axes.plot(rows[chosen], values[chosen], ".", color=POSITIVE, ms=4, alpha=0.5, mew=0)
        axes.set_xscale("log" if rows.max() > 20 * max(1, rows.min()) else "linear")
        axes.set(xlabel="Rows of the group", ylabel=up)
    return canvas.svg


def learning_curve(
    dots: Sequence[tuple[int, float]],
    sizes: np.ndarray,
    losses: np.ndarray,
    interval: tuple[float, float],
    enough: int | None,
) -> str:
    """The loss of rows held out against the rows learned from.

    Parameters
    ----------
    dots : rows and loss of samples.
    sizes, losses : the curve through them, and further.
    interval : of the loss at its end.
    enough : the rows at a dashed line; None for none.
    """
    canvas = Canvas("curve", 6.4, 3.2)
    with canvas as axes:
        axes.plot(*zip(*dots, strict=True), ".", color=SERIES[0], ms=5)
        axes.plot(sizes, losses, color=SERIES[0])
        axes.plot([sizes[-1]] * 2, interval, color=SERIES[1], lw=3)
        if enough is not None:
            axes.axvline(enough, color=MUTED, lw=1, ls=(0, (3, 3)))
        axes.set_xscale("log")
        axes.set_xlabel("Rows learned from")
        axes.set_ylabel("Loss of rows held out")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    return canvas.svg


def _shares(axes: Any, across: str, up: str, *, legend: bool = False) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if legend:
        axes.legend(labelcolor=INK)


def _table_axes(axes: Any, labels: list[str], size: int) -> None:
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    axes.set_xticks(range(size), labels)
    axes.set_yticks(range(size), labels)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About `POINTS_DRAWN` of the points, evenly along the curve, with both ends."""
    if len(x) <= POINTS_DRAWN:
        return x, y
    way = np.cumsum(
        np.abs(np.diff(x, prepend=x[0])) / max(np.ptp(x), 1e-300)
        + np.abs(np.diff(y, prepend=y[0])) / max(np.ptp(y), 1e-300)
    )
    chosen = np.unique(np.append(np.searchsorted(way, np.linspace(0, way[-1], POINTS_DRAWN)), len(x) - 1))
    return x[chosen], y[chosen]


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def curves(name: str, lines: Sequence[tuple[Sequence[tuple[float, float]], str, int]], x: str, y: str) -> str:
    """Values by step or time, of several runs.

    Parameters
    ----------
    name : a word that no other figure of the page has.
    lines : the points of each curve, its name in the legend, and the number of its colour.
    x, y : what the axes show.
    """
    canvas = Canvas(name, 4.4, 2.9)
    with canvas as axes:
        for points, label, number in lines:
            thin = points[:: max(1, len(points) // POINTS_DRAWN)]
            steps, values = zip(*(thin if thin[-1] == points[-1] else [*thin, points[-1]]), strict=True)
            marker = "o" if len(thin) < 20 else ""
            axes.plot(steps, values, color=SERIES[number], label=label, marker=marker, ms=3)
        axes.set(xlabel=x, ylabel=y)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=x == "step"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.legend(labelcolor=INK)
    return canvas.svg
