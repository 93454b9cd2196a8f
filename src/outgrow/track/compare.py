"""Two runs beside each other: parameters, metrics, data, environment, code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outgrow.track.details import RunDetails

SECTIONS = ("parameters", "metrics", "data", "columns", "environment", "code")
_SMALLER = ("loss", "mse", "rmse", "mae", "seconds", "memory", "deviance", "inertia", "perplexity")
_TIMES = ("seconds", "cpu_seconds", "memory", "rows")


@dataclass(frozen=True)
class Difference:
    """A fact of two runs; None where one does not have it."""

    name: str
    first: Any
    second: Any

    @property
    def same(self) -> bool:
        return same(self.first, self.second)


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal; so are two metrics that are not a number (NaN).

    Parameters
    ----------
    first, second : facts of two runs.
    """
    return bool(first == second or (first != first and second != second))


def compare(first: RunDetails, second: RunDetails) -> dict[str, list[Difference]]:
    """The facts of two runs by section, those that are the same included.

    Parameters
    ----------
    first, second : the runs.

    Returns
    -------
    dict with 'parameters', 'metrics', 'data', 'columns' (those that only one has, or of another type),
    'environment' and 'code'; a section may be empty.
    """
    both = [(_facts(first)[section], _facts(second)[section]) for section in SECTIONS]
    return {section: _pairs(*facts) for section, facts in zip(SECTIONS, both, strict=True)}


def smaller_is_better(metric: str) -> bool:
    """Whether less of a metric is better, as its name says."""
    return any(metric == word or metric.endswith(f"_{word}") for word in _SMALLER)


def differing(sections: Mapping[str, list[Difference]]) -> dict[str, list[Difference]]:
    """What is not the same, without sections in which all is."""
    left = {name: [pair for pair in pairs if not pair.same] for name, pairs in sections.items()}
    return {name: pairs for name, pairs in left.items() if pairs}


def _facts(run: RunDetails) -> dict[str, dict[str, Any]]:
    environment = dict(run.beginning.get("environment", {}))
    libraries = environment.pop("libraries", {})
    environment.pop("pid", None)
    engine = run.beginning.get("engine") or {}
    data = next((seen for seen in run.data if seen.get("role") == "training"), next(iter(run.data), {}))
    about = ("uri", "kind", "version", "fingerprint", "rows", "columns")
    times = {name: run.ending[name] for name in _TIMES if run.ending.get(name) is not None}
    return {
        "parameters": {
            "estimator": run.beginning.get("estimator"),
            "target": run.beginning.get("target"),
            **run.parameters,
        },
        "metrics": {**run.metrics, **times},
        "data": {name: data[name] for name in about if data.get(name) is not None},
        "columns": dict(data.get("schema", {})),
        "environment": {**environment, "engine": engine.get("about"), **libraries},
        "code": dict(run.beginning.get("code", {})),
    }


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    names = list(dict.fromkeys([*first, *second]))
    pairs = [Difference(name, first.get(name), second.get(name)) for name in names]
    return [pair for pair in pairs if not (pair.first is None and pair.second is None)]
