"""What a log says of the quality of a model, window by window: a fold of its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from outgrow.log.event_log import EventLog
from outgrow.log.record import Record, encode

Key = tuple[str, str, str, str]
"""Version, role, slice and start of a window."""


class QualityView:
    """The metrics of each window and of all together, kept up to date with the log.

    Labels that come late make a new record of their windows, so the last one counts.

    Parameters
    ----------
    log : the log.
    subject : the model's name in it.
    """

    def __init__(self, log: EventLog, subject: str) -> None:
        self.log, self.subject = log, subject
        self.windows: dict[Key, Mapping[str, Any]] = {}
        self.overall: list[Mapping[str, Any]] = []
        self.labels: Mapping[str, Any] = {}
        self._position = 0

    def refreshed(self) -> QualityView:
        """With all that was written meanwhile, also by others."""
        for record in self.log.since(self._position, kinds=("label.met",), subject=self.subject):
            self.take(record)
        return self

    def take(self, record: Record) -> None:
        """Take in a record `label.met` of the model."""
        self._position = record.position
        self.labels = record.body.get("labels", {})
        self.overall = record.body.get("quality", [])
        self.windows |= {_key(line): line for line in record.body.get("windows", ())}

    def news(self, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The windows that are not as the log has them, as it should have them.

        Parameters
        ----------
        lines : a mapping for each window, as `Quality.to_arrow` has them.
        """
        plain = [{**line, "start": _text(line["start"])} for line in lines]
        return [line for line in plain if encode(line) != encode(self.windows.get(_key(line), {}))]


def _key(line: Mapping[str, Any]) -> Key:
    return line["version"], line["role"], line["slice"], line["start"]


def _text(start: Any) -> str:
    return "" if start is None else str(start.isoformat())
