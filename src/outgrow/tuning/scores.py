"""The numbers a search looks at: by name, with the direction that is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from outgrow.errors import ParameterError
from outgrow.ml.core.scoring import SMALLER_METRICS

COST = ("fit_seconds",)
SMALLER = {*SMALLER_METRICS, *COST}


def check_metrics(metrics: Sequence[str], defined: Sequence[str]) -> None:
    """Refuse metrics that are not known for an estimator.

    Parameters
    ----------
    metrics : names.
    defined : the metrics by which it is judged.

    Raises
    ------
    ParameterError
        When one is not known.
    """
    known = (*defined, *COST)
    for name in metrics:
        if name not in known:
            raise ParameterError(f"metric={name!r} is not defined for this estimator. Known: {list(known)}.")


def directions(metrics: Sequence[str]) -> list[str]:
    """For each metric, whether small or large values are better, as Optuna says it."""
    return ["minimize" if name in SMALLER else "maximize" for name in metrics]


def pick(scores: dict[str, float], metrics: Sequence[str]) -> list[float]:
    """The values of the metrics of a trial.

    Parameters
    ----------
    scores : all metrics of the trial, by name.
    metrics : the names of those that the study looks at, in its order.

    Raises
    ------
    ParameterError
        When one is not defined for these classes.
    """
    missing = [name for name in metrics if name not in scores]
    if missing:
        raise ParameterError(
            f"metric={missing[0]!r} is not defined for these classes. There are: {sorted(scores)}."
        )
    return [scores[name] for name in metrics]


def complaint(values: Sequence[float]) -> str | None:
    """Why a study cannot take values."""
    bad = [value for value in values if not math.isfinite(value)]
    return f"The trial returned {bad[0]}, which cannot be compared." if bad else None
