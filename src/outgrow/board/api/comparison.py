"""Runs beside each other: parameters, metrics, data, environment, code, and their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outgrow.board.api.run import curves, needed
from outgrow.board.sources import Sources
from outgrow.errors import ParameterError
from outgrow.track.compare import compare, same, smaller_is_better
from outgrow.track.details import RunDetails, details
from outgrow.track.runs import find_run

_MOST = 12


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """Runs beside the first of them.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `runs`, the first characters of their ids, with commas between; the rest as of a run's curves.

    Returns
    -------
    dict with 'runs', 'sections' (by name, the facts: name, a value for each run, whether all are the same).

    Raises
    ------
    ParameterError
        When there are fewer than two, more than twelve, or one is not there.
    """
    position = sources.log.last()
    words = [word for word in needed(query, "runs").split(",") if word]
    names = list(dict.fromkeys(find_run(word, sources.log) for word in words))
    if not 2 <= len(names) <= _MOST:
        raise ParameterError(
            f"{len(names)} runs cannot be compared. Give from 2 to {_MOST}, like runs=3f2a,9c01."
        )
    opened = [details(name, sources.log) for name in names]
    return {
        "runs": [{**_head(run), "curves": curves(sources, run.run, query)} for run in opened],
        "sections": sections(opened),
        "position": position,
    }


def sections(runs: Sequence[RunDetails]) -> dict[str, list[dict[str, Any]]]:
    """The facts of several runs by section; each run is compared with the first.

    Parameters
    ----------
    runs : two or more.
    """
    facts: dict[str, dict[str, list[Any]]] = {}
    for number, run in enumerate(runs[1:], 1):
        for section, pairs in compare(runs[0], run).items():
            rows = facts.setdefault(section, {})
            for pair in pairs:
                values = rows.setdefault(pair.name, [pair.first] + [None] * (len(runs) - 1))
                values[number] = pair.second
    return {
        section: [
            {
                "name": name,
                "values": values,
                "same": all(same(value, values[0]) for value in values),
                "smaller": smaller_is_better(name),
            }
            for name, values in rows.items()
        ]
        for section, rows in facts.items()
    }


def _head(run: RunDetails) -> dict[str, Any]:
    return {
        "run": run.run,
        "name": run.name,
        "kind": run.beginning.get("kind"),
        "state": run.state,
        "began": run.began.timestamp(),
    }
