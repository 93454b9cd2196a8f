"""Temporary folders with an owner: removed with it, or by the next process that makes one if it was killed.

Whoever uses a folder has a lock on a file in it, which the system frees when the process ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "outgrow-"
READING, USING = "reading", "using"
"""Locks in a folder: of who fills it, and of all who use it."""


@contextmanager
def temporary_folder(what: str, parent: str | None = None) -> Iterator[Path]:
    """A folder of this process; folders whose processes are gone are removed on the way.

    A fork of this process does not remove it, whatever it leaves or ends: its parent has it still.

    Parameters
    ----------
    what : a word for its name, which says who made it.
    parent : where it lies; by default where the system has temporary files.

    Examples
    --------
    >>> with temporary_folder("example") as folder:
    ...     folder.is_dir()
    True
    >>> folder.exists()
    False
    """
    parent, owner = parent or tempfile.gettempdir(), os.getpid()
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{what}-", dir=parent))
    handle = os.open(folder / f".{USING}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        (folder / f".{USING}").rename(folder / USING)  # under this name it is locked from the beginning
        yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sweep(parent: str | None = None) -> None:
    """Remove the folders that no process uses any more."""
    with suppress(OSError):
        for folder in Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):
                if folder.lstat().st_uid == os.getuid() and (folder / USING).exists():
                    _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    handles: list[int] = []
    try:
        for name in (READING, USING):
            if (folder / name).exists():
                handles.append(os.open(folder / name, os.O_RDWR))
                fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        for handle in handles:
            os.close(handle)
