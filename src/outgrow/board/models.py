"""What the log says of each model that is watched: windows, quality, alerts, and what a loop saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outgrow.board.kept import Kept
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.monitor.alerts import Alerts
from outgrow.monitor.quality_view import QualityView
from outgrow.monitor.view import MonitorView

KINDS = ("window.folded", "finding", "label.met", "alert")


@dataclass(frozen=True)
class WatchedModel:
    """One model.

    Attributes
    ----------
    windows : that were folded and judged.
    quality : by window, as labels came.
    alerts : open and closed ones.
    looks : the findings of a loop about its errors, in their order.
    """

    windows: MonitorView
    quality: QualityView
    alerts: Alerts
    looks: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Take in a record of one of `KINDS`."""
        if record.kind == "label.met":
            self.quality.take(record)
        elif record.kind == "alert":
            if "state" in record.body:
                self.alerts.take(record)
        elif record.body.get("about") == "quality":
            self.looks.append(record.body)
        else:
            self.windows.take(record)


def watched_models(log: EventLog) -> Kept[dict[str, WatchedModel]]:
    """The models of a log by name."""
    return Kept(log, KINDS, {}, lambda models, record: _model(models, log, record.subject).take(record))


def _model(models: dict[str, WatchedModel], log: EventLog, name: str) -> WatchedModel:
    if name not in models:
        models[name] = WatchedModel(MonitorView(log, name), QualityView(log, name), Alerts(log, name))
    return models[name]
