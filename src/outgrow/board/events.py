"""The log as server-sent events: each message holds new records, and its id is where to go on behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from outgrow.errors import LogError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record, encode

LOOK_SECONDS = 0.1
"""How long a record waits at most until somebody who listens is told."""
HEARTBEAT_SECONDS = 15.0
_AT_ONCE = 500
_BEHIND = 20_000
"""Who lacks more records than this is told to look at everything anew."""
_BODY = 4_096
"""Characters of a body that is sent; who wants a longer one asks for it."""


class Tail:
    """Looks where the log ends, as long as somebody listens.

    Parameters
    ----------
    log : where new records appear.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._end = 0
        self._grown = asyncio.Event()
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why the log cannot be read; None where it can."""

    async def listen(self, since: int | None, kinds: Sequence[str] = ()) -> AsyncIterator[str]:
        """Messages for one listener, until it leaves.

        Parameters
        ----------
        since : the last position that it knows; None for the end as it is now.
        kinds : only records of these; all if empty.
        """
        self._listeners += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield "retry: 1000\n\n"
            position = await asyncio.to_thread(self._log.last) if since is None else since
            trouble = None
            while True:
                grown = self._grown
                messages, position = await asyncio.to_thread(self._messages, position, tuple(kinds))
                for message in messages:
                    yield message
                if messages:
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(grown.wait(), HEARTBEAT_SECONDS)
                    if trouble == self.trouble:
                        continue
                trouble = self.trouble
                yield _message("state", position, encode({"trouble": trouble}))
        finally:
            self._listeners -= 1
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        while True:
            known = self._end, self.trouble
            try:
                self._end = await asyncio.to_thread(self._log.last)
                self.trouble = None
            except LogError as error:
                self.trouble = str(error)
            if known != (self._end, self.trouble):
                self._grown.set()
                self._grown = asyncio.Event()
            await asyncio.sleep(LOOK_SECONDS if self.trouble is None else 10 * LOOK_SECONDS)

    def _messages(self, position: int, kinds: tuple[str, ...]) -> tuple[list[str], int]:
        """What is new behind a position, and the position then."""
        try:
            end = self._log.last()
            if end < position or end - position > _BEHIND:
                return [_message("reset", end, "{}")], end
            records = list(self._log.since(position, kinds=kinds, limit=_AT_ONCE)) if end > position else []
        except LogError:
            return [], position  # whoever looks for its end sees that, too, and says so
        if not records:
            return [], end
        last = records[-1].position
        texts = ",".join(_text(record) for record in records)
        return [_message("records", last, f"[{texts}]")], last


def _text(record: Record) -> str:
    body = encode(record.body)
    about = {"position": record.position, "time": record.time, "kind": record.kind, "subject": record.subject}
    return f'{encode(about)[:-1]},"body":{body if len(body) <= _BODY else "null"}}}'


def _message(event: str, position: int, data: str) -> str:
    return f"event: {event}\nid: {position}\ndata: {data}\n\n"
