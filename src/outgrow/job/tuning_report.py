"""The report of a search as one HTML page."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow.job import tuning_plots as plots
from outgrow.job.model import Job
from outgrow.job.record import SMALLER_IS_BETTER, libraries
from outgrow.job.report import TEMPLATES, ScoreRow
from outgrow.page import format as say
from outgrow.page.render import Plot, plot, render

if TYPE_CHECKING:
    from outgrow.job.tuning import Searched

_ROWS = 25


def tuning_report(job: Job, searched: Searched) -> str:
    """The report of a search as one HTML page that needs no network."""
    tuned = searched.tuned
    table = tuned.trials.to_pylist()
    done = [row for row in table if row["state"] == "complete"]
    return render(
        TEMPLATES,
        "tuning.html.j2",
        title=f"Search: {job.name}",
        job=job,
        tuned=tuned,
        metric=say.metric_name(tuned.metrics[0]),
        best=say.score(tuned.best_value),
        states=Counter(row["state"] for row in table),
        parameters=tuned.best_parameters,
        score_rows=_compared(searched),
        settings=_settings(tuned, done),
        plots=_plots(tuned, done),
        names=plots.short_names(_names(table, tuned.metrics)),
        rows=_best_first(done, tuned.metrics[0])[:_ROWS],
        failed=[row for row in table if row["error"]][:_ROWS],
        libraries=libraries(),
        began=datetime.now(UTC),
    )


def _names(table: list[dict[str, Any]], metrics: tuple[str, ...]) -> list[str]:
    beside = {"trial", "state", "seconds", "error", *metrics}
    return [name for name in dict.fromkeys(name for row in table for name in row) if name not in beside]


def _best_first(done: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    return sorted(done, key=lambda row: row[metric], reverse=metric not in SMALLER_IS_BETTER)


def _compared(searched: Searched) -> list[ScoreRow]:
    """The metrics on the test rows: of the best settings, and of those the job had."""
    rows = []
    for name, value in searched.scores.items():
        before = searched.before[name]
        better = None if value == before else (value < before) == (name in SMALLER_IS_BETTER)
        rows.append(ScoreRow(say.metric_name(name), say.score(value), say.score(before), better))
    return rows


def _plots(tuned: Any, done: list[dict[str, Any]]) -> list[Plot]:
    metric = tuned.metrics[0]
    smaller, said = metric in SMALLER_IS_BETTER, say.metric_name(metric)
    values = [row[metric] for row in done]
    reached = (np.minimum if smaller else np.maximum).accumulate(values).tolist() if values else []
    numbers = [row["trial"] for row in done]
    points, best = (list(zip(numbers, heights, strict=True)) for heights in (values, reached))
    shares = _importances(tuned, len(done))
    found = [plot("History", "Each trial, and the best so far.", plots.history(points, best, said))]
    if shares:
        caption = "How much of the differences between trials a setting explains (fANOVA)."
        found.append(plot("What matters", caption, plots.importance(shares)))
    timed = [(row["seconds"], row[metric]) for row in done if row["seconds"]]
    if timed:
        svg = plots.cost(timed, said)
        found.append(plot("Cost and quality", "What trials reached, against what they took.", svg))
    return found


def _settings(tuned: Any, done: list[dict[str, Any]]) -> Plot | None:
    """A line for each trial through what it chose."""
    metric, names = tuned.metrics[0], _names(done, tuned.metrics)
    if len(done) < 3 or not names:
        return None
    svg = plots.parallel(
        done,
        names,
        _logs(tuned),
        [row[metric] for row in done],
        say.metric_name(metric),
        smaller=metric in SMALLER_IS_BETTER,
    )
    return plot("Settings", "A line for each trial, the stronger the better it did; orange is the best.", svg)


def _logs(tuned: Any) -> set[str]:
    """The parameters that were chosen on a logarithmic scale."""
    trial = tuned.best_trial
    return {name for name, chosen in trial.distributions.items() if getattr(chosen, "log", False)}


def _importances(tuned: Any, done: int) -> dict[str, float]:
    if done < 8 or len(tuned.metrics) > 1:
        return {}
    found: dict[str, float] = tuned.importances()
    return found
