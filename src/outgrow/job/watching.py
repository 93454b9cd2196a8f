"""A server that watches itself: counts of what it is asked and answers; what the log says on its metrics."""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.monitor.monitor import Monitor
from outgrow.monitor.pairs import Group
from outgrow.monitor.telling import latest_windows
from outgrow.serve.http.metrics import WATCHED, Reading
from outgrow.stats.grid_counts import GridCounts

TIME, VERSION, ROLE, PREDICTION = "time", "version", "role", "prediction"
RECORD_SECONDS = 60.0
"""How often counts become records; a process that is killed loses those since."""
MOST_WAITING = 200_000
"""Rows that wait to be counted; past it, more are passed over and counted as such."""


def recorder(
    models: Mapping[str, str], log: str, window: str = "1h", states: str | None = None
) -> ServedCounts:
    """What `outgrow serve --watch` hands to the server.

    Parameters
    ----------
    models : paths of the models by the names they are served under; each needs a reference.
    log : the event log.
    window : the length of a window.
    states : the folder of counts; beside the log by default.
    """
    monitors = {
        name: Monitor(path, log, window=window, name=name, states=states) for name, path in models.items()
    }
    return ServedCounts(monitors)


class ServedCounts:
    """Puts requests aside on the event loop, and counts them on a thread.

    Parameters
    ----------
    monitors : by the name of the model.
    """

    def __init__(self, monitors: Mapping[str, Monitor]) -> None:
        self._monitors = dict(monitors)
        self._waiting: deque[tuple[str, str, float, Any, Any]] = deque()
        self._rows = 0
        self.passed_over = 0
        self._states: dict[str, dict[Group, GridCounts]] = {name: {} for name in monitors}
        self._recorded = clock.monotonic()

    def __call__(self) -> Iterable[Reading]:
        """The distances of the last window that was judged, of each model."""
        for name, monitor in self._monitors.items():
            worst: dict[tuple[str, str], float] = {}
            for body in latest_windows(monitor.view.refreshed()).values():
                for column, value in body["distances"].items():
                    worst[column, "js"] = max(value or 0.0, worst.get((column, "js"), 0.0))
            for (column, metric), value in worst.items():
                known = {"model": name, "column": column, "metric": metric}
                labels = {label: known[label] for label in WATCHED["outgrow_drift"][1]}
                yield Reading("outgrow_drift", value, labels)

    def add(self, model: str, role: str, rows: Any, answers: Any) -> None:
        """Put a request aside.

        Parameters
        ----------
        model, role : who answered.
        rows : as the reader of the version read them.
        answers : to those.
        """
        count = len(answers.predictions)
        if model not in self._monitors:
            return
        if self._rows + count > MOST_WAITING:
            self.passed_over += count
            return
        self._rows += count
        self._waiting.append((model, role, clock.time(), rows, answers))

    def flush(self) -> None:
        """Count what was put aside; once in a while, counts become records and windows are judged."""
        taken: dict[tuple[str, str, str], list[tuple[float, Any, Any]]] = {}
        for _ in range(len(self._waiting)):
            model, role, when, rows, answers = self._waiting.popleft()
            self._rows -= len(answers.predictions)
            key = model, role, answers.served.version.name
            taken.setdefault(key, []).append((when, rows, answers))
        for (model, role, version), requests in taken.items():
            table = _table(requests, version, role)
            states = self._states[model]
            for group, state in self._monitors[model].counted(table, time=TIME).items():
                states[group] = state if group not in states else states[group].merge(state)
        if clock.monotonic() - self._recorded >= RECORD_SECONDS:
            self._record()

    def close(self) -> None:
        """Count and record the last."""
        self.flush()
        self._record()

    def _record(self) -> None:
        self._recorded = clock.monotonic()
        for name, monitor in self._monitors.items():
            states = self._states[name]
            if states:
                monitor.record(states)
                self._states[name] = {}
                monitor.judge()


def _table(requests: list[tuple[float, Any, Any]], version: str, role: str) -> pa.Table:
    """Rows of many requests with their predictions: one conversion for all of them."""
    served = requests[0][2].served
    predictor = served.version.predictor
    whole = [rows for _, rows, _ in requests if isinstance(rows, Batch)]
    single = [row for _, rows, _ in requests if not isinstance(rows, Batch) for row in rows]
    batches = [*whole, *([served.reader.batch(single)] if single else [])]
    order = [r for r in requests if isinstance(r[1], Batch)] + [
        r for r in requests if not isinstance(r[1], Batch)
    ]
    features = pa.Table.from_batches([batch.to_arrow() for batch in batches]).combine_chunks()
    sizes = [len(answers.predictions) for _, _, answers in order]
    times = np.repeat([round(when * 1e6) for when, _, _ in order], sizes)
    columns = dict(zip(features.column_names, features.columns, strict=True))
    columns[PREDICTION] = pa.array([answer for _, _, answers in order for answer in answers.predictions])
    if requests[0][2].probabilities is not None:
        chances = [line for _, _, answers in order for line in answers.probabilities]
        names = predictor.names("predict_proba")
        columns |= {
            name: pa.array(list(p)) for name, p in zip(names, zip(*chances, strict=True), strict=True)
        }
    count = len(times)
    columns[TIME] = pa.array(times.astype(np.int64)).cast(pa.timestamp("us", "UTC"))
    columns[VERSION], columns[ROLE] = pa.array([version] * count), pa.array([role] * count)
    return pa.table(columns)
