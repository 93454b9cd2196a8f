"""Columns by windows: how far each lies from the reference; and, of one of these, both distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outgrow.board.api.registry import chosen
from outgrow.board.api.runs import whole
from outgrow.board.models import WatchedModel
from outgrow.board.sources import Sources
from outgrow.data.spans import moment
from outgrow.errors import ParameterError
from outgrow.monitor.alerts import Alert
from outgrow.monitor.distributions import Pair, pair
from outgrow.monitor.drift import Drift
from outgrow.monitor.findings import ORDER
from outgrow.monitor.pairs import EVERYTHING, Group

_COLUMNS = 200
_WINDOWS = 120
_MOST_ALERTS = 50
_WHATS = ("values", "predictions", "label")


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """The windows of a model that were judged, or one column of one of them.

    Parameters
    ----------
    sources : what is looked at.
    query : `model`, by default the one that was watched last; `version` and `role` of the windows, all of
        them by default; `width`, the windows that are drawn (120): of more, some are drawn as one that is as
        far as the farthest of them. With `column` and `start` (of a window) both distributions.

    Raises
    ------
    ParameterError
        When there is no such model, column or window.
    """
    position = sources.log.last()
    with sources.watched.now() as models:
        there = {name: model for name, model in models.items() if model.windows.judged or model.windows.parts}
        names = sorted(there, key=lambda name: -_latest(there[name]))
        name = chosen(query, names)
        if not name:
            return {
                "models": [],
                "model": None,
                "columns": [],
                "windows": [],
                "cells": [],
                "alerts": [],
                "position": position,
            }
        listed = {"models": names, "model": name, "position": position}
        if query.get("column"):
            return {**listed, **_cell(sources, there[name], query)}
        return {**listed, **_matrix(there[name], query)}


def _matrix(model: WatchedModel, query: Mapping[str, str]) -> dict[str, Any]:
    groups = _chosen_groups(model, query)
    most = min(1_000, max(1, whole(query, "width", _WINDOWS)))
    every = -(-len(groups) // most)
    runs = [groups[i : i + every] for i in range(0, len(groups), every)] if groups else []
    judged = model.windows.judged
    farthest: dict[str, float] = {}
    for group in groups:
        for column, distance in judged[group]["distances"].items():
            farthest[column] = max(farthest.get(column, 0.0), distance or 0.0)
    columns = sorted(farthest, key=lambda column: -farthest[column])
    verdicts = {group: _verdicts(judged[group]) for group in groups}
    cells = [[_farthest(column, run, judged, verdicts) for run in runs] for column in columns[:_COLUMNS]]
    return {
        "versions": sorted({group.version for group in judged}),
        "roles": sorted({group.role for group in judged}),
        "columns": columns[:_COLUMNS],
        "columns_left_out": max(0, len(columns) - _COLUMNS),
        "windows": [_window(run, judged) for run in runs],
        "windows_judged": len(groups),
        "windows_waiting": sum(group not in judged for group in model.windows.parts),
        "cells": cells,
        "alerts": alerts_of(model),
    }


def _chosen_groups(model: WatchedModel, query: Mapping[str, str]) -> list[Group]:
    groups = [
        group
        for group in model.windows.judged
        if group.slice == EVERYTHING
        and query.get("version") in (None, "", group.version)
        and (query["role"] == group.role if query.get("role") else group.role != "shadow")
    ]
    return sorted(groups, key=lambda group: (group.start or 0, group))


def _farthest(
    column: str,
    run: Sequence[Group],
    judged: Mapping[Group, Mapping[str, Any]],
    verdicts: Mapping[Group, Mapping[str, str]],
) -> dict[str, Any] | None:
    """The gravest of some windows, for one cell of the map."""
    there = [group for group in run if judged[group]["distances"].get(column) is not None]
    if not there:
        return None
    candidates = [
        (verdicts[group].get(column, "ok"), judged[group]["distances"][column], group) for group in there
    ]
    verdict, distance, group = min(candidates, key=lambda one: (ORDER[one[0]], -one[1]))
    return {"distance": distance, "verdict": verdict, **_key(group)}


def _verdicts(body: Mapping[str, Any]) -> dict[str, str]:
    """The gravest finding about each column of a window, that is not about a slice."""
    verdicts: dict[str, str] = {}
    for finding in body["findings"]:
        column = finding["column"]
        if column and not finding["slice"]:
            known = verdicts.get(column, "ok")
            verdicts[column] = min(known, finding["verdict"], key=lambda verdict: ORDER[verdict])
    return verdicts


def _window(run: Sequence[Group], judged: Mapping[Group, Mapping[str, Any]]) -> dict[str, Any]:
    first, last = judged[run[0]], judged[run[-1]]
    verdict = min((judged[group]["verdict"] for group in run), key=lambda one: ORDER[one])
    return {
        "start": moment(first["from"]).timestamp(),
        "end": moment(last["to"]).timestamp(),
        "rows": sum(judged[group]["rows"] for group in run),
        "windows": len(run),
        "verdict": verdict,
        "shift": last.get("shift"),
        "versions": sorted({group.version for group in run}),
        "drifted": list(dict.fromkeys(column for group in run for column in judged[group]["drifted"])),
    }


def _key(group: Group) -> dict[str, Any]:
    return {"version": group.version, "role": group.role, "start": (group.start or 0) / 1e6}


def _cell(sources: Sources, model: WatchedModel, query: Mapping[str, str]) -> dict[str, Any]:
    column, group = query["column"], _group(model, query)
    body = model.windows.judged.get(group, {})
    findings = [f for f in body.get("findings", ()) if f["column"] == column and not f["slice"]]
    slices = [f for f in body.get("findings", ()) if f["column"] == column and f["slice"]]
    series = [
        {"time": (other.start or 0) / 1e6, "distance": judged["distances"].get(column), **_key(other)}
        for other, judged in sorted(model.windows.judged.items(), key=lambda item: item[0].start or 0)
        if (other.version, other.role, other.slice) == (group.version, group.role, group.slice)
    ]
    return {
        "column": column,
        "window": {**_key(group), "end": _end(body), "rows": model.windows.rows.get(group, 0)},
        "verdict": min((f["verdict"] for f in findings), key=lambda one: ORDER[one], default="ok"),
        "findings": findings,
        "slices": slices,
        "series": series[-1_000:],
        **_distributions(sources, model, group, column),
    }


def _end(body: Mapping[str, Any]) -> float | None:
    return moment(body["to"]).timestamp() if body.get("to") else None


def _group(model: WatchedModel, query: Mapping[str, str]) -> Group:
    try:
        start = round(float(query.get("start", "")) * 1e6)
    except ValueError:
        raise ParameterError("Give start=... of a window, in seconds since 1970.") from None
    fitting = [
        group
        for group in model.windows.parts
        if group.start == start
        and group.slice == EVERYTHING
        and query.get("version") in (None, group.version)
        and query.get("role") in (None, group.role)
    ]
    if not fitting:
        raise ParameterError(f"No window of this model begins at {query['start'][:40]}.")
    return fitting[0]


def _distributions(sources: Sources, model: WatchedModel, group: Group, column: str) -> dict[str, Any]:
    """Both distributions, or why they cannot be had."""
    digest = model.windows.references.get(group)
    if not digest:
        return {
            "pair": None,
            "because": "This window was counted before references were kept beside the log.",
        }
    files = sources.window_files
    reference = files.reference(digest)
    window = files.merged(model.windows.parts[group])
    assert window is not None
    drift = Drift.of(reference, window, columns=[column] if column in reference.columns else None)
    by = {f.what: f for f in drift.findings if f.column == column and not f.slice}
    what = next((what for what in _WHATS if what in by), None)
    both = None if what is None else pair(reference, window, column, what)
    measures = {} if what is None else {name: one.value for name, one in by[what].measures.items()}
    because = None if what is None else by[what].because
    return {
        "pair": both and _plain(both),
        "measures": measures,
        "because": because,
        "reference_rows": reference.rows,
    }


def _plain(both: Pair) -> dict[str, Any]:
    return {
        "labels": list(both.labels),
        "before": both.before.tolist(),
        "now": both.now.tolist(),
        "missing": list(both.missing),
        "edges": None if both.edges is None else both.edges.tolist(),
        "axis": None if both.edges is None else both.axis,
        "type": both.kind,
    }


def alerts_of(model: WatchedModel) -> list[dict[str, Any]]:
    """The alerts of a model, open ones first."""
    alerts = sorted(model.alerts.known, key=lambda alert: (alert.closed is not None, -alert.opened))
    return [_alert(alert) for alert in alerts[:_MOST_ALERTS]]


def _alert(alert: Alert) -> dict[str, Any]:
    names = ("id", "key", "text", "opened", "closed", "acknowledged", "because", "state")
    return {name: getattr(alert, name) for name in names}


def _latest(model: WatchedModel) -> int:
    return max((group.start or 0 for group in model.windows.parts), default=0)
