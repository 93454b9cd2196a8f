"""How good the answers of a model were, window by window, as labels came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrow.board.api.drift import alerts_of
from outgrow.board.api.registry import chosen
from outgrow.board.models import WatchedModel
from outgrow.board.sources import Sources
from outgrow.data.spans import moment
from outgrow.monitor.pairs import COUNTS, EVERYTHING

_MOST = 2_000
"""Windows that are drawn, the latest ones."""
_KEYS = ("version", "role", "slice", "start", *COUNTS)
_LOOK = ("since", "until", "error", "rows", "verdict", "because", "version", "baseline")


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """The quality of a model.

    Parameters
    ----------
    sources : what is looked at.
    query : `model`, by default the one whose labels came last; `slice`, all rows by default.

    Raises
    ------
    ParameterError
        When there is no such model.
    """
    position = sources.log.last()
    with sources.watched.now() as models:
        there = {name: model for name, model in models.items() if model.quality.overall or model.looks}
        names = sorted(
            there, key=lambda name: max((key[3] for key in there[name].quality.windows), default="")
        )
        name = chosen(query, names[::-1])
        listed = {"models": names[::-1], "model": name or None, "position": position}
        if not name:
            return listed | {
                "labels": {},
                "overall": [],
                "windows": [],
                "metrics": [],
                "looks": [],
                "alerts": [],
            }
        return listed | _of(there[name], query.get("slice") or EVERYTHING)


def _of(model: WatchedModel, part: str) -> dict[str, Any]:
    quality = model.quality
    slices = sorted({key[2] for key in quality.windows} | {line["slice"] for line in quality.overall})
    windows = [
        line for key, line in sorted(quality.windows.items(), key=lambda item: item[0][3]) if key[2] == part
    ]
    overall = [line for line in quality.overall if line["slice"] == part]
    metrics = [name for line in (*overall, *windows) for name in line if name not in _KEYS]
    return {
        "labels": dict(quality.labels),
        "slices": [name for name in slices if name != EVERYTHING],
        "slice": part,
        "metrics": list(dict.fromkeys(metrics)),
        "overall": overall,
        "windows": [
            {**line, "start": moment(line["start"]).timestamp()} for line in windows[-_MOST:] if line["start"]
        ],
        "looks": [{name: look.get(name) for name in _LOOK} for look in model.looks[-_MOST:]],
        "alerts": [alert for alert in alerts_of(model) if alert["key"].startswith("quality:")],
    }
