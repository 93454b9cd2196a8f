"""The figures of a search, each as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from outgrow.page import format as say
from outgrow.page.canvas import INK, MUTED, SERIES, Canvas

TRIALS_DRAWN = 200
"""At most this many trials are drawn as lines."""


def history(values: Sequence[tuple[int, float]], best: Sequence[tuple[int, float]], metric: str) -> str:
    """The value of each trial, and the best so far, as SVG.

    Parameters
    ----------
    values : (trial number, value) of each trial that is done.
    best : (trial number, best value up to there), drawn as steps.
    metric : what the values are called at the axis.
    """
    canvas = Canvas("history")
    with canvas as axes:
        if values:
            axes.scatter(*zip(*values, strict=True), s=14, color=SERIES[0], alpha=0.6, label="trial")
            axes.step(*zip(*best, strict=True), where="post", color=SERIES[1], label="best so far")
        axes.set_xlabel("Trial")
        axes.set_ylabel(metric)
        axes.legend(loc="best")
    return canvas.svg


def importance(shares: Mapping[str, float]) -> str:
    """How much of the differences between trials each parameter explains."""
    names = list(shares)[::-1]
    canvas = Canvas("tuning-importance")
    with canvas as axes:
        positions = np.arange(len(names))
        axes.barh(positions, [shares[name] for name in names], height=0.62, color=SERIES[0])
        axes.set_yticks(positions, [short_names(list(shares))[name] for name in names])
        axes.set_xlabel("Share of the differences explained")
        axes.grid(visible=False, axis="y")
    return canvas.svg


def parallel(
    trials: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    logs: set[str],
    values: Sequence[float],
    metric: str,
    *,
    smaller: bool,
) -> str:
    """A line for each of the best trials through its settings; the better, the stronger.

    Parameters
    ----------
    trials : the settings of each, by name; one that was not chosen may be missing.
    names : the parameters, an axis each.
    logs : those of the names whose axis is logarithmic.
    values : of the metric, one for each trial.
    metric : what the last axis is called.
    smaller : whether small values are better.
    """
    canvas = Canvas("parallel", width=8.6, height=3.2)
    order = np.argsort(values)[:: -1 if smaller else 1][-TRIALS_DRAWN:]
    with canvas as axes:
        axes.grid(visible=False)
        columns = [_heights([trial.get(name) for trial in trials], log=name in logs) for name in names]
        columns.append(_heights(list(values), log=False))
        for rank, trial_index in enumerate(order):
            strength = (rank + 1) / len(order)
            best = rank == len(order) - 1
            heights = [column[0][trial_index] for column in columns]
            axes.plot(
                range(len(columns)),
                heights,
                color=SERIES[1] if best else SERIES[0],
                alpha=1.0 if best else 0.08 + 0.4 * strength**2,
                lw=2.2 if best else 1.0,
                zorder=3 if best else 2,
            )
        axes.set_xticks(range(len(columns)), [*short_names(names).values(), metric])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for at, (_, marks) in enumerate(columns):
            axes.axvline(at, color=MUTED, lw=0.8, zorder=1)
            for height, text in marks:
                axes.annotate(
                    text,
                    (at, height),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=7,
                    color=INK,
                    va="center",
                )
    return canvas.svg


def cost(trials: Sequence[tuple[float, float]], metric: str) -> str:
    """What trials reached against the seconds they took.

    Parameters
    ----------
    trials : (seconds, value) of each; at least one. The seconds are drawn on a logarithmic axis where they
        differ by more than a factor of 30.
    metric : what the values are called at the axis.
    """
    seconds, values = zip(*trials, strict=True)
    canvas = Canvas("cost")
    with canvas as axes:
        axes.scatter(seconds, values, s=16, color=SERIES[0], alpha=0.65)
        axes.set_xlabel("Seconds of the trial")
        axes.set_ylabel(metric)
        if len(seconds) and min(seconds) > 0 and max(seconds) / min(seconds) > 30:
            axes.set_xscale("log")
    return canvas.svg


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Parameters without the names of their steps, where that leaves them apart."""
    bare = [name.rpartition("__")[2] for name in names]
    return {
        name: bare_name if bare.count(bare_name) == 1 else name.replace("__", " ")
        for name, bare_name in zip(names, bare, strict=True)
    }


def _heights(values: list[Any], *, log: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Values on a scale from 0 to 1, and what to write along it; those that were not chosen lie below."""
    present = [value for value in values if value is not None]
    if any(isinstance(value, str | bool) for value in present):
        words = sorted({str(value) for value in present})
        height_of = {word: i / max(1, len(words) - 1) for i, word in enumerate(words)}
        heights = [-0.08 if value is None else height_of[str(value)] for value in values]
        return np.array(heights), [(height_of[word], word) for word in words]
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    scaled = np.log10(numbers) if log else numbers
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    shares = (scaled - low) / (high - low) if high > low else np.full(len(scaled), 0.5)
    ends = [(0.0, float(np.nanmin(numbers))), (1.0, float(np.nanmax(numbers)))]
    return np.where(np.isnan(shares), -0.08, shares), [(at, say.number(value)) for at, value in ends]
