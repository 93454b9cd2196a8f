"""One look at what a model is asked: count, judge, hold against labels, tell; what `outgrow watch` does."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow.data.spans import Span
from outgrow.engine.reading import read
from outgrow.errors import InputNotFoundError, OutgrowError, ParameterError
from outgrow.monitor.alerts import Alert, Alerts, texts
from outgrow.monitor.channels import write_prometheus
from outgrow.monitor.monitor import Monitor
from outgrow.monitor.quality import Quality, quality
from outgrow.monitor.quality_table import summary
from outgrow.monitor.quality_view import QualityView
from outgrow.monitor.telling import prometheus_metrics, raise_alerts
from outgrow.monitor.watched import Watched
from outgrow.monitor.windows import new_files

DRIFT = 3
"""The exit code of a look that saw drift, or errors that grew."""


@dataclass(frozen=True)
class Labels:
    """Where labels come, and what is asked of them.

    Attributes
    ----------
    path : files with the columns `on`, `label` and `seen`; they may not be there yet.
    on, label : the columns of the key and of the true value.
    seen : the column that says when a label came; None for none.
    within : how long after its prediction a label may come; None for ever.
    baseline : the mean error that is no alarm; None for no alarm.
    false_alarms : at most so many a row.
    """

    path: str | os.PathLike[str]
    on: tuple[str, ...]
    label: str
    seen: str | None = None
    within: str | None = None
    baseline: float | None = None
    false_alarms: float = 1e-5


@dataclass(frozen=True)
class Look:
    """What one look saw.

    Attributes
    ----------
    watched : windows that were judged.
    quality : with the labels that are there; None without any.
    changed : alerts that opened or closed.
    open : alerts that are open.
    """

    watched: Watched
    quality: Quality | None
    changed: tuple[Alert, ...]
    open: tuple[Alert, ...]

    @property
    def exit_code(self) -> int:
        """3 while an alert is open that nobody acknowledged, or if a window judged now drifted; else 0."""
        waiting = any(alert.acknowledged is None for alert in self.open)
        return DRIFT if waiting or self.watched.verdict == "drift" else 0

    def __str__(self) -> str:
        parts = [str(self.watched), "" if self.quality is None else summary(self.quality), *texts(self.open)]
        closed = [
            f"{alert.id} closed: {alert.key}: {alert.because}" for alert in self.changed if alert.closed
        ]
        return "\n".join(part for part in [*parts, *closed] if part)


def look(
    monitor: Monitor,
    folder: str | os.PathLike[str],
    alerts: Alerts,
    *,
    time: str = "time",
    labels: Labels | None = None,
    prometheus: str | os.PathLike[str] | None = None,
    open_too: bool = False,
) -> Look:
    """Look once.

    Parameters
    ----------
    monitor : of the model.
    folder : of Parquet files of what was asked and answered.
    alerts : of the model, with who is told.
    time : the column that says when a row was asked.
    labels : where labels come.
    prometheus : a file for the textfile collector.
    open_too : whether windows are judged that more rows may come to.
    """
    watched = monitor.watch(folder, time=time, open_too=open_too)
    try:
        judged = None if labels is None else labelled(monitor, folder, labels, time)
    except (OutgrowError, OSError):
        raise_alerts(alerts, monitor.view, watched.kinds)  # labels that cannot be met hide no drift
        raise
    changed = raise_alerts(alerts, monitor.view, watched.kinds, judged)
    if prometheus is not None:
        write_prometheus(prometheus, prometheus_metrics(monitor.view, alerts, judged))
    return Look(watched, judged, tuple(changed), tuple(alerts.open()))


def labelled(monitor: Monitor, folder: str | os.PathLike[str], labels: Labels, time: str) -> Quality | None:
    """The quality of what is in a folder with the labels that are there, noted in the log when it changed.

    Parameters
    ----------
    monitor : of the model.
    folder : of predictions.
    labels : where labels come.
    time : the column that says when a row was asked.
    """
    rows = _readable(monitor, folder) if Path(labels.path).exists() else None
    if rows is None:
        return None
    try:
        judged = quality(
            rows,
            labels.path,
            on=labels.on,
            label=labels.label,
            times=time if labels.seen is None else (time, labels.seen),
            within=labels.within,
            window=str(monitor.window),
            baseline=labels.baseline,
            false_alarms=labels.false_alarms,
            model=monitor.model,
        )
    except InputNotFoundError:
        return None  # the folder is there, and no file in it yet
    assert judged.labels is not None
    table = judged.over(None).to_arrow().drop_columns(["start"]).to_pylist()
    kept = QualityView(monitor.log, monitor.name).refreshed()
    if kept.labels != vars(judged.labels):
        news = kept.news(judged.to_arrow().to_pylist())
        monitor.log.append(
            "label.met", monitor.name, {"labels": vars(judged.labels), "quality": table, "windows": news}
        )
    return judged


def _readable(monitor: Monitor, folder: str | os.PathLike[str]) -> Any:
    """A folder without the files that the monitor could not count; None where no other is there."""
    if not monitor.unread:
        return folder
    files = [os.fspath(path) for _, path in new_files(folder, monitor.unread)]
    return read(files) if files else None


def keep_looking(
    once: Callable[[], Look],
    every: str,
    say: Callable[[str], object],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Look again and again; what goes wrong in a look is said, and the next one tries again.

    Parameters
    ----------
    once : one look.
    every : how long from the beginning of a look to that of the next, such as "1min".
    say : is told what was seen, when something new was.
    stop : asked after each look.
    """
    pause = Span.of(every).seconds
    unread: Mapping[str, str] = {}
    while True:
        began = clock.monotonic()
        try:
            seen = once()
            if seen.watched.judged or seen.changed or seen.watched.unread.keys() - unread.keys():
                say(str(seen))
            unread = seen.watched.unread
        except (OutgrowError, OSError) as error:
            say(f"This look failed, the next one tries again: {error}")
        if stop():
            return
        clock.sleep(max(0.0, pause - (clock.monotonic() - began)))


def effects(pairs: Sequence[str]) -> dict[str, float] | None:
    """`psi=0.2` and the like as `og.drift` takes them; None of none."""
    values = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            raise ParameterError(f"{pair!r} is no effect. Write it as psi=0.1.") from None
    return values or None
