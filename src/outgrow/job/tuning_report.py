"""The report of a search as one HTML page."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np

from outgrow.job import tuning_plots as plots
from outgrow.job.model import Job
from outgrow.job.record import SMALLER_IS_BETTER
from outgrow.job.report import TEMPLATES, ScoreRow
from outgrow.job.tuning_record import SearchOutcome
from outgrow.page import format as say
from outgrow.page.render import Plot, plot, render
from outgrow.track.environment import libraries

_TRIALS_SHOWN = 25


def tuning_report(job: Job, outcome: SearchOutcome) -> str:
    """The report of a search as one HTML page that needs no network.

    Parameters
    ----------
    job : what was searched for, with its name.
    outcome : the trials, and the metrics on the test rows of the best settings and of those in the job.
    """
    result = outcome.result
    table = result.trials.to_pylist()
    done = [row for row in table if row["state"] == "complete"]
    return render(
        TEMPLATES,
        "tuning.html.j2",
        title=f"Search: {job.name}",
        job=job,
        tuned=result,
        metric=say.metric_name(result.metrics[0]),
        best=say.score(result.best_value),
        states=Counter(row["state"] for row in table),
        parameters=result.best_parameters,
        score_rows=_compared(outcome),
        settings=_settings(result, done),
        plots=_plots(result, done),
        names=plots.short_names(_names(table, result.metrics)),
        rows=_best_first(done, result.metrics[0])[:_TRIALS_SHOWN],
        failed=[row for row in table if row["error"]][:_TRIALS_SHOWN],
        libraries=libraries(),
        began=datetime.now(UTC),
    )


def _names(table: list[dict[str, Any]], metrics: tuple[str, ...]) -> list[str]:
    beside = {"trial", "state", "seconds", "error", *metrics}
    return [name for name in dict.fromkeys(name for row in table for name in row) if name not in beside]


def _best_first(done: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    return sorted(done, key=lambda row: row[metric], reverse=metric not in SMALLER_IS_BETTER)


def _compared(outcome: SearchOutcome) -> list[ScoreRow]:
    """The metrics on the test rows: of the best settings, and of those the job had."""
    rows = []
    for name, value in outcome.scores.items():
        before = outcome.before[name]
        better = None if value == before else (value < before) == (name in SMALLER_IS_BETTER)
        rows.append(ScoreRow(say.metric_name(name), say.score(value), say.score(before), better))
    return rows


def _plots(result: Any, done: list[dict[str, Any]]) -> list[Plot]:
    metric = result.metrics[0]
    smaller, label = metric in SMALLER_IS_BETTER, say.metric_name(metric)
    values = [row[metric] for row in done]
    reached = (np.minimum if smaller else np.maximum).accumulate(values).tolist() if values else []
    numbers = [row["trial"] for row in done]
    points, best = (list(zip(numbers, heights, strict=True)) for heights in (values, reached))
    shares = _importances(result, len(done))
    figures = [plot("History", "Each trial, and the best so far.", plots.history(points, best, label))]
    if shares:
        caption = "How much of the differences between trials a setting explains (fANOVA)."
        figures.append(plot("What matters", caption, plots.importance(shares)))
    timed = [(row["seconds"], row[metric]) for row in done if row["seconds"]]
    if timed:
        svg = plots.cost(timed, label)
        figures.append(plot("Cost and quality", "What trials reached, against what they took.", svg))
    return figures


def _settings(result: Any, done: list[dict[str, Any]]) -> Plot | None:
    """A line for each trial through what it chose."""
    metric, names = result.metrics[0], _names(done, result.metrics)
    if len(done) < 3 or not names:
        return None
    svg = plots.parallel(
        done,
        names,
        _logs(result),
        [row[metric] for row in done],
        say.metric_name(metric),
        smaller=metric in SMALLER_IS_BETTER,
    )
    return plot("Settings", "A line for each trial, the stronger the better it did; orange is the best.", svg)


def _logs(result: Any) -> set[str]:
    """The parameters that were chosen on a logarithmic scale."""
    trial = result.best_trial
    return {name for name, chosen in trial.distributions.items() if getattr(chosen, "log", False)}


def _importances(result: Any, done: int) -> dict[str, float]:
    if done < 8 or len(result.metrics) > 1:
        return {}
    shares: dict[str, float] = result.importances()
    return shares
