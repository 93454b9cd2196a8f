"""One-file HTML pages: the report of a job, and the profile of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from outgrow.engine.profile import Profile
from outgrow.engine.profile_columns import ColumnProfile
from outgrow.inspection import figures
from outgrow.job.record import SMALLER_IS_BETTER, Outcome, importances
from outgrow.ml.core.scoring import CLASSES, PROBABILITIES
from outgrow.ml.evaluation import scoring_of
from outgrow.page import format as say
from outgrow.page import plots
from outgrow.page.render import Plot, plot, render
from outgrow.stats.scores import ClassificationState
from outgrow.track.environment import libraries

_PAIRS_SHOWN = 12
_LINES_SHOWN = 200
"""Of tables that a thousand columns would make long beside their profile."""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class ScoreRow:
    """A metric of the model beside the baseline's."""

    name: str
    model: str
    baseline: str
    better: bool | None


def job_report(outcome: Outcome) -> str:
    """The report of a job as one HTML page that needs no network."""
    job = outcome.loaded.job
    meaning, features = importances(outcome.model)
    return render(
        TEMPLATES,
        "report.html.j2",
        title=job.name,
        outcome=outcome,
        job=job,
        headline=_headline(outcome),
        score_rows=_score_rows(outcome),
        plots=_score_plots(outcome) + _model_plots(outcome, meaning, features),
        tables=_score_tables(outcome),
        features=features,
        meaning=meaning,
        libraries=libraries(),
        files=_sources(outcome.fingerprint),
        began=outcome.began,
        **_profile_parts(outcome.profile),
    )


def profile_report(
    profile: Profile,
    source: str,
    fingerprint: dict[str, Any],
    other: tuple[str, Profile] | None = None,
) -> str:
    """The profile of a dataset as one HTML page that needs no network.

    Parameters
    ----------
    profile : what `Dataset.profile` gave.
    source : what was profiled, as the user named it; shown as the title.
    fingerprint : what `Dataset.fingerprint` gave; its files are listed.
    other : another dataset beside which it is shown, with its name; it is the right one.
    """
    return render(
        TEMPLATES,
        "profile.html.j2",
        title=f"Profile of {source}",
        source=source,
        fingerprint=fingerprint,
        files=_sources(fingerprint),
        libraries=libraries(),
        began=datetime.now(UTC),
        compared=None if other is None else profile.compare(other[1]),
        names=(source, "" if other is None else other[0]),
        **_profile_parts(profile),
    )


def _profile_parts(profile: Profile | None) -> dict[str, Any]:
    assert profile is not None
    sparks = {name: Markup(_spark(column)) for name, column in profile.columns.items()}
    heat = None
    if profile.correlation is not None:
        heat = Plot(
            "Correlation",
            "Pearson's r of each pair of numeric columns.",
            Markup(plots.correlation(profile.correlation, profile.numeric)),
            wide=True,
        )
    return {
        "profile": profile,
        "sparks": sparks,
        "heat": heat,
        "pairs": _strong_pairs(profile),
        "many": _LINES_SHOWN,
    }


def _spark(column: ColumnProfile) -> str:
    return plots.sparkline(column.histogram[1]) if column.histogram else ""


def _strong_pairs(profile: Profile) -> list[tuple[str, str, float]]:
    """The pairs of columns that correlate most."""
    if profile.correlation is None:
        return []
    names, r = profile.numeric, profile.correlation
    pairs = [
        (names[i], names[j], float(r[i, j])) for i in range(len(names)) for j in range(i) if abs(r[i, j]) > 0
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))[:_PAIRS_SHOWN]


def _headline(outcome: Outcome) -> tuple[str, str, str]:
    """The one metric to look at: name, model, baseline."""
    rows = {name: (value, base) for name, value, base in outcome.score_rows()}
    name = next(metric for metric in ("roc_auc", "roc_auc_ovr", "r2", *rows) if metric in rows)
    return say.metric_name(name), say.score(rows[name][0]), say.score(rows[name][1])


def _score_rows(outcome: Outcome) -> list[ScoreRow]:
    return [
        ScoreRow(say.metric_name(name), say.score(value), say.score(base), _better(name, value, base))
        for name, value, base in outcome.score_rows()
    ]


def _better(name: str, value: float, base: float) -> bool | None:
    if value == base:
        return None
    return (value < base) == (name in SMALLER_IS_BETTER)


def _score_plots(outcome: Outcome) -> list[Plot]:
    assert outcome.scores is not None
    state, classes = outcome.scores.state, outcome.scores.classes
    if isinstance(state, ClassificationState) and classes is not None:
        scoring = scoring_of(outcome.model)
        probable, ranked = scoring is PROBABILITIES, scoring is not CLASSES
        return figures.of_classes_answered(state, classes, probable=probable, ranked=ranked)
    return [] if outcome.pairs is None else figures.of_numbers(outcome.pairs)


def _score_tables(outcome: Outcome) -> list[figures.Listing]:
    assert outcome.scores is not None
    state, classes = outcome.scores.state, outcome.scores.classes
    if not isinstance(state, ClassificationState) or classes is None:
        return []
    return figures.mixed_up(state.confusion, classes)


def _model_plots(outcome: Outcome, meaning: str, features: Sequence[tuple[str, float]]) -> list[Plot]:
    drawn = []
    if features:
        many = (
            f" The first {plots.FEATURES_DRAWN} of {len(features):,}."
            if len(features) > plots.FEATURES_DRAWN
            else ""
        )
        drawn.append(plot("Feature importance", f"{meaning}.{many}", plots.importance(features)))
    if any(len(curve) > 1 for curve in outcome.losses.values()):
        drawn.append(
            plot(
                f"Loss per {outcome.loss_unit}",
                "The value being minimised, as training went.",
                plots.losses(outcome.losses, outcome.loss_unit.capitalize()),
            )
        )
    return drawn


def _sources(fingerprint: dict[str, Any]) -> list[dict[str, Any]]:
    source = fingerprint.get("source", {})
    return list(source.get("files", []))[:50]
