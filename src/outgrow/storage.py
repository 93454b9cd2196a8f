"""Folders and files that appear whole or not at all, each written by one process at a time.

For a folder `name`, its parent holds what is under way. Whoever has a lock on `.name.lock` writes, alone; the
system frees the lock of a process that ends, however it ends. `.name.new` is filled, then renamed to `name`.
What it replaces is renamed to `.name.old` before, so that whoever finds no `name` but `.name.old` sees a
process that was killed between the two, and renames it back. Only folders that say that outgrow wrote them
are replaced. All of that are plain renamings and `flock`: it holds on local disks, and on remote file systems
as far as those lock files; where they refuse to, one process at a time may write a path.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from outgrow.errors import OutputBusyError, OutputExistsError, ParameterError, StorageError

MODEL, TABLE, RUN, SEARCH, STATES = "model", "table", "run", "search", "states"
"""What a folder can hold; it is replaced only by its like."""
INFO_FILE, STRUCTURE = ".outgrow", "model.json"
"""The file that says what a folder holds; of a model, its structure does."""
WAIT_SECONDS = 60.0
"""How long a short write waits for another process that writes the same path."""
_LOOK_SECONDS = 0.01
_NAME_BYTES = 200
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")
_DISK = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
    errno.EBUSY,
    errno.ENAMETOOLONG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
    errno.ENOTDIR,
}
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}

Pathlike = str | os.PathLike[str]


@dataclass(frozen=True)
class FolderInfo:
    """What the file in a folder says of it.

    Attributes
    ----------
    kind : what it holds.
    work : tells the run that writes it from others; None where a run does not go on after a kill.
    done : how many rows each table has, once all of them are written.
    made : of which model and rows it was made, as JSON has it; it does not tell runs from others.
    """

    kind: str
    work: str | None = None
    done: Mapping[str, int] | None = None
    made: Mapping[str, Any] | None = field(default=None, compare=False)


class StagedFolder:
    """A folder that is being written, by this process alone; `commit` moves it to its path.

    Attributes
    ----------
    folder : where to write.
    info : what its own file says of it.
    resumed : whether it is that of a run which was stopped.
    committed : whether it is at its path.
    """

    def __init__(self, shown: Path, info: FolderInfo, *, overwrite: bool) -> None:
        self.target = _resolved(shown)
        self.folder = _beside(self.target, "new")
        self.committed = False
        self._shown = shown
        self._overwrite = overwrite
        previous = read_info(self.folder)
        self.resumed = info.work is not None and previous is not None and replace(previous, done=None) == info
        self.info = previous if previous is not None and self.resumed else info
        if not self.resumed:
            self.restart()

    def restart(self) -> None:
        """Forget what has been written."""
        _remove(self.folder)
        self.folder.mkdir()
        self.note(None)

    @property
    def empty(self) -> bool:
        """Whether nothing has been written."""
        return not self.folder.is_dir() or {entry.name for entry in self.folder.iterdir()} <= {INFO_FILE}

    def note(self, done: Mapping[str, int] | None) -> None:
        """Note in its file that all rows are written."""
        self.info = replace(self.info, done=done)
        if self.info.kind != MODEL:
            update = self.folder / f"{INFO_FILE}.new"
            update.write_text(json.dumps(asdict(self.info)))
            update.replace(self.folder / INFO_FILE)

    def commit(self) -> None:
        """Move it to the path that it is written for."""
        check_free(self._shown, self.info.kind, overwrite=self._overwrite)
        old = _beside(self.target, "old")
        try:
            if os.path.lexists(self.target):
                self.target.rename(old)
            self.folder.rename(self.target)
        except BaseException as error:
            _restore(self.target)
            if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise _exists(self._shown) from error
            raise
        self.committed = True
        _sync(self.target.parent)
        _discard(old)


@contextmanager
def staged_folder(
    path: Pathlike,
    kind: str,
    *,
    overwrite: bool = False,
    work: str | None = None,
    wait: float = 0.0,
    made: Mapping[str, Any] | None = None,
) -> Iterator[StagedFolder]:
    """A folder to write into, for `StagedFolder.commit` to move to its path.

    Parameters
    ----------
    work : tells the run from others. With it, what was written before an error or a kill is there again when
        the same run is called anew; without it, it is removed.
    wait : seconds for which another process may go on writing the same path.
    made : as of `FolderInfo`.

    Raises
    ------
    OutputExistsError
        When `path` exists and `overwrite` is false, or it is nothing that outgrow wrote.
    OutputBusyError
        When another process writes it.
    StorageError
        When the disk refuses.
    """
    shown = Path(path)
    check_free(shown, kind, overwrite=overwrite)
    with disk_errors(shown):
        _resolved(shown).parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(shown), _writing(shown, wait):
        _restore(_resolved(shown))
        check_free(shown, kind, overwrite=overwrite)
        under = StagedFolder(shown, FolderInfo(kind, work, made=made), overwrite=overwrite)
        try:
            yield under
        finally:
            if not under.committed and (work is None or under.empty):
                _try_to_remove(under.folder)


@contextmanager
def new_directory(path: Pathlike, kind: str, *, overwrite: bool = False, wait: float = 0.0) -> Iterator[Path]:
    """A folder to write into, moved to `path` when the block ends without an error; see `staged_folder`.

    Parameters
    ----------
    path : where the folder is in the end; see `staged_folder`.
    kind : what the folder is, like `MODEL`; only a folder of this kind is replaced.
    overwrite : replace what is there.
    wait : seconds for which another process may go on writing the same path.
    """
    with staged_folder(path, kind, overwrite=overwrite, wait=wait) as under:
        yield under.folder
        under.commit()


def written_by(path: Pathlike, work: str | None) -> bool:
    """Whether a run has written a path, and has left no staged folder of it.

    Parameters
    ----------
    path : a folder.
    work : what tells the run from others, as `staged_folder` was given; None has written nothing.
    """
    target = _resolved(Path(path))
    placed, under = read_info(target), read_info(_beside(target, "new"))
    return work is not None and placed is not None and placed.work == work != getattr(under, "work", None)


def recovered(path: Pathlike) -> Path:
    """The path to read: what a killed process had moved aside is put back."""
    target = _resolved(Path(path))
    if os.path.lexists(target) or not os.path.lexists(_beside(target, "old")):
        return Path(path)
    with unreplaced(path) as folder:
        return folder


def drop_staged(path: Pathlike) -> None:
    """Forget what a run that failed has written, as it will not go on; unless another is at it."""
    under = _beside(_resolved(Path(path)), "new")
    if os.path.lexists(under):
        with suppress(OutputBusyError), disk_errors(Path(path)), _writing(Path(path), 0.0):
            _remove(under)


def drop_locks(folder: Pathlike) -> None:
    """Remove the locks in a folder that processes left which were killed; one that is held stays."""
    for lock in Path(folder).glob(".*.lock"):
        with suppress(OutputBusyError, OSError), _writing(lock.with_name(lock.stem.removeprefix(".")), 0.0):
            pass


def finish_replacement(path: Pathlike) -> None:
    """Finish a replacement whose process was killed after the new folder was at its path."""
    with unreplaced(path):
        pass


@contextmanager
def one_writer(path: Pathlike) -> Iterator[None]:
    """Be the only process and thread that works on a path in this way; others wait.

    Raises
    ------
    OutputBusyError
        When another does not end.
    StorageError
        When the disk refuses.
    """
    with disk_errors(Path(path)), _writing(Path(path), WAIT_SECONDS):
        yield


@contextmanager
def unreplaced(path: Pathlike) -> Iterator[Path]:
    """A path to read while no process replaces it."""
    shown = Path(path)
    target = _resolved(shown)
    old = _beside(target, "old")
    with ExitStack() as stack:
        if any(map(os.path.lexists, (target, old, _beside(target, "lock")))):
            with suppress(OSError):  # whoever reads may not be allowed to write
                stack.enter_context(_writing(shown, WAIT_SECONDS))
                _restore(target)
        yield old if old.is_dir() and not os.path.lexists(target) else shown


def read_info(folder: Path) -> FolderInfo | None:
    """What the file in a folder says of it; None without one."""
    try:
        document = json.loads((folder / INFO_FILE).read_bytes())
        return FolderInfo(document["kind"], document.get("work"), document.get("done"), document.get("made"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def check_free(path: Pathlike, kind: str | None = None, *, overwrite: bool) -> None:
    """Refuse a path that may not be written to.

    Parameters
    ----------
    path : of a folder or a file.
    kind : what the folder would be, like `MODEL`; None for a file.
    overwrite : a file, or a folder of this kind, may be there.

    Raises
    ------
    OutputExistsError
        When it exists and `overwrite` is false; or it is nothing that outgrow wrote, of another kind, or
        what this process works in.
    """
    shown = Path(path)
    target = _resolved(shown)
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise _exists(shown)
    if kind is None:
        if target.is_dir():
            raise OutputExistsError(f"{shown} is a folder. Choose another path for the file.")
        return
    present = _kind(target)
    if present != kind:
        what = "nothing that outgrow wrote" if present is None else f"a {present} and no {kind}"
        raise OutputExistsError(
            f"{shown} is {what}, so it is not replaced. Choose another path, or remove it."
        )
    if Path.cwd().is_relative_to(target):
        raise OutputExistsError(f"{shown} is the folder this process works in. Choose another path.")


def write_file(path: Pathlike, payload: bytes, *, overwrite: bool = False, durable: bool = True) -> None:
    """Write a file that appears whole or not at all.

    Parameters
    ----------
    durable : whether it also outlives a loss of power from the moment this returns.

    Raises
    ------
    OutputExistsError
        When `path` exists and `overwrite` is false, or it is a folder.
    StorageError
        When the disk refuses; nothing is left behind.
    """
    shown = Path(path)
    target = _resolved(shown)
    check_free(shown, overwrite=overwrite)
    with disk_errors(shown):
        target.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(shown), _writing(shown, WAIT_SECONDS):
        check_free(shown, overwrite=overwrite)
        under = _beside(target, "new")
        try:
            write_durably(under, payload, durable=durable)
            under.replace(target)
        except BaseException:
            under.unlink(missing_ok=True)
            raise
        if durable:
            _sync(target.parent)


def write_durably(path: Path, payload: bytes, *, durable: bool = True) -> None:
    """Write a file, which is replaced if it is there.

    Parameters
    ----------
    path : in a folder that is there.
    payload : all that it holds.
    durable : wait until the disk has it.
    """
    with open(path, "wb") as file:
        file.write(payload)
        file.flush()
        if durable:
            os.fsync(file.fileno())


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the error of a full or read-only disk into a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in _DISK:
            raise
        raise StorageError(
            error.errno,
            f"Cannot write {path}: {os.strerror(error.errno)}. Free space or choose another path.",
        ) from error


def working_folder(path: Pathlike) -> Path:
    """A folder for files that are no result, made if it is not there; links stay, as others may see them.

    Raises
    ------
    ParameterError
        When it is no path of a file system, or that of a file.
    StorageError
        When the disk refuses.
    """
    folder = Path(path).expanduser()
    if _resolved(folder).is_file():
        raise ParameterError(f"{path} is a file. Give a folder.")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _exists(shown: Path) -> OutputExistsError:
    return OutputExistsError(
        f"{shown} exists already. Choose another path, or pass overwrite=True (--overwrite)."
    )


def _kind(target: Path) -> str | None:
    """What outgrow wrote there: a kind, or None for what others wrote."""
    info = read_info(target)
    if info is not None:
        return info.kind
    try:
        with (target / STRUCTURE).open("rb") as file:
            head = file.read(64)
    except OSError:
        return None
    return MODEL if head.startswith(b'{"format": ') and b'"sha256"' in head else None


def _resolved(shown: Path) -> Path:
    """Where a path leads: what it is a link to is written, and the link stays."""
    if _URL.match(os.fspath(shown)):
        raise ParameterError(f"{shown} is no path of a file system. Write to a folder, mounted if need be.")
    try:
        return shown.expanduser().resolve()
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raise ParameterError(f"{os.fspath(shown)!r} is no path: {error}. Choose another.") from error


def _beside(target: Path, what: str) -> Path:
    """The hidden neighbour of a path for what is under way."""
    name = target.name
    if len(os.fsencode(name)) > _NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return target.parent / f".{name}.{what}"


@contextmanager
def _writing(shown: Path, wait: float) -> Iterator[None]:
    """Be the only one who writes a path."""
    lock, until = _beside(_resolved(shown), "lock"), time.monotonic() + wait
    while (handle := _locked(lock)) is None:
        if time.monotonic() >= until:
            raise OutputBusyError(f"Another process writes {shown}. Wait for it, or choose another path.")
        time.sleep(_LOOK_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def _locked(lock: Path) -> int | None:
    """The lock, unless another has it or has just removed its file."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = os.path.samestat(os.fstat(handle), os.stat(lock))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return handle
        os.close(handle)
        if isinstance(error, BlockingIOError | FileNotFoundError):
            return None
        raise
    if same:
        return handle
    os.close(handle)
    return None


def _restore(target: Path) -> None:
    """Undo a replacement that was not finished, and finish one that was."""
    old = _beside(target, "old")
    _try_to_remove(_beside(target, "gone"))
    if old.is_dir() and not os.path.lexists(target):
        old.rename(target)
    _discard(old)


def _discard(old: Path) -> None:
    """Remove a folder that was replaced; from its first file on nobody takes it for whole."""
    gone = old.with_name(f"{old.name.removesuffix('.old')}.gone")
    with suppress(OSError):  # the new one is at its path: what cannot go now goes at the next write
        old.rename(gone)
    _try_to_remove(gone)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _try_to_remove(path: Path) -> None:
    with suppress(OSError):
        _remove(path)


def _sync(folder: Path) -> None:
    """Wait until the disk knows the names in a folder, where the system lets it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
