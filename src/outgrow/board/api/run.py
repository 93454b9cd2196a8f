"""All of one run: what it began with, its curves, what it used, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrow.board.api.runs import whole
from outgrow.board.sources import Sources
from outgrow.errors import ParameterError
from outgrow.track.details import RunDetails, details
from outgrow.track.runs import find_run

_SAMPLES = 600
_STAGES = 200


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """A run.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `run`, the first characters of its id or `last`; `width` of the curves in pixels (800), `by`
        'step' or 'time', `low` and `high` for a part of that axis; `curves` (1) to have nothing but them.

    Raises
    ------
    ParameterError
        When there is no such run, or several.
    """
    position = sources.log.last()
    name = find_run(needed(query, "run"), sources.log)
    drawn = {"run": name, "curves": curves(sources, name, query), "position": position}
    if query.get("curves"):
        return drawn
    return {**described(details(name, sources.log)), **drawn}


def curves(sources: Sources, run: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """The curves of a run, thinned to what is drawn.

    Parameters
    ----------
    sources, query : as of `answer`.
    run : its whole id.
    """
    width = min(4_000, max(10, whole(query, "width", 800)))
    by = query.get("by", "step")
    if by not in ("step", "time"):
        raise ParameterError(f"by={by[:100]!r} is no axis. Curves are drawn by step or by time.")
    low, high = (_number(query, name) for name in ("low", "high"))
    return [curve.drawn(width, by, low, high) for curve in sources.curves.of(run)]


def described(run: RunDetails) -> dict[str, Any]:
    """What the log says of a run, as JSON.

    Parameters
    ----------
    run : folded from its records.
    """
    every = max(1, len(run.samples) // _SAMPLES)
    ending = {
        key: value for key, value in run.ending.items() if key not in ("trials", "metrics", "parameters")
    }
    return {
        "name": run.name,
        "kind": run.beginning.get("kind"),
        "state": run.state,
        "began": run.began.timestamp(),
        "by": run.by,
        "cause": run.cause,
        "record": run.record,
        "tags": run.tags,
        "description": run.description,
        "estimator": run.beginning.get("estimator"),
        "engine": run.beginning.get("engine"),
        "code": run.beginning.get("code", {}),
        "environment": run.beginning.get("environment", {}),
        "parameters": run.parameters,
        "metrics": run.metrics,
        "data": run.data,
        "stages": run.stages[-_STAGES:],
        "samples": [{"time": time, **body} for time, body in run.samples[::every]],
        "ending": ending,
    }


def needed(query: Mapping[str, str], name: str) -> str:
    """A word of a query that must be there.

    Parameters
    ----------
    query : what was asked.
    name : of the word.

    Raises
    ------
    ParameterError
        When it is not.
    """
    if not query.get(name):
        raise ParameterError(f"There is no {name}. Give {name}=...")
    return query[name]


def _number(query: Mapping[str, str], name: str) -> float | None:
    word = query.get(name)
    if word is None:
        return None
    try:
        return float(word)
    except ValueError:
        raise ParameterError(f"{name}={word[:100]!r} is no number.") from None
