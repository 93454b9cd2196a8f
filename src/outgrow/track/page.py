"""Two runs beside each other as one HTML page, with their curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outgrow.engine.memory import describe_size
from outgrow.page import format as say
from outgrow.page.plots import curves
from outgrow.page.render import Plot, plot, render
from outgrow.track.compare import SECTIONS, Difference, compare, smaller_is_better
from outgrow.track.details import RunDetails
from outgrow.track.environment import libraries
from outgrow.track.runs_view import shown

_TEMPLATES = Path(__file__).parent / "templates"
_CURVES = 12
_TITLES = {
    "parameters": "Parameters",
    "metrics": "Metrics",
    "data": "Data",
    "columns": "Columns",
    "environment": "Environment",
    "code": "Code",
}


def comparison_page(first: RunDetails, second: RunDetails) -> str:
    """The page.

    Parameters
    ----------
    first, second : the runs; the second is judged beside the first.
    """
    sections = compare(first, second)
    tables = [
        {
            "title": _TITLES[name],
            "rows": [_row(name, pair) for pair in sections[name] if not pair.same or name == "metrics"],
            "same": [pair.name for pair in sections[name] if pair.same and name != "metrics"],
        }
        for name in SECTIONS
        if sections[name]
    ]
    return render(
        _TEMPLATES,
        "compare.html.j2",
        title=f"{first.name} and {second.name}" if first.name != second.name else first.name,
        runs=[_head(first, 1), _head(second, 2)],
        tables=tables,
        plots=[*_curves(first, second), *_usage(first, second)],
        libraries=libraries(),
        began=datetime.now(UTC),
    )


def _head(run: RunDetails, number: int) -> dict[str, Any]:
    ending = run.ending
    tiles = [
        (say.seconds(ending["seconds"]) if "seconds" in ending else "running", "time"),
        (describe_size(ending["memory"]) if "memory" in ending else say.NONE, "memory"),
        (say.count(ending["rows"]) if ending.get("rows") else say.NONE, "rows"),
    ]
    return {
        "number": number,
        "name": run.name,
        "id": run.run[:12],
        "state": run.state,
        "kind": run.beginning.get("kind"),
        "began": run.began.strftime("%-d %B %Y, %H:%M:%S UTC"),
        "by": run.by,
        "tags": run.tags,
        "description": run.description,
        "tiles": tiles,
        "error": (ending.get("error") or {}).get("message"),
    }


def _row(section: str, pair: Difference) -> dict[str, Any]:
    first, second = (_text(section, pair.name, value) for value in (pair.first, pair.second))
    row = {"name": pair.name, "first": first, "second": second, "change": "", "better": None}
    both = all(isinstance(one, int | float) and math.isfinite(one) for one in (pair.first, pair.second))
    if section == "metrics":
        row["name"] = say.metric_name(pair.name)
    if section == "metrics" and both and not pair.same:
        change = pair.second - pair.first
        row["better"] = None if pair.name == "rows" else (change < 0) == smaller_is_better(pair.name)
        share = f"{change / abs(pair.first):+.1%}" if pair.first else ""
        row["change"] = share if pair.name == "memory" else f"{change:+.4g} ({share})"
    return row


def _text(section: str, name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name == "memory":
        return describe_size(value)
    if section == "metrics" and isinstance(value, float):
        return say.score(value) if math.isfinite(value) else str(value)
    return shown(value)


def _curves(first: RunDetails, second: RunDetails) -> list[Plot]:
    """A figure for each metric by step, of the stages that both runs or one of them has."""
    keys = list(dict.fromkeys([*first.curves, *second.curves]))
    long = [key for key in keys if max(len(run.curves.get(key, ())) for run in (first, second)) > 1]
    figures = []
    for number, key in enumerate(long[:_CURVES]):
        stage, metric = key
        lines = [
            (run.curves[key], _label(run), i) for i, run in enumerate((first, second)) if key in run.curves
        ]
        svg = curves(f"curve{number}", lines, "step", say.metric_name(metric))
        figures.append(plot(say.metric_name(metric), stage, svg))
    return figures


def _usage(first: RunDetails, second: RunDetails) -> list[Plot]:
    """Processor and memory by time, where a run was long enough to be looked at."""
    figures = []
    for name, title, unit, factor in (
        ("cpu", "Processors", "busy processors", 1.0),
        ("resident_bytes", "Memory", "GiB", 1 / (1 << 30)),
    ):
        lines = []
        for i, run in enumerate((first, second)):
            start = run.began.timestamp()
            points = [(t - start, body[name] * factor) for t, body in run.samples if name in body]
            if len(points) > 1:
                lines.append((points, _label(run), i))
        if lines:
            figures.append(
                plot(title, "By the second since the run began.", curves(name, lines, "seconds", unit))
            )
    return figures


def _label(run: RunDetails) -> str:
    return run.run[:8]


def as_text(sections: Mapping[str, list[Difference]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The differences as rows of text, by the title of their section.

    Parameters
    ----------
    sections : as `differing` gives them.
    """
    return [(_TITLES[name], [_row(name, pair) for pair in pairs]) for name, pairs in sections.items()]
