"""Which files a path names: one file, a folder, a pattern, a list; local or remote; and what they hold."""

from __future__ import annotations

import fnmatch
import glob
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from outgrow._optional import optional
from outgrow.errors import DataError, InputNotFoundError, ParameterError
from outgrow.storage import recovered

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
    ".orc": "orc",
    ".avro": "avro",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
TEXT_FORMATS = ("csv", "tsv", "json")
_WHOLE = ("delta", "images", "npy")
"""What a folder may be as a whole."""
ZIP = "zip"
"""How archives are called, which Arrow does not open."""
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".zip": ZIP}
_MARKS = "*?["


def find(path: str | os.PathLike[str] | Sequence[Any]) -> tuple[Any, list[str]]:
    """The file system and the sorted files that a path, a folder, a pattern or a list of paths names.

    Raises
    ------
    InputNotFoundError
        When there is none.
    """
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(path, str):
        return _find_all(path)
    filesystem, root = _filesystem(path)
    info = filesystem.get_file_info(root)
    if info.type == pafs.FileType.NotFound and isinstance(filesystem, pafs.LocalFileSystem):
        root = os.fspath(recovered(root))
        info = filesystem.get_file_info(root)
    if info.type == pafs.FileType.Directory:
        files = [info.path for info in data_files(filesystem, root)]
    elif info.type != pafs.FileType.NotFound:
        files = [root]  # whatever its name, which may hold the marks of a pattern
    else:
        files = _match(filesystem, root) if any(mark in root for mark in _MARKS) else []
    if not files:
        raise InputNotFoundError(
            f"No data file at {path!r}. Check the path; known endings: {', '.join(FORMATS)}."
        )
    return filesystem, sorted(files)


def files_below(path: str | os.PathLike[str], endings: Sequence[str]) -> tuple[Any, str, list[Any]]:
    """The file system of a folder, its path there, and its files of some endings as `pyarrow.fs.FileInfo`.

    Parameters
    ----------
    path : a folder, local or a URI; or one file.
    endings : in small letters, with their dots.

    Raises
    ------
    InputNotFoundError
        When there is none.
    """
    filesystem, root = _filesystem(os.fspath(path))
    info = filesystem.get_file_info(root)
    if info.type == pafs.FileType.File:
        return filesystem, root.rpartition("/")[0], [info]

    def fits(name: str) -> bool:
        return PurePosixPath(name.lower()).suffix in endings

    files = data_files(filesystem, root, fits) if info.type == pafs.FileType.Directory else []
    if not files:
        raise InputNotFoundError(
            f"No file at {os.fspath(path)!r} ends in {', '.join(endings)}. Check the path."
        )
    return filesystem, root, sorted(files, key=lambda file: file.path)


def data_files(filesystem: Any, folder: str, fits: Callable[[str], bool] | None = None) -> list[Any]:
    """The files of a folder and its sub-folders that hold data, as `pyarrow.fs.FileInfo`.

    Their ending, in capitals or not, names a format that is read; neither they nor a folder between begin
    with a dot or an underscore, as drafts and notes do.

    Parameters
    ----------
    filesystem : of `pyarrow.fs`.
    folder : a path on it.
    fits : whether a path is one of those; by default whether its ending names a format.
    """
    fits = is_data if fits is None else fits
    local = isinstance(filesystem, pafs.LocalFileSystem)
    infos = filesystem.get_file_info(
        list(_local_files(folder)) if local else pafs.FileSelector(folder, recursive=True)
    )
    return [
        info
        for info in infos
        if info.type == pafs.FileType.File and fits(info.path) and not is_hidden(info.path, folder)
    ]


def _local_files(folder: str) -> Iterator[str]:
    """The files of a folder and its sub-folders, but not those that a link leads to again from below."""
    above = {folder: frozenset({os.path.realpath(folder)})}
    for here, folders, files in os.walk(folder, followlinks=True):
        entered = above.pop(here)
        inside = (os.path.join(here, name) for name in folders if not is_hidden(name, ""))
        real = {path: os.path.realpath(path) for path in inside}
        new = {path: entered | {where} for path, where in real.items() if where not in entered}
        above |= new
        folders[:] = [os.path.basename(path) for path in new]
        yield from (os.path.join(here, name) for name in files)


def is_data(name: str) -> bool:
    """Whether the ending of a file says that it holds data."""
    try:
        format_of(name)
    except DataError:
        return False
    return True


def format_of(name: str) -> str:
    """The format that the ending of a file names.

    Raises
    ------
    DataError
        When it names none.
    """
    path = PurePosixPath(name.lower())
    known = FORMATS.get(path.suffix)
    if compression_of(name) is not None:
        known = FORMATS.get(PurePosixPath(path.stem).suffix)
        known = known if known in TEXT_FORMATS else None
    if known is None:
        raise DataError(
            f"The format of {name!r} is not known from its ending ({', '.join(FORMATS)}). Pass format=."
        )
    return known


def compression_of(name: str) -> str | None:
    """How a file is compressed, as Arrow calls it, or `ZIP`; None where it is not."""
    return _COMPRESSED.get(PurePosixPath(name.lower()).suffix)


def literal_path(path: str) -> str:
    """A path in which Spark sees no pattern."""
    return re.sub(r"([\\*?{}\[\]])", r"\\\1", path)


def common_format(files: Sequence[str], format: str | None) -> str:
    """The format of all files of a dataset.

    Parameters
    ----------
    files : paths; at least one, whose ending counts where no format is given.
    format : what the user says; None for what the endings say.

    Raises
    ------
    ParameterError
        When the format that was given is not known.
    DataError
        When they have several.
    """
    if format is not None:
        if format not in FORMATS.values():
            known = sorted({*FORMATS.values(), *_WHOLE})
            raise ParameterError(f"format={format!r} is not known. Give one of {', '.join(known)}.")
        return format
    first = format_of(files[0])
    for name in files:
        if format_of(name) != first:
            raise DataError(
                f"{files[0]} and {name} are of different formats. Read them separately, or pass format=."
            )
    return first


def file_record(filesystem: Any, paths: Sequence[str]) -> dict[str, Any]:
    """The files with sizes and dates, for the record.

    Parameters
    ----------
    filesystem : of `pyarrow.fs`.
    paths : files on it.

    Returns
    -------
    Under 'files' for each its path, bytes and time of change.
    """
    infos = filesystem.get_file_info(list(paths))
    return {"files": [{"path": info.path, "bytes": info.size, "modified": str(info.mtime)} for info in infos]}


def unreadable(path: str, error: Exception) -> DataError | InputNotFoundError:
    """The error for a file whose bytes are not what they should be, or that is gone.

    Parameters
    ----------
    path : the file.
    error : what reading it raised; the first line of its message is shown.
    """
    if isinstance(error, FileNotFoundError):
        return InputNotFoundError(
            f"{path} is not there any more: it was removed after these rows were opened. Write it again, or "
            "open what is there now."
        )
    reason = json.dumps(str(error).splitlines()[0])[1:-1]
    return DataError(
        f"{path} cannot be read: {reason}. It may be truncated or of another format; write it again."
    )


def replaced_since(path: str, how: str) -> DataError:
    """The error for a file that is another one than when its rows were opened.

    Parameters
    ----------
    path : the file.
    how : what tells so.
    """
    return DataError(f"{path} was replaced after these rows were opened: {how}. Open them again.")


def _find_all(paths: Any) -> tuple[Any, list[str]]:
    if isinstance(paths, bytes):
        raise InputNotFoundError(f"A path is text, and {paths!r} is bytes. Give os.fsdecode(path).")
    if isinstance(paths, Iterator | Set) and not hasattr(paths, "__arrow_c_stream__"):
        raise InputNotFoundError(f"A {type(paths).__name__} is no list of paths. Give sorted(paths).")
    if not isinstance(paths, Sequence):
        raise InputNotFoundError(
            f"A {type(paths).__name__} is no path. Rows in memory become a dataset by og.dataset(...)."
        )
    if not paths:
        raise InputNotFoundError("An empty list of paths was given. Name at least one file.")
    named = [find(path) for path in paths]
    first = named[0][0]
    if any(not first.equals(filesystem) for filesystem, _ in named):
        raise DataError(f"The paths {list(paths)} lie in different file systems. Read them separately.")
    return first, [file for _, files in named for file in files]


def _filesystem(path: str) -> tuple[Any, str]:
    if "://" not in path:
        # tasks of a cluster stand in other folders
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    try:
        return pafs.FileSystem.from_uri(path)
    except pa.ArrowInvalid:
        scheme = path.partition("://")[0]
        try:
            remote, root = optional("fsspec", "remote").core.url_to_fs(path)
        except ValueError as error:
            raise InputNotFoundError(
                f"No file system is known for {scheme!r} in {path!r}: {error}. Of databases sqlite://, "
                "duckdb:// and postgresql:// are read."
            ) from error
        return pafs.PyFileSystem(pafs.FSSpecHandler(remote)), root


def _match(filesystem: Any, pattern: str) -> list[str]:
    pattern = _with_literal_start(filesystem, pattern)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return [name for name in glob.glob(pattern, recursive=True) if is_data(name)]
    fixed = pattern[: min(pattern.find(mark) for mark in _MARKS if mark in pattern)].rpartition("/")[0]
    inside = [info.path for info in data_files(filesystem, fixed)]
    return [name for name in inside if fnmatch.fnmatchcase(name, pattern)]


def _with_literal_start(filesystem: Any, pattern: str) -> str:
    """A pattern in which the marks are taken literally as far as there are folders of such names."""
    parts = pattern.split("/")
    for count in range(len(parts) - 1, 0, -1):
        start = "/".join(parts[:count])
        if any(mark in start for mark in _MARKS) and _is_folder(filesystem, start):
            return "/".join([glob.escape(start), *parts[count:]])
    return pattern


def _is_folder(filesystem: Any, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type == pafs.FileType.Directory)


def is_hidden(name: str, folder: str) -> bool:
    """Whether a part of a path below a folder begins with a dot or an underscore.

    Parameters
    ----------
    name : the path of a file, which begins with that of the folder.
    folder : the path below which parts count; its own parts do not.
    """
    return any(part[:1] in "._" for part in PurePosixPath(name[len(folder) :].lstrip("/")).parts)
