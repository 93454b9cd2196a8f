"""Who is told of what a loop decided: each channel once, and again at the next look where it failed."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from typing import Any

from outgrow.errors import OutgrowError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.loop.view import BY
from outgrow.monitor.channels import Channel

TELLER = "outgrow loop alerts"
"""Who writes which channels were told; the loop's view of its log does not depend on it."""
TOLD_ACTIONS = frozenset(("report", "alert", "propose", "promote", "withdraw", "rollback"))


class Teller:
    """Tells channels of decisions that people want to know.

    Parameters
    ----------
    log, subject : with the records of the loop, and the name of its model.
    channels : who is told.
    stale : seconds after which a decision is no news any more, such as for a channel that is new.
    """

    def __init__(
        self, log: EventLog, subject: str, channels: Sequence[Channel], stale: float = 86_400.0
    ) -> None:
        self._log, self._subject, self._channels = log, subject, tuple(channels)
        self._position, self._stale = 0, stale
        self._decisions: dict[str, Record] = {}
        self._sent: set[tuple[str | None, str]] = set()

    def deliver(self) -> None:
        """Tell each channel what it does not know yet; one that fails is noted in the log once a look."""
        if not self._channels:
            return
        for record in self._log.since(self._position, kinds=("decision", "alert"), subject=self._subject):
            self._position = record.position
            self._take(record)
        oldest = clock.time() - self._stale
        self._decisions = {key: one for key, one in self._decisions.items() if one.time > oldest}
        for digest, record in list(self._decisions.items()):
            for channel in self._channels:
                if (digest, channel.name) not in self._sent:
                    self._send(channel, record)

    def _take(self, record: Record) -> None:
        if record.by == BY and record.kind == "decision" and record.body["action"] in TOLD_ACTIONS:
            self._decisions[record.digest] = record
        elif record.by == TELLER and record.body["event"] == "sent":
            self._sent.add((record.cause, record.body["channel"]))

    def _send(self, channel: Channel, record: Record) -> None:
        body: dict[str, Any] = {"event": "sent", "channel": channel.name}
        try:
            channel.send(message(self._subject, record))
        except (OutgrowError, OSError) as error:
            body |= {"event": "failed", "because": str(error)}
        else:
            self._sent.add((record.digest, channel.name))
        self._log.append("alert", self._subject, body, by=TELLER, cause=record.digest)


def message(subject: str, record: Record) -> dict[str, Any]:
    """A decision as a webhook gets it; `text` is what chat services show.

    Parameters
    ----------
    subject : the name of the model.
    record : of the decision.
    """
    decision = record.body
    return {
        "id": record.digest[:12],
        "model": subject,
        "key": decision["key"],
        "action": decision["action"],
        "level": decision.get("level", "info"),
        "text": f"[{decision['action']}] {subject}: {decision['because']}",
    }
