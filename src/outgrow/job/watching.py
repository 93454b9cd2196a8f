"""A server that watches itself: counts of what it is asked and answers; what the log says on its metrics."""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.monitor.monitor import Monitor
from outgrow.monitor.pairs import Group
from outgrow.monitor.telling import latest_windows
from outgrow.serve.http.metrics import WATCHED, Reading
from outgrow.serve.http.scoring import Answers, LoadedVersion, Scored
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


@dataclass(eq=False)
class _Asked:
    """Rows that one batch answered, and which of them somebody asked for.

    Attributes
    ----------
    model, role, served, when : who answered, and when the first of them was asked.
    scored : the batch.
    parts : the first row, and how many, of each request.
    """

    model: str
    role: str
    served: LoadedVersion
    when: float
    scored: Scored
    parts: list[tuple[int, int]] = field(default_factory=list)

    def chosen(self) -> Scored:
        """The rows that were asked for: mostly all."""
        scored, count = self.scored, sum(size for _, size in self.parts)
        if count == scored.batch.num_rows:
            return scored
        rows = np.concatenate([np.arange(start, start + size) for start, size in self.parts])
        chances = None if scored.probabilities is None else scored.probabilities[rows]
        return Scored(scored.batch.take(rows), scored.predictions[rows], chances)


class ServedCounts:
    """Puts requests aside on the event loop, and counts them on a thread.

    Parameters
    ----------
    monitors : by the name of the model.
    """

    def __init__(self, monitors: Mapping[str, Monitor]) -> None:
        self._monitors = dict(monitors)
        self._waiting: deque[_Asked] = deque()
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

    def add(self, model: str, role: str, rows: Any, answers: Answers) -> None:
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
        scored = answers.scored or (_again(answers, rows),)
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.scored is scored[0] and last.role == role and last.model == model:
            last.parts.append((answers.start, count))
            return
        for batch in scored:
            part = (answers.start, count if len(scored) == 1 else batch.batch.num_rows)
            self._waiting.append(_Asked(model, role, answers.served, clock.time(), batch, [part]))

    def flush(self) -> None:
        """Count what was put aside; once in a while, counts become records and windows are judged."""
        taken: dict[tuple[str, str, str], list[_Asked]] = {}
        for _ in range(len(self._waiting)):
            batch = self._waiting.popleft()
            self._rows -= sum(size for _, size in batch.parts)
            taken.setdefault((batch.model, batch.role, batch.served.version.name), []).append(batch)
        for (model, role, version), batches in taken.items():
            table = _table(batches, version, role)
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


def _again(answers: Answers, rows: Any) -> Scored:
    """Rows whose answers were remembered, as a batch."""
    served = answers.served
    batch = rows if isinstance(rows, Batch) else served.reader.batch(rows)
    chances = None if answers.probabilities is None else np.array(answers.probabilities)
    return Scored(served.whole(batch), np.array(answers.predictions), chances)


def _features(batches: Sequence[Batch]) -> dict[str, Any]:
    """The columns of many small batches; Arrow joins those fast that are no arrays."""
    tables = [batch.to_arrow() for batch in batches] if any(batch.held for batch in batches) else []
    if tables and all(table.schema.equals(tables[0].schema) for table in tables):
        joined = pa.Table.from_batches(tables).combine_chunks()
        return dict(zip(joined.column_names, joined.columns, strict=True))
    one = Batch.joined(batches).to_arrow()
    return dict(zip(one.schema.names, one.columns, strict=True))


def _table(batches: Sequence[_Asked], version: str, role: str) -> pa.Table:
    """Rows of many batches with their predictions."""
    parts = [batch.chosen() for batch in batches]
    columns = _features([part.batch for part in parts])
    columns[PREDICTION] = pa.array(np.concatenate([part.predictions for part in parts]).tolist())
    chances = [part.probabilities for part in parts if part.probabilities is not None]
    if chances:
        names = batches[0].served.version.predictor.names("predict_proba")
        columns |= dict(zip(names, map(pa.array, np.concatenate(chances).T.copy()), strict=True))
    sizes = [part.batch.num_rows for part in parts]
    times = np.repeat(np.array([round(batch.when * 1e6) for batch in batches], np.int64), sizes)
    columns[TIME] = pa.array(times).cast(pa.timestamp("us", "UTC"))
    count = len(times)
    columns[VERSION], columns[ROLE] = pa.array([version] * count), pa.array([role] * count)
    return pa.table(columns)
