"""How many are left at each time, as observed and as a model says."""

from __future__ import annotations

from typing import Any

import numpy as np

_POINTS, _ROWS = 120, 500
"""Of a curve, and of a group that a curve of a model is averaged over."""
_GROUPS = ("low risk", "medium risk", "high risk")
Curve = tuple[np.ndarray, np.ndarray]


def kaplan_meier(time: np.ndarray, event: np.ndarray, weight: np.ndarray, entry: np.ndarray) -> Curve:
    """The share without an event at each time (Kaplan and Meier 1958), with rows that enter late.

    Parameters
    ----------
    time, event, weight, entry : ndarrays of shape (rows,); a row is at risk for events after its entry, up to
        its time.

    Returns
    -------
    Times of events, from 0 on, and the share from each on.
    """
    times, places = np.unique(time[event > 0], return_inverse=True)
    deaths = np.bincount(places, weight[event > 0], len(times))
    by_time, by_entry = np.argsort(time, kind="stable"), np.argsort(entry, kind="stable")
    left = np.append(0, np.cumsum(weight[by_time]))[np.searchsorted(time[by_time], times, side="left")]
    there = np.append(0, np.cumsum(weight[by_entry]))[np.searchsorted(entry[by_entry], times, side="left")]
    at_risk = there - left
    shares = np.cumprod(1 - np.divide(deaths, at_risk, out=np.zeros(len(times)), where=at_risk > 0))
    last = float(time.max()) if len(time) else 0.0
    final = shares[-1] if len(shares) else 1.0
    return np.concatenate([[0.0], times, [last]]), np.concatenate([[1.0], shares, [final]])


def survival_curves(model: Any, state: Any) -> dict[str, tuple[Curve, Curve | None]]:
    """Curves of thirds of the rows by their risk.

    Parameters
    ----------
    model : of survival, fitted.
    state : what its `evaluate` keeps of the rows.

    Returns
    -------
    By name the curve as observed, and as the model says on average; None where that depends on strata.
    """
    kept = state[0] if isinstance(state, tuple) else state
    answers, time, weight, event, *beside = kept.values
    entry = beside[0] if beside else np.full(len(time), -np.inf)
    risk = answers if beside else -answers  # a longer time is a lower risk
    cuts = np.unique(np.quantile(risk, [1 / 3, 2 / 3]))
    group = np.searchsorted(cuts, risk, side="left")
    names = _GROUPS if len(cuts) == 2 else ("low risk", "high risk")
    curves: dict[str, tuple[Curve, Curve | None]] = {}
    for k, name in enumerate(names):
        rows = np.flatnonzero(group == k)
        if len(rows):
            seen = kaplan_meier(time[rows], event[rows], weight[rows], entry[rows])
            curves[f"{name} ({len(rows):,})"] = seen, _of_model(model, answers[rows], float(seen[0][-1]))
    return curves


def _of_model(model: Any, answers: np.ndarray, last: float) -> Curve | None:
    if getattr(model, "strata_", None) is not None:
        return None
    some = np.sort(answers)[np.linspace(0, len(answers) - 1, min(_ROWS, len(answers))).astype(int)]
    times = np.linspace(0, last, _POINTS)
    return times, model._survival(some, times).mean(axis=0)
