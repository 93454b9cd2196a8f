"""Servers of models: how many requests a second, how fast, what waits, and which versions answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from outgrow.board.servers import Look, ModelCounts, spread
from outgrow.board.sources import Sources
from outgrow.loop.servers import CANARY, PRIMARY, SHADOW

_NOW_SECONDS = 10.0
"""Rates of now are those of about so many seconds."""
_STEP_SECONDS = 2.0
_NOTHING = ModelCounts()


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """All servers that the board was told.

    Parameters
    ----------
    sources : what is looked at.
    query : nothing.
    """
    looks = sources.serving.now()
    return {"servers": [_server(url, seen) for url, seen in looks.items()], "position": sources.log.last()}


def _server(url: str, looks: Sequence[Look]) -> dict[str, Any]:
    last = looks[-1]
    heard = [look for look in looks if look.away is None]
    facts = {"url": url, "away": last.away, "heard": heard[-1].time if heard else None, "time": last.time}
    if last.away is not None or not heard:
        return {**facts, "models": []}
    before = next((look for look in heard if last.time - look.time <= _NOW_SECONDS), last)
    seconds = last.time - before.time
    cpu = last.numbers.get("cpu_seconds", 0.0) - before.numbers.get("cpu_seconds", 0.0)
    return {
        **facts,
        "cpu": cpu / seconds if seconds > 0 and cpu >= 0 else None,
        "resident_bytes": last.numbers.get("resident_bytes"),
        "log_lost": last.numbers.get("log_lost", 0.0),
        "models": [_model(name, heard, before, seconds) for name in sorted(last.models)],
    }


def _model(name: str, heard: Sequence[Look], before: Look, seconds: float) -> dict[str, Any]:
    now, then = heard[-1].models[name], before.models.get(name, _NOTHING)
    gauges = sorted(now.drift.items(), key=lambda item: -item[1])
    drift = [{"column": column, "metric": metric, "value": value} for (column, metric), value in gauges]
    return {
        "model": name,
        **_rates(then, now, seconds),
        "requests": now.requests.answered,
        "failed": now.failed,
        "refused": now.refused,
        "rows": now.numbers.get("rows", 0.0),
        "waiting": now.numbers.get("waiting", 0.0),
        "refused_versions": now.numbers.get("refused", 0.0),
        "versions": _versions(then, now, seconds),
        "drift": drift[:20],
        "series": _series(name, heard),
    }


def _rates(then: ModelCounts, now: ModelCounts, seconds: float) -> dict[str, Any]:
    lately = now.requests.since(then.requests)
    waited = now.queue.since(then.queue)
    rows = now.numbers.get("rows", 0.0) - then.numbers.get("rows", 0.0)
    failed = now.failed - then.failed
    return {
        "rate": lately.answered / seconds if seconds > 0 else None,
        "row_rate": max(0.0, rows) / seconds if seconds > 0 else None,
        "failed_rate": max(0.0, failed) / seconds if seconds > 0 else None,
        "p50": _finite(lately.quantile(0.5)),
        "p99": _finite(lately.quantile(0.99)),
        "queue_p99": _finite(waited.quantile(0.99)),
    }


def _versions(then: ModelCounts, now: ModelCounts, seconds: float) -> list[dict[str, Any]]:
    """Each version that answers or answered: its role, its share of the requests lately, how fast."""
    lately = {
        key: counts.since(then.versions.get(key, type(counts)())) for key, counts in now.versions.items()
    }
    requests = sum(counts.answered for (role, _), counts in lately.items() if role != SHADOW)
    lines = []
    for key in sorted(
        {*now.versions, *now.answering}, key=lambda key: (key not in now.answering, _order(key))
    ):
        counts, whole = lately.get(key), now.versions.get(key)
        answered = 0.0 if counts is None else counts.answered
        lines.append(
            {
                "role": key[0],
                "version": key[1],
                "answers": key in now.answering,
                "requests": 0.0 if whole is None else whole.answered,
                "failed": 0.0 if whole is None else whole.failed,
                "rate": answered / seconds if seconds > 0 else None,
                "share": answered / requests if requests and key[0] != SHADOW else None,
                "p50": None if counts is None else _finite(counts.quantile(0.5)),
                "p99": None if counts is None else _finite(counts.quantile(0.99)),
            }
        )
    return lines


def _order(key: tuple[str, str]) -> tuple[int, str, str]:
    known = (PRIMARY, CANARY, SHADOW)
    return known.index(key[0]) if key[0] in known else len(known), *key


def _series(name: str, heard: Sequence[Look]) -> dict[str, list[Any]]:
    """Rates and latencies over the time that was watched."""
    names = ("rate", "row_rate", "failed_rate", "p50", "p99")
    series: dict[str, list[Any]] = {key: [] for key in ("time", "waiting", *names)}
    for before, look in spread(heard, _STEP_SECONDS):
        then, now = before.models.get(name, _NOTHING), look.models.get(name)
        if now is None:
            continue
        rates = _rates(then, now, look.time - before.time)
        series["time"].append(look.time)
        series["waiting"].append(now.numbers.get("waiting", 0.0))
        for key in names:
            series[key].append(rates[key])
    return series


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
