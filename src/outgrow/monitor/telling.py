"""From what a monitor and a quality saw to alerts and to numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outgrow.monitor.alerts import Alerts
from outgrow.monitor.channels import Sample, prometheus_text
from outgrow.monitor.kinds import Kind
from outgrow.monitor.pairs import EVERYTHING, Group
from outgrow.monitor.quality_table import metrics_of, named
from outgrow.monitor.view import MonitorView

HELPS = {
    "outgrow_drift": "Distance of the last window from the reference.",
    "outgrow_window_rows": "Rows of the last window.",
    "outgrow_quality": "Metric of the rows that have labels.",
    "outgrow_label_delay_seconds": "Mean time between predictions and their labels.",
    "outgrow_alerts_open": "Alerts that are open.",
}


def raise_alerts(
    alerts: Alerts, view: MonitorView, kinds: Mapping[str, Kind], quality: Any = None
) -> list[Any]:
    """Open an alert of each column that drifted in the last window, and close those that are over.

    Drift that comes with each season opens none. A window that cannot say closes nothing: what the one before
    it said still holds. Where nothing was judged, and for what is not looked at (quality that is not given),
    nothing closes.

    Parameters
    ----------
    alerts : of the model.
    view : its windows.
    kinds : of drift, by column.
    quality : a `Quality`; None where there are no labels.
    """
    last, latest = latest_windows(view), _last_said(view)
    unsaid = {_about(group, column) for group in last for column in view.judged[group].get("unsaid", ())}
    now: dict[str, str] = {}
    for group, judgement in latest.items():
        for column in judgement["drifted"]:
            kind = kinds.get(column)
            if kind is not None and kind.name == "periodic":
                continue
            words = next(
                (f["because"] for f in judgement["findings"] if f["column"] == column), "It drifted."
            )
            now[_about(group, column)] = (
                f"{words} ({'new' if kind is None or kind.name == 'cannot say' else kind.name})"
            )
    if quality is not None:
        now |= _of_alarms(alerts, quality)
    over = {}
    for alert in alerts.open():
        what, _, about = alert.key.partition(":")
        if what == "column" and latest and alert.key not in unsaid:
            kind = kinds.get(about.partition(" version ")[0])
            temporary = kind is not None and kind.name == "temporary"
            over[alert.key] = f"It was temporary: {kind.because}" if temporary and kind else "It is over."
        elif what == "quality" and quality is not None:
            over[alert.key] = "Errors are back within the baseline."
    return alerts.update(now, over)


def _of_alarms(alerts: Alerts, quality: Any) -> dict[str, str]:
    """Alarms by key, in words; one that a person closed stays closed."""
    closed = {(alert.key, alert.text) for alert in alerts.all() if alert.closed is not None}
    texts = {}
    for alarm in quality.alarms():
        since = "" if alarm.group.time is None else f" in the window of {alarm.group.time:%Y-%m-%d %H:%M}"
        key = f"quality:{named(alarm.group._replace(start=None))}"
        text = f"Errors grew to {alarm.error:.3g} from at most {alarm.baseline:.3g}{since}."
        if (key, text) not in closed:
            texts[key] = text
    return texts


def _about(group: Group, column: str) -> str:
    return f"column:{column}" + (f" version {group.version}" if group.version else "")


def latest_windows(view: MonitorView) -> dict[Group, Mapping[str, Any]]:
    """The last window of each version and role that was judged, without those of a time to come."""
    latest: dict[tuple[str, str, str], Group] = {}
    for group in view.judged:
        key = group.version, group.role, view.references.get(group, "")
        newer = key not in latest or (group.start or 0) > (latest[key].start or 0)
        if group.slice == EVERYTHING and newer and view.has_come(group):
            latest[key] = group
    newest = max((group.start or 0 for group in latest.values()), default=0)
    # a version that answers no more drifts no more: only what was seen in the last window of all counts
    return {g: view.judged[g] for g in latest.values() if (g.start or 0) == newest and g.role != "shadow"}


def _last_said(view: MonitorView) -> dict[Group, Mapping[str, Any]]:
    """The latest windows; in place of one that cannot say, the last of its version that could."""
    latest: dict[Group, Mapping[str, Any]] = {}
    for last in latest_windows(view):
        able = [last] if _says(view, last) else [g for g in view.judged if _alike(g, last) and _says(view, g)]
        if able:
            group = max(able, key=lambda group: group.start or 0)
            latest[group] = view.judged[group]
    return latest


def _says(view: MonitorView, group: Group) -> bool:
    return view.has_come(group) and view.judged[group]["verdict"] != "cannot say"


def _alike(group: Group, other: Group) -> bool:
    return tuple(group)[:3] == tuple(other)[:3]


def prometheus_metrics(view: MonitorView, alerts: Alerts | None = None, quality: Any = None) -> str:
    """`outgrow_drift`, `outgrow_quality`, `outgrow_label_delay_seconds` and more, as Prometheus reads them.

    Parameters
    ----------
    view : the windows of a model.
    alerts : of the model.
    quality : a `Quality`.
    """
    samples = _of_windows(view)
    if quality is not None:
        samples += _of_quality(view.subject, quality)
    if alerts is not None:
        samples.append(("outgrow_alerts_open", {"model": view.subject}, float(len(alerts.open()))))
    return prometheus_text(samples, HELPS)


def _of_windows(view: MonitorView) -> list[Sample]:
    rows: dict[tuple[str, str], float] = {}
    farthest: dict[tuple[str, str, str, str], float] = {}
    for group, body in latest_windows(view).items():  # two of a version that was counted on two references
        who = group.version, group.role
        rows[who] = rows.get(who, 0.0) + body["rows"]
        distances = {(column, "js"): value for column, value in body["distances"].items()}
        for finding in body["findings"]:
            if not finding["slice"] and finding["column"] and finding["value"] is not None:
                distances[finding["column"], finding["measure"]] = finding["value"]
        for (column, metric), value in distances.items():
            if value is not None:
                key = (*who, column, metric)
                farthest[key] = float(np.fmax(value, farthest.get(key, np.nan)))
    names, model = ("version", "role", "column", "metric"), {"model": view.subject}
    samples: list[Sample] = [
        ("outgrow_window_rows", model | dict(zip(names[:2], who, strict=True)), count)
        for who, count in rows.items()
    ]
    for key, value in farthest.items():
        samples.append(("outgrow_drift", model | dict(zip(names, key, strict=True)), value))
    return samples


def _of_quality(model: str, quality: Any) -> list[Sample]:
    samples: list[Sample] = []
    for group, state in quality.over(None, slices=False).states.items():
        who = {"model": model, "version": group.version, "role": group.role}
        for metric, value in metrics_of(state, quality.problem).items():
            if metric == "label_lag_seconds":
                samples.append(("outgrow_label_delay_seconds", who, value))
            elif np.isfinite(value):
                samples.append(("outgrow_quality", who | {"metric": metric}, value))
    return samples
