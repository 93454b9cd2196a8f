"""The curves of the runs that somebody looks at, kept and continued from the log."""

from __future__ import annotations

import math
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outgrow.board.thin import Points, thinned
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record

_KEPT = 32
"""Runs whose curves stay in memory."""
_AT_ONCE = 20_000
"""Records that are read at once, so that long runs take little memory."""


class Curve:
    """Points of one metric: step, time and value.

    Attributes
    ----------
    stage, metric : which.
    unit : what the steps count.
    last : the metrics' last value, which may be one that cannot be drawn: it is not finite.
    """

    def __init__(self, stage: str, metric: str, unit: str) -> None:
        self.stage, self.metric, self.unit = stage, metric, unit
        self.last = math.nan
        self._points = (array("d"), array("d"), array("d"))

    def add(self, step: float, time: float, value: float) -> None:
        """Take a point.

        Parameters
        ----------
        step, time, value : of it; the time in seconds since 1970.
        """
        self.last = value
        if math.isfinite(value):
            for points, number in zip(self._points, (step, time, value), strict=True):
                points.append(number)

    def drawn(self, width: int, by: str, low: float | None, high: float | None) -> dict[str, Any]:
        """What is drawn of it.

        Parameters
        ----------
        width : in pixels.
        by : 'step' or 'time'.
        low, high : the part of the axis; None for all.
        """
        step, time, y = (np.array(points) for points in self._points)
        x = time if by == "time" else step
        if np.any(x[1:] <= x[:-1]):
            valid = _last_said(x)
            x, y = x[valid], y[valid]
        start = 0 if low is None else max(0, int(np.searchsorted(x, low)) - 1)
        end = len(x) if high is None else int(np.searchsorted(x, high, side="right")) + 1
        x, y = x[start:end], y[start:end]
        kept = thinned(x, y, width)
        about = {"stage": self.stage, "metric": self.metric, "unit": self.unit, "points": len(step)}
        about["metrics"] = {"last": self.last}
        return {**about, "x": x[kept].tolist(), "y": y[kept].tolist()}


def _last_said(x: Points) -> NDArray[np.bool_]:
    """Points that none at the same place or before it follows: what began again is drawn as it went then."""
    lowest = np.minimum.accumulate(x[::-1])[::-1]
    return np.append(x[:-1] < lowest[1:], True)


class _Run:
    """All curves of a run, and the last record that they know."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.position = 0
        self.curves: dict[tuple[str, str], Curve] = {}

    def take(self, record: Record) -> None:
        """Take the points of a record."""
        self.position = record.position
        body = record.body
        step = body.get("step")
        if step is None:
            return
        for name, value in body.get("metrics", {}).items():
            if value is not None:
                key = body["stage"], name
                curve = self.curves.get(key)
                if curve is None:
                    curve = self.curves[key] = Curve(*key, str(body.get("unit", "step")))
                curve.add(step, record.time, value)


class Curves:
    """Curves by run; the ones that were not looked at for the longest time are forgotten.

    Parameters
    ----------
    log : where the runs are.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: str) -> list[Curve]:
        """The curves of a run as of now, those with most points first among equals in their order."""
        with self._lock:
            kept = self._runs.setdefault(run, _Run())
            self._runs.move_to_end(run)
            while len(self._runs) > _KEPT:
                self._runs.popitem(last=False)
        with kept.lock:
            for record in self._since(run, kept.position):
                kept.take(record)
            return list(kept.curves.values())

    def _since(self, run: str, position: int) -> Iterator[Record]:
        while True:
            records = list(self._log.since(position, kinds=("run.passed",), subject=run, limit=_AT_ONCE))
            yield from records
            if len(records) < _AT_ONCE:
                return
            position = records[-1].position
