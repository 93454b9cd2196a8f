"""Rows that were computed once and stay as files for later sessions: by what they are, within a size."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FunctionType

from outgrow.data.scan import Apply, Scan, lasting_name
from outgrow.engine.protocol import Engine
from outgrow.errors import ParameterError
from outgrow.storage import disk_errors

_PREFIX, _DRAFT = "kept-", ".draft-"
_ENTRY, _USING = "entry.json", "using"


def kept_name(engine: Engine, scan: Scan) -> str:
    """A name for rows that any session gives them: of their plan, schema, and inputs with their dates.

    Parameters
    ----------
    engine : whose rows they are.
    scan : the rows.

    Raises
    ------
    ParameterError
        When nothing tells whether they are the same rows in another session.
    """
    for step in scan.steps:
        if isinstance(step, Apply) and not (
            isinstance(step.function, FunctionType) or lasting_name(step.function)
        ):
            raise ParameterError(
                f"cache(keep=True): rows after {step.describe()} cannot be told from others in another "
                "session. Keep the rows before it."
            )
    digest = engine.lasting_digest(scan)
    return _PREFIX + hashlib.sha256(digest.encode()).hexdigest()[:32]


class KeptRows:
    """A folder with the files of some rows, which no other process removes while this one has it open.

    Parameters
    ----------
    path : the folder; it exists.
    files : their names, in the order of the rows.
    """

    def __init__(self, path: Path, files: list[str], lock: int) -> None:
        self.path, self.files, self._lock = path, files, lock

    def close(self) -> None:
        """Let others remove the files; they stay."""
        os.close(self._lock)

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()


def kept_rows(folder: Path, name: str, write: Callable[[Path], list[str]], max_bytes: int | None) -> KeptRows:
    """The files of some rows: those of an earlier session, or else written now.

    Parameters
    ----------
    folder : where the folders of all kept rows are; it is made.
    name : of these rows.
    write : puts files into a folder, and gives their names.
    max_bytes : of all kept rows here; those that were not used for longest make room. None for no limit.

    Raises
    ------
    ParameterError
        When these rows alone take more.
    StorageError
        When the disk refuses; nothing is left behind.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        rows = _opened(folder / name)
        if rows is None:
            with _draft(folder, name) as draft:
                files = write(draft)
                size = _size(draft)
                if max_bytes is not None and size > max_bytes:
                    raise ParameterError(
                        f"cache(keep=True): the rows take {size:,} bytes, and max_bytes={max_bytes:,}. "
                        "Allow more, or keep fewer rows or columns."
                    )
                (draft / _ENTRY).write_text(json.dumps({"files": files, "bytes": size}))
                (draft / _USING).touch()
                with suppress(OSError):  # another process was faster
                    draft.rename(folder / name)
            rows = _opened(folder / name)
            assert rows is not None
        if max_bytes is not None:
            _make_room(folder, rows.path, max_bytes)
    return rows


def _opened(path: Path) -> KeptRows | None:
    try:
        lock = os.open(path / _USING, os.O_RDWR)
    except OSError:
        return None
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        entry = json.loads((path / _ENTRY).read_text())
    except OSError:  # removed before it was locked
        os.close(lock)
        return None
    os.utime(path / _ENTRY)
    return KeptRows(path, entry["files"], lock)


@contextmanager
def _draft(folder: Path, name: str) -> Iterator[Path]:
    """A folder that is gone afterwards, unless it was renamed."""
    draft = folder / f"{_DRAFT}{name}-{os.getpid()}"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, draft, ignore_errors=True)
        draft.mkdir()
        yield draft


def _make_room(folder: Path, current: Path, max_bytes: int) -> None:
    """Remove kept rows that nobody uses, longest unused first, until the rest fits."""
    entries = [path for path in folder.glob(f"{_PREFIX}*/{_ENTRY}") if path.parent != current]
    sizes = {path: _noted_size(path) for path in entries}
    total = _noted_size(current / _ENTRY) + sum(sizes.values())
    for path in sorted(entries, key=_used_at):
        if total <= max_bytes:
            break
        if _removed(path.parent):
            total -= sizes[path]


def _removed(path: Path) -> bool:
    """Whether some kept rows could be removed: nobody has them open."""
    with suppress(OSError):
        lock = os.open(path / _USING, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            return True
        finally:
            os.close(lock)
    return False


def _noted_size(path: Path) -> int:
    with suppress(OSError):
        return int(json.loads(path.read_text())["bytes"])
    return 0


def _used_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
