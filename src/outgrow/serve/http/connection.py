"""What a client's connection may cost: time for its headers and its reading, and requests it sends ahead.

uvicorn closes connections that idle between two requests; it waits for ever for the end of headers and for a
client that does not read its answers, and takes as many requests ahead as are sent.
"""

from __future__ import annotations

import asyncio

from outgrow._optional import optional

optional("uvicorn", "serve")
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: E402

HEADER_SECONDS = 10.0
"""From the first byte of a connection or of a request until its headers are there."""
HEADER_BYTES = 64 << 10
WRITE_SECONDS = 30.0
"""For which a client may leave its answers unread."""
MAX_PIPELINED_REQUESTS = 16
"""Requests that a client may send before it has the answer to its first one."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: 47\r\nconnection: close\r\n\r\n"
    b'{"error":"The headers are larger than 65536 B"}'
)


class Connection(HttpToolsProtocol):
    """A connection whose client is cut off when it costs too much."""

    header_seconds = HEADER_SECONDS
    write_seconds = WRITE_SECONDS
    _heads = 0
    _in_head = False
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.header_seconds, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        self._timer = self._unread = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began = self._in_head
        super().data_received(data)
        if self._in_head:
            self._wait_for_headers(len(data) if began else 0)
        if len(self.pipeline) > MAX_PIPELINED_REQUESTS:
            self.flow.pause_reading()

    def _wait_for_headers(self, size: int) -> None:
        """Headers have begun, and so many more bytes of them have come."""
        self._heads += size
        if self._timer is None:
            self._timer = self.loop.call_later(self.header_seconds, self.transport.abort)
        if self._heads > HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head, self._heads = False, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if len(self.pipeline) > MAX_PIPELINED_REQUESTS:
            self.flow.pause_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
