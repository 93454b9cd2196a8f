"""Which files a Spark DataFrame is a plain read of, told by Spark's own comparison of plans."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq

from outgrow.data.ipc import READ_ERRORS
from outgrow.data.paths import literal_path
from outgrow.engine.spark.explain import from_spark
from outgrow.engine.spark.names import quoted

_MANY = 32
"""More files than these Spark lists in a job; then only their folder is tried."""


def read_paths(frame: Any) -> list[str]:
    """The Parquet files, sorted, whose rows and columns a DataFrame has as they are; none for any other.

    Files that this process does not see, and those in folders like `key=value`, are left to Spark.

    Parameters
    ----------
    frame : of a session that is no Spark Connect one.
    """
    paths = [_local_path(uri) for uri in frame.inputFiles()]
    plain = all(paths) and paths and not is_kept(frame) and _is_read_of(frame, paths)
    return sorted(paths) if plain else []


def is_kept(frame: Any) -> bool:
    """Whether Spark holds the rows of a DataFrame: they are those of another time than files are."""
    level = frame.storageLevel
    return bool(level.useMemory or level.useDisk)


def _local_path(uri: str) -> str:
    """The path of a file that this process sees; '' for others."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    return path if parts.scheme == "file" and "=" not in path and os.path.isfile(path) else ""


def _is_read_of(frame: Any, paths: list[str]) -> bool:
    """Whether Spark reads the same from these files, or from the folder that has them and no others."""
    folders = {os.path.dirname(path) for path in paths}
    wholes = [[folder] for folder in folders if len(folders) == 1 and _seen(folder) == set(paths)]
    named = [paths] if len(paths) <= _MANY else []
    columns = _stored_columns(paths[0])
    return any(_is_read(frame, places, columns) for places in wholes + named)


def _seen(folder: str) -> set[str]:
    """What Spark sees in a folder."""
    return {os.path.join(folder, name) for name in os.listdir(folder) if not name.startswith(("_", "."))}


def _is_read(frame: Any, places: list[str], columns: list[str] | None) -> bool:
    reader = frame.sparkSession.read
    # told the columns, Spark runs no job to look for them
    reader = reader.schema(frame.schema) if frame.columns == columns else reader
    try:
        read = reader.parquet(*map(literal_path, places))
    except Exception as error:
        if not from_spark(error):
            raise
        return False
    if not set(frame.columns) <= set(read.columns):
        return False
    chosen = read.select(*map(quoted, frame.columns))
    whole = frame.columns == read.columns
    return bool((whole and frame.sameSemantics(read)) or frame.sameSemantics(chosen))


def _stored_columns(path: str) -> list[str] | None:
    """The columns of a file; None where it cannot be read."""
    with suppress(*READ_ERRORS):
        return list(pq.read_schema(path).names)
    return None
