"""Searches for settings: their trials as they come, and which parameters matter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from outgrow.board.api.run import needed
from outgrow.board.api.runs import answer as answer_runs
from outgrow.board.sources import Sources
from outgrow.log.record import Record
from outgrow.track.compare import smaller_is_better
from outgrow.track.runs import find_run

_MOST = 1_000
_BESIDE = ("trial", "state", "seconds", "error")


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """Searches; or with `run` in the query, the trials of one.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `run`, the first characters of its id; without it, as of runs. `importances` (1) for these alone,
        which take longer.

    Returns
    -------
    dict with 'trials' (a row each: number, state, metrics, parameters, seconds, error), 'metrics', 'names' of
    the parameters, 'smaller' (whether less is better), 'finished' of 'total'; or 'importances' by name.

    Raises
    ------
    ParameterError
        When there is no such run.
    """
    if not query.get("run"):
        return answer_runs(sources, {"limit": "200", **query, "kind": "tune"})
    position = sources.log.last()
    run = find_run(needed(query, "run"), sources.log)
    search = folded(list(sources.log.since(0, subject=run)))
    if query.get("importances"):
        return {"run": run, "importances": importances(search)}
    return {**search, "run": run, "position": position}


def folded(records: Sequence[Record]) -> dict[str, Any]:
    """What the records of a search say of it.

    Parameters
    ----------
    records : of one run, from its first.
    """
    began, ended = records[0], next((r for r in records if r.kind == "run.ended"), None)
    steps = [r.body for r in records if r.kind == "run.passed" and r.body.get("unit") == "trial"]
    trials = [body["details"] for body in steps if body.get("details")]
    ending = ended.body if ended is not None else {}
    if ending.get("trials"):
        trials = ending["trials"]
    metrics = list(began.body.get("metrics_sought") or (ending.get("best") or {}).get("metrics") or ["loss"])
    names = [n for n in dict.fromkeys(n for t in trials for n in t) if n not in (*_BESIDE, *metrics)]
    return {
        "name": began.body.get("name"),
        "state": ending.get("state", "running"),
        "began": began.time,
        "seconds": ending.get("seconds"),
        "metrics": metrics,
        "names": names,
        "trials": trials[:_MOST],
        "finished": ending.get("trial_count") or max((body["step"] for body in steps), default=0),
        "total": next((body["total"] for body in reversed(steps) if body.get("total")), None),
        "best": ending.get("best") or {},
        "smaller": smaller_is_better(metrics[0]),
    }


def importances(search: Mapping[str, Any]) -> dict[str, float]:
    """How much each parameter explains; of a part of the trials that grows by an eighth at once.

    Parameters
    ----------
    search : as of `folded`.
    """
    names, (metric, *others) = search["names"], search["metrics"]
    done = [t for t in search["trials"] if t.get("state") == "complete" and t.get(metric) is not None]
    count = 0 if others else len(done)
    if count >= 16:
        step = 1 << (count.bit_length() - 4)
        count -= count % step
    rows = [{name: row.get(name) for name in (*names, metric)} for row in done[:count]]
    return dict(_shares(json.dumps(rows), tuple(names), metric))


@lru_cache(maxsize=64)
def _shares(rows: str, names: tuple[str, ...], metric: str) -> Mapping[str, float]:
    try:
        from outgrow.tuning.importance import shares_of_rows
    except ImportError:  # Optuna is an extra, and the rest of the page does without
        return {}
    return shares_of_rows(json.loads(rows), names, metric)
