"""Alerts: opened by drift, sent once, acknowledged or silenced by people, and closed when it is over.

An alert is what its records in the log say. Channels are told of those that opened and closed; a channel that
fails is tried again at the next look.
"""

from __future__ import annotations

import datetime
import hashlib
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from outgrow.data.spans import Span
from outgrow.errors import OutgrowError, ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.monitor.channels import Channel

OPENED, CLOSED, ACKNOWLEDGED, SILENCED = "opened", "closed", "acknowledged", "silenced"
SENT, FAILED = "sent", "failed"
EVERYTHING = "*"
"""Silences all alerts of a model."""


@dataclass(frozen=True)
class Alert:
    """Something that drifts, or a version that errs more.

    Attributes
    ----------
    id : the beginning of a digest, which commands take.
    model : of which.
    key : what it is about, such as "column:delay" or "quality:version 3".
    text : the fact in words.
    opened, closed : when, in seconds since 1970; None while it is open.
    acknowledged : by whom; None if by nobody.
    because : why it closed.
    sent : channels that know it is open, and those that know it is closed.
    """

    id: str
    model: str
    key: str
    text: str
    opened: float
    closed: float | None = None
    acknowledged: str | None = None
    because: str = ""
    sent: frozenset[tuple[str, str]] = field(default=frozenset())

    @property
    def state(self) -> str:
        """'opened' or 'closed'."""
        return OPENED if self.closed is None else CLOSED

    def to_dict(self) -> dict[str, object]:
        """As a webhook gets it; `text` is what chat services show."""
        when = datetime.datetime.fromtimestamp(self.opened, datetime.UTC).isoformat(timespec="seconds")
        word = "resolved" if self.closed is not None else "firing"
        text = f"[{word}] {self.model}: {self.text if self.closed is None else self.because}"
        return {
            "id": self.id,
            "model": self.model,
            "key": self.key,
            "state": self.state,
            "opened": when,
            "text": text,
        }


class Alerts:
    """The alerts of one model: a fold of the log.

    Parameters
    ----------
    log : where their records lie.
    model : the name under which it is watched.
    channels : who is told.

    Examples
    --------
    >>> import tempfile, outgrow as og
    >>> from outgrow.monitor.alerts import Alerts
    >>> alerts = Alerts(og.EventLog(tempfile.mkdtemp()), "late")
    >>> _ = alerts.update({"column:delay": "The mean went from 5 to 7."})
    >>> _ = alerts.update({"column:delay": "The mean went from 5 to 8."})  # known already
    >>> [(alert.key, alert.state) for alert in alerts.all()]
    [('column:delay', 'opened')]
    >>> [(alert.key, alert.because) for alert in alerts.update({})]
    [('column:delay', 'It is over.')]
    """

    def __init__(self, log: EventLog, model: str, channels: Sequence[Channel] = ()) -> None:
        self.log, self.model, self.channels = log, model, tuple(channels)
        self._alerts: dict[str, Alert] = {}
        self._silenced: dict[str, float] = {}
        self._position = 0

    def all(self) -> list[Alert]:
        """All alerts there ever were, the oldest first."""
        for record in self.log.since(self._position, kinds=("alert",), subject=self.model):
            self.take(record)
        return self.known

    @property
    def known(self) -> list[Alert]:
        """Those of the records that were taken in."""
        return list(self._alerts.values())

    def open(self) -> list[Alert]:
        """Those that are open."""
        return [alert for alert in self.all() if alert.closed is None]

    def update(self, now: Mapping[str, str], over: Mapping[str, str] | None = None) -> list[Alert]:
        """Open alerts of what is new, close those of what is over, and tell the channels.

        Parameters
        ----------
        now : what drifts, by key, in words. What has an open alert gets no second one.
        over : why something is over, by key; by default all that is not in `now` is over.

        Returns
        -------
        The alerts that opened or closed.
        """
        known = {alert.key: alert for alert in self.open()}
        changed = []
        for key, text in now.items():
            if key not in known:
                changed.append(self._opened(key, text))
        for key, alert in known.items():
            if key not in now and (over is None or key in over):
                changed.append(self.close(alert.id, (over or {}).get(key, "It is over."), by="outgrow"))
        self.send()
        by_id = {alert.id: alert for alert in self.all()}
        return [by_id[alert.id] for alert in changed]

    def acknowledge(self, alert_id: str, *, by: str | None = None) -> Alert:
        """Say that somebody looks after it; it is not sent again.

        Parameters
        ----------
        alert_id : or its beginning.
        by : who; the user by default.
        """
        alert = self._one(alert_id)
        self.log.append("alert", self.model, {"alert": alert.id, "state": ACKNOWLEDGED}, by=by)
        return self._one(alert.id)

    def close(self, alert_id: str, because: str = "Closed by hand.", *, by: str | None = None) -> Alert:
        """End it; if the cause is still there, the next look opens another.

        Parameters
        ----------
        alert_id : or its beginning.
        because : why.
        by : who; the user by default.
        """
        alert = self._one(alert_id)
        if alert.closed is None:
            self.log.append(
                "alert", self.model, {"alert": alert.id, "state": CLOSED, "because": because}, by=by
            )
        return self._one(alert.id)

    def silence(self, key: str, *, during: str, by: str | None = None) -> None:
        """Send nothing about a key for a while; alerts open and close all the same.

        Parameters
        ----------
        key : such as "column:delay"; "*" for all.
        during : how long, such as "2h".
        by : who; the user by default.
        """
        until = clock.time() + Span.of(during).seconds
        self.log.append("alert", self.model, {"key": key, "state": SILENCED, "until": until}, by=by)

    def silenced(self, key: str) -> bool:
        """Whether nothing is sent about a key now."""
        self.all()
        return max(self._silenced.get(key, 0.0), self._silenced.get(EVERYTHING, 0.0)) > clock.time()

    def send(self) -> list[str]:
        """Tell each channel what it does not know yet; the errors of channels that failed."""
        problems = []
        for alert in self.all():
            if self.silenced(alert.key) or (alert.closed is None and alert.acknowledged is not None):
                continue
            for channel in self.channels:
                if (channel.name, alert.state) in alert.sent or not _concerns(alert, channel.name):
                    continue
                problem = _sent(channel, alert)
                body = {"alert": alert.id, "state": SENT, "what": alert.state, "channel": channel.name}
                if problem is not None:
                    problems.append(problem)
                    body |= {"state": FAILED, "problem": problem}
                self.log.append("alert", self.model, body, by="outgrow")
        return problems

    def _opened(self, key: str, text: str) -> Alert:
        digest = hashlib.sha256(f"{self.model}\n{key}\n{clock.time_ns()}".encode()).hexdigest()[:12]
        self.log.append(
            "alert", self.model, {"alert": digest, "state": OPENED, "key": key, "text": text}, by="outgrow"
        )
        return self._one(digest)

    def _one(self, alert_id: str) -> Alert:
        fitting = [alert for alert in self.all() if alert.id.startswith(alert_id)]
        if len(fitting) != 1 or not alert_id:
            known = ", ".join(alert.id for alert in self._alerts.values() if alert.closed is None)
            raise ParameterError(
                f"{alert_id!r} names {len(fitting)} alerts of {self.model!r}. Open ones: {known or 'none'}."
            )
        return fitting[0]

    def take(self, record: Record) -> None:
        """Take in a record `alert` of the model."""
        self._position = record.position
        body, state = record.body, record.body.get("state")
        if state == SILENCED:
            self._silenced[body["key"]] = body["until"]
            return
        if state == OPENED:
            text = str(body["text"])
            self._alerts[body["alert"]] = Alert(body["alert"], self.model, body["key"], text, record.time)
            return
        alert = self._alerts.get(body.get("alert", ""))
        if alert is None:
            return
        if state == CLOSED:
            alert = replace(alert, closed=record.time, because=body["because"])
        elif state == ACKNOWLEDGED:
            alert = replace(alert, acknowledged=record.by)
        elif state == SENT:
            alert = replace(alert, sent=alert.sent | {(body["channel"], body["what"])})
        self._alerts[alert.id] = alert


def _concerns(alert: Alert, channel: str) -> bool:
    """Who was not told that it opened need not know that it closed."""
    return alert.closed is None or (channel, OPENED) in alert.sent


def _sent(channel: Channel, alert: Alert) -> str | None:
    try:
        channel.send(alert.to_dict())
    except (OutgrowError, OSError) as error:
        return f"{channel.name}: {error}"
    return None


def texts(alerts: Iterable[Alert]) -> list[str]:
    """A line for each alert."""
    lines = []
    for alert in alerts:
        when = datetime.datetime.fromtimestamp(alert.opened, datetime.UTC)
        who = f", acknowledged by {alert.acknowledged}" if alert.acknowledged else ""
        lines.append(f"{alert.id} {alert.state}{who} since {when:%Y-%m-%d %H:%M}: {alert.key}: {alert.text}")
    return lines
