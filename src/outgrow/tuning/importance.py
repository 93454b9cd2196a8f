"""How much of the differences between trials each parameter explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator

_WIDE = 50.0
"""Positive values that differ by such a factor were chosen on a logarithmic scale, most likely."""


def shares(study: optuna.study.Study) -> dict[str, float]:
    """The shares by Optuna's fANOVA (Hutter, Hoos, Leyton-Brown, "An efficient approach for assessing
    hyperparameter importance", ICML 2014), the largest first.

    Parameters
    ----------
    study : with trials of one metric.
    """
    evaluator = FanovaImportanceEvaluator(seed=0)
    explained = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in explained.items()}


def shares_of_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str], metric: str) -> dict[str, float]:
    """The same from rows of trials, as a log has them; empty where there are too few or all are alike.

    Parameters
    ----------
    rows : of trials that are done, each with the metric.
    names : the parameters; those that a trial did not choose do not count.
    metric : what was looked for.

    Examples
    --------
    >>> rows = [{"a": a, "b": b, "loss": a + 0.01 * b} for a in range(5) for b in range(5)]
    >>> max(shares_of_rows(rows, ["a", "b"], "loss").items(), key=lambda pair: pair[1])[0]
    'a'
    """
    domains = {name: _domain([row.get(name) for row in rows]) for name in names}
    known = {name: domain for name, domain in domains.items() if domain is not None}
    values = [float(row[metric]) for row in rows]
    if len(rows) < 8 or not known or len(set(values)) < 2:
        return {}
    study = optuna.create_study(storage=None)
    for row, value in zip(rows, values, strict=True):
        params = {name: _value(row[name], domain) for name, domain in known.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=known, value=value))
    return shares(study)


def _domain(values: Sequence[Any]) -> BaseDistribution | None:
    """Where values were chosen from, as far as they say; None where one is missing or all are the same."""
    if any(value is None for value in values) or len({str(value) for value in values}) < 2:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low > _WIDE)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _value(value: Any, domain: BaseDistribution) -> float | str:
    return float(value) if isinstance(domain, FloatDistribution) else str(value)
