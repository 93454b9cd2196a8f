"""How the quality of predictions is laid out as a table, and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.monitor.pairs import COUNTS, EVERYTHING, Group, PairState, Problem
from outgrow.stats.estimated import ASSUMPTION
from outgrow.stats.scores import ClassificationState

BY_CHANCES = ("log_loss", "roc_auc", "pr_auc", "roc_auc_ovr")
"""Metrics that need probabilities, not only the predicted class."""
_MOST_LINES = 20
_SHOWN = ("accuracy", "log_loss", "roc_auc", "rmse", "mae", "r2", "error", "estimated_accuracy")


def metrics_of(state: PairState, problem: Problem) -> dict[str, float]:
    """Metrics, estimates and business metrics of a group by name.

    Parameters
    ----------
    state : of the group.
    problem : what is judged.
    """
    metrics: dict[str, float] = {}
    if state.scores is not None:
        left_out = () if problem.chances or problem.classes is None else BY_CHANCES
        metrics |= {name: value for name, value in state.scores.metrics().items() if name not in left_out}
    if state.errors is not None:
        metrics["error"] = state.errors.mean
    if state.estimate is not None and state.estimate.rows:
        metrics |= {f"estimated_{name}": value for name, value in state.estimate.metrics().items()}
        low, high = state.estimate.accuracy_interval()
        metrics |= {"estimated_accuracy_low": low, "estimated_accuracy_high": high}
    if state.lag[1]:
        metrics["label_lag_seconds"] = float(state.lag[0] / state.lag[1])
    for name, (rows, total, _) in zip(problem.business, state.business, strict=True):
        metrics |= {name: float(total), f"{name}_mean": float(total / rows) if rows else math.nan}
    return metrics


def as_table(states: Mapping[Group, PairState], problem: Problem) -> pa.Table:
    """One row a group, in the order of version, role, slice and time.

    Parameters
    ----------
    states : by group.
    problem : what is judged.
    """
    lines = []
    for group in sorted(states, key=_order):
        counts = dict(zip(COUNTS, map(int, states[group].counts), strict=True))
        head = {"version": group.version, "role": group.role, "slice": group.slice, "start": group.time}
        lines.append(head | counts | metrics_of(states[group], problem))
    columns = dict.fromkeys(name for line in lines for name in line)
    types = {"start": pa.timestamp("us", "UTC")} | dict.fromkeys(("version", "role", "slice"), pa.string())
    return pa.table({name: pa.array([line.get(name) for line in lines], types.get(name)) for name in columns})


def summary(quality: Any) -> str:
    """Quality as text: a line for each version over all time, and what there is to know of its windows.

    Parameters
    ----------
    quality : a `Quality`.
    """
    return "\n".join([*_lines(quality.over(None, slices=False)), *notes(quality)])


def described(quality: Any) -> str:
    """Quality as text: a line a group, what became of the labels, and alarms.

    Parameters
    ----------
    quality : a `Quality`.
    """
    return "\n".join([*_lines(quality), *notes(quality)])


def _lines(quality: Any) -> list[str]:
    lines = []
    for group in sorted(quality.states, key=_order)[:_MOST_LINES]:
        state = quality.states[group]
        metrics = metrics_of(state, quality.problem)
        picked = {
            name: value for name, value in metrics.items() if name in (*_SHOWN, *quality.problem.business)
        }
        shown = ", ".join(f"{name} {value:.4g}" for name, value in picked.items())
        lines.append(f"{named(group)}: {state.counts[1]:,} of {state.counts[0]:,} rows labelled; {shown}")
    if len(quality.states) > _MOST_LINES:
        lines.append(f"... and {len(quality.states) - _MOST_LINES:,} more (to_arrow() has all)")
    return lines


def notes(quality: Any) -> list[str]:
    """What there is to know beside the numbers, a sentence each.

    Parameters
    ----------
    quality : a `Quality`.
    """
    whole = [state for group, state in quality.states.items() if group.slice == EVERYTHING]
    total = dict(zip(COUNTS, np.sum([s.counts for s in whole], axis=0) if whole else [0] * 7, strict=True))
    lines = []
    if not whole:
        lines.append("No predictions were there.")
    sentences = {
        "not_counted": "labels are missing, of an unknown class, or of rows without a usable prediction",
        "late": "labels came too late and do not count",
        "waiting": "rows wait for their label",
        "never": "rows will not get a label any more",
        "early": "labels are older than their prediction: the clocks disagree, or the key is used again",
    }
    lines += [f"{total[name]:,} {text}." for name, text in sentences.items() if total[name]]
    if quality.labels is not None:
        kept = quality.labels
        lines += [
            f"{count:,} {text}."
            for count, text in (
                (kept.unknown, "labels are of rows that nobody scored"),
                (kept.twice, "labels came again with the same value, and count once"),
                (
                    kept.contradicted,
                    "labels came again with another value; the latest counts, if one is later",
                ),
                (kept.without_key, "labels have no key"),
            )
            if count
        ]
    lines += quality.notes
    estimated = any(state.estimate is not None and state.estimate.rows for state in whole)
    if estimated:
        lines.append(f"Estimates hold {ASSUMPTION}.")
    if quality.problem.classes is not None and _one_class(whole):
        lines.append("All labels are of one class: areas under curves cannot be had.")
    lines += [
        f"{named(alarm.group)}: errors grew to {alarm.error:.3g} from at most {alarm.baseline:.3g} "
        f"(e-detector, noticed after {alarm.rows:,} labels)."
        for alarm in quality.alarms()
    ]
    return lines


def named(group: Group) -> str:
    """A group as text."""
    parts = [
        f"version {group.version}" if group.version else "",
        group.role,
        group.slice,
        f"{group.time:%Y-%m-%d %H:%M}" if group.time is not None else "",
    ]
    return ", ".join(part for part in parts if part) or "all rows"


def _one_class(states: list[PairState]) -> bool:
    judged = [state.scores for state in states]
    confusions = [s.confusion.sum(axis=1) for s in judged if isinstance(s, ClassificationState)]
    return bool(confusions) and int((np.sum(confusions, axis=0) > 0).sum()) == 1


def _order(group: Group) -> tuple[Any, ...]:
    version = (0, int(group.version), "") if group.version.isdigit() else (1, 0, group.version)
    return version, group.role, group.slice, -1 if group.start is None else group.start
