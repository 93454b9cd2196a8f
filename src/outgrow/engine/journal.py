"""What a fit has learned so far: the merged states of its passes, in their order.

A fit is ordinary code that sees its rows only through passes. One that starts anew and is handed the states
that were merged before arrives, without touching a row, where the last one stopped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from outgrow.artifact import pack, unpack
from outgrow.data.scan import Scan
from outgrow.stats.state import from_tree, to_tree
from outgrow.storage import write_file

LIMIT = 1 << 30
"""Bytes of states that are kept; what comes after is not, and would be computed anew. Of snapshots the last
counts."""

_DIGEST = 16
_ENDING = ".state"


Identity = Callable[[], dict[str, Any]]
"""What is fitted, and how: a tree that an artifact could hold, made when it is asked for."""


PASS = "pass"


class Journal:
    """The states known beforehand, and where the next ones go.

    Parameters
    ----------
    known : entries of an earlier run of the same fit, in order.
    keep : takes the number and the content of each new entry; None where nobody wants them.
    """

    def __init__(self, known: Sequence[bytes] = (), keep: Callable[[int, bytes], None] | None = None) -> None:
        self.written = 0
        self._known = list(known)
        self._place = 0
        self._keep = keep
        self._last = PASS, 0

    @property
    def keeps(self) -> bool:
        """Whether anybody wants new entries."""
        return self._keep is not None

    @property
    def used(self) -> bool:
        """Whether it holds entries, or will."""
        return self.keeps or bool(self._known)

    def knows(self, kind: str = PASS) -> bool:
        """Whether the next entry is known, and of this kind."""
        return self._place < len(self._known) and unpack(self._known[self._place])["kind"] == kind

    def recall(self) -> Any:
        """The next state that is known."""
        entry, self._place = unpack(self._known[self._place]), self._place + 1
        self._last = entry["kind"], 0
        return from_tree(entry["state"])

    def forget(self) -> None:
        """Take no more of what is known: what follows is computed anew."""
        del self._known[self._place :]

    def note(self, state: Any, kind: str = PASS) -> None:
        """Take the next place, and keep there a state that was computed, until `LIMIT` bytes are kept.

        A snapshot takes the place of the snapshot before it, if there was no pass between them.

        Parameters
        ----------
        state : what `to_tree` takes: a `State`, an array, or a tuple of those.
        kind : what `knows` asks for: a pass, or a word of the fit's own for its snapshots.
        """
        before, size = self._last
        if kind != PASS and kind == before:
            self._place, self.written = self._place - 1, self.written - size
        place, self._place = self._place, self._place + 1
        self._last = kind, 0
        if self._keep is None or self.written > LIMIT:
            return
        entry = pack({"kind": kind, "state": to_tree(state)})
        self.written += len(entry)
        self._last = kind, len(entry)
        self._keep(place, entry)


def open_checkpoint(folder: str | None, identity: Identity | None, scan: Scan) -> Checkpoint | None:
    """The place for the journal of one fit; None without a folder, or for what is not worth keeping.

    Parameters
    ----------
    folder : of the checkpoints of all fits; each has a folder in it, which its first entry makes.
    identity : what is fitted, and how; None for what is not worth keeping.
    scan : the rows. Other rows, like another version of outgrow, make it another fit.
    """
    if folder is None or identity is None:
        return None
    what = pack({"fit": identity(), "rows": scan.describe()["sha256"], "version": version("outgrow")})
    return Checkpoint(str(Path(folder).absolute() / hashlib.sha256(what).hexdigest()[:32]))


@dataclass(frozen=True)
class Checkpoint:
    """The journal of one fit in a folder of its own, so that it outlives the process."""

    path: str

    def entries(self) -> list[bytes]:
        """The entries on disk up to the first that is missing or damaged."""
        found: list[bytes] = []
        while True:
            path = self._file(len(found))
            if not path.exists():
                return found
            content = path.read_bytes()
            entry = content[_DIGEST:]
            if content[:_DIGEST] != _digest(entry):
                return found
            found.append(entry)

    def keep(self, place: int, entry: bytes) -> None:
        """Write an entry, whole or not at all.

        Parameters
        ----------
        place : its number, from 0; an entry that is there is replaced.
        entry : its content, to which a digest is added.

        Raises
        ------
        StorageError
            When the disk refuses.
        """
        write_file(self._file(place), _digest(entry) + entry, overwrite=True, durable=False)

    def clear(self) -> None:
        """Forget the fit: it is done."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, place: int) -> Path:
        return Path(self.path) / f"{place:08d}{_ENDING}"


def _digest(entry: bytes) -> bytes:
    return hashlib.blake2b(entry, digest_size=_DIGEST).digest()
