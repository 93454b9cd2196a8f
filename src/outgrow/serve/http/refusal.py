"""Error responses: a status and a message, never longer than fits a screen."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from outgrow.errors import OutgrowError
from outgrow.serve.http.rows import RowsError, msgspec

log = logging.getLogger("outgrow.serve")

MAX_TEXT_CHARACTERS = 1_000
"""Characters of a message, or of a value in it."""
MAX_ITEMS = 20
"""Entries of a list or an object."""

Headers = dict[bytes, bytes]


class RefusedError(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, message: str, headers: Headers | None = None, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.details = details


class BusyError(RefusedError):
    """More waits already than may.

    Parameters
    ----------
    what : that waits, with its number.
    retry_after : seconds after which it is worth trying again.
    """

    def __init__(self, what: str, retry_after: int = 1) -> None:
        headers = {b"retry-after": str(retry_after).encode()}
        super().__init__(429, f"{what} wait already. Try again in {retry_after} s.", headers)


def refusal(error: Exception) -> tuple[int, bytes, Headers]:
    """Status, body and headers for what went wrong."""
    if isinstance(error, RefusedError):
        return error.status, _body(error, error.details), dict(error.headers)
    if isinstance(error, RowsError):
        return 422, _body(error, error.details), {}
    if isinstance(error, TimeoutError):
        return 504, _body("The deadline of the request passed before its answer was there."), {}
    where = "".join(traceback.format_tb(error.__traceback__, MAX_ITEMS))
    log.error("a request failed: %s: %s\n%s", type(error).__name__, shortened(str(error)), where)
    if isinstance(error, OutgrowError):
        return 503, _body("The model cannot answer; the server's log says why."), {}
    return 500, _body("The server failed; its log says why."), {}


def shortened(text: str) -> str:
    """A text from a client, cut where it is long."""
    return (
        text
        if len(text) <= MAX_TEXT_CHARACTERS
        else f"{text[:MAX_TEXT_CHARACTERS]}... ({len(text):,} characters)"
    )


def bounded(value: Any) -> Any:
    """A structure from a client, cut where it is long."""
    if isinstance(value, str):
        return shortened(str(value))
    if isinstance(value, Mapping):
        entries = {
            shortened(str(key)): bounded(value[key]) for key, _ in zip(value, range(MAX_ITEMS), strict=False)
        }
        return entries if len(value) <= MAX_ITEMS else {**entries, "...": f"{len(value):,} in all"}
    if isinstance(value, list | tuple):
        items = [bounded(item) for item in value[:MAX_ITEMS]]
        return items if len(value) <= MAX_ITEMS else [*items, f"... {len(value):,} in all"]
    return value


def _body(error: Exception | str, details: Mapping[str, Any] | None = None) -> bytes:
    encoded: bytes = msgspec.json.encode({"error": shortened(str(error)), **bounded(details or {})})
    return encoded
