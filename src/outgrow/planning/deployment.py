"""Which way of answering fits a need: in batches, in a stream, over HTTP, or in the browser."""

from __future__ import annotations

import math
from dataclasses import dataclass

from outgrow.planning.probe import Answers

_HEADROOM = 2.0
"""Replicas are made for so many times the rate that is asked for."""
_REQUESTS = 1_500.0
"""Requests of one row a second that a server process answers, parsing included (python -m bench serve)."""
_OVERHEAD_MS = 4.0
"""Of a request, beside the answer itself: parsing, and waiting for a batch."""


@dataclass(frozen=True)
class Need:
    """What is asked of the model.

    Attributes
    ----------
    latency_ms : until an answer, at the 99th percentile; None where nobody waits.
    rate : rows a second, at the busiest time.
    fresh_seconds : how old an answer may be.
    offline : whether it must answer where there is no server.
    volume : rows a day, at whatever time.
    """

    latency_ms: float | None = None
    rate: float | None = None
    fresh_seconds: float | None = None
    offline: bool = False
    volume: float | None = None


@dataclass(frozen=True)
class Way:
    """A way of answering.

    Attributes
    ----------
    name : in words.
    fits : whether it does what is needed.
    because : why, with its numbers.
    """

    name: str
    fits: bool
    because: str


def ways(answers: Answers, need: Need) -> list[Way]:
    """The ways of answering, the simplest first.

    Parameters
    ----------
    answers : how quickly the model answers.
    need : what is asked of it.
    """
    return [_batch(answers, need), _stream(answers, need), _http(answers, need), _edge(answers, need)]


def _batch(answers: Answers, need: Need) -> Way:
    daily = answers.rows_a_second * 86_400
    words = f"{answers.rows_a_second:,.0f} rows a second here, {daily:,.0f} a day (outgrow score)"
    if need.latency_ms is not None:
        return Way("batch", False, f"somebody waits for the answer; {words}")
    if need.fresh_seconds is not None and need.fresh_seconds < 600:
        return Way("batch", False, f"answers would be older than {need.fresh_seconds:g} s; {words}")
    if need.offline:
        return Way("batch", False, "it needs a machine that is on")
    if need.volume is not None:
        words += f"; {need.volume:,.0f} rows a day take {need.volume / answers.rows_a_second:,.3g} s of it"
    return Way("batch", _keeps_up(answers, need), words)


def _stream(answers: Answers, need: Need) -> Way:
    words = f"{answers.rows_a_second:,.0f} rows a second here, a second or so behind (outgrow score --stream)"
    if need.latency_ms is not None or need.offline:
        return Way("stream", False, f"nobody can wait for its answer; {words}")
    fresh = need.fresh_seconds is not None and 2 <= need.fresh_seconds < 600
    return Way("stream", fresh and _keeps_up(answers, need), words)


def _http(answers: Answers, need: Need) -> Way:
    latency = answers.p99_ms + _OVERHEAD_MS
    pace = min(_REQUESTS, 1e3 / max(1e-3, answers.median_ms) * 8)  # rows that wait are answered together
    count = 1 if need.rate is None else math.ceil(need.rate * _HEADROOM / pace)
    words = (
        f"about {latency:.0f} ms at the 99th percentile ({answers.p99_ms:.1f} ms for the row, "
        f"{_OVERHEAD_MS:g} for the request), {pace:,.0f} requests a second and process"
    )
    if need.rate is not None:
        words += (
            f": {count} process{'es' if count > 1 else ''} for {need.rate:g} a second with twice the room"
        )
    words += _started(answers, need)
    wanted = need.latency_ms is not None or (need.fresh_seconds is not None and need.fresh_seconds < 2)
    quick = need.latency_ms is None or latency <= need.latency_ms
    return Way("HTTP", wanted and quick and not need.offline, words + " (outgrow serve)")


def _started(answers: Answers, need: Need) -> str:
    """What it means that a process is not there at once."""
    if answers.cold_seconds is None:
        return ""
    words = f"; a new process answers after {answers.cold_seconds:.2g} s"
    if need.latency_ms is not None and 1e3 * answers.cold_seconds > need.latency_ms:
        words += ", so keep one running"
    if need.rate is not None:
        words += f" ({need.rate * answers.cold_seconds:,.0f} rows wait meanwhile at that rate)"
    return words


def _edge(answers: Answers, need: Need) -> Way:
    if answers.onnx:
        return Way("browser or device, by ONNX", False, answers.onnx)
    words = f"{answers.nbytes / 1e6:.2g} MB, no server, {answers.median_ms:.1f} ms (model.to_onnx)"
    quick = need.latency_ms is not None and need.latency_ms < answers.p99_ms + _OVERHEAD_MS
    return Way("browser or device, by ONNX", need.offline or quick, words)


def _keeps_up(answers: Answers, need: Need) -> bool:
    rate = max(need.rate or 0.0, (need.volume or 0.0) / 86_400)
    return rate <= answers.rows_a_second
