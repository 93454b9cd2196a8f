"""The log of what left a site, which it writes: JSON lines of names, shapes and bytes, never of values."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outgrow.engine.frames import Message
from outgrow.errors import ParameterError
from outgrow.storage import disk_errors


class AuditLog:
    """Appends a line for each message that a site sends, before it is sent.

    Parameters
    ----------
    path : the file; None to count bytes only.

    Attributes
    ----------
    sent : bytes so far.

    Raises
    ------
    ParameterError
        When the folder of the file is not there.
    StorageError
        When the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.sent = 0
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()
        if self._path is not None:
            if not self._path.parent.is_dir() or self._path.is_dir():
                raise ParameterError(f"audit={str(self._path)!r}: give a file in a folder that is there.")
            with disk_errors(self._path), self._path.open("a"):
                pass  # who cannot write what leaves finds out before anything does

    def note(self, kind: str, number: int, stage: str, nbytes: int, parts: Sequence[dict[str, Any]]) -> None:
        """Write that something is about to leave.

        Parameters
        ----------
        kind : of the message.
        number : of the merge, from 1; 0 for what is none.
        stage : which fit.
        nbytes : of the whole message.
        parts : its statistics, as `described` says them.

        Raises
        ------
        StorageError
            When the disk refuses; nothing is sent then.
        """
        with self._lock:
            self.sent += nbytes
            if self._path is None:
                return
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "kind": kind,
                "merge": number,
                "stage": stage,
                "bytes": nbytes,
                "parts": list(parts),
            }
            with disk_errors(self._path), self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def message_bytes(message: Message) -> int:
    """What a message takes on its way, without the head of its frame.

    Parameters
    ----------
    message : the message.
    """
    return len(message.text) + sum(array.nbytes for array in message.arrays)
