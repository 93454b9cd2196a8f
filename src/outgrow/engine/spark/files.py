"""Spark DataFrames that are nothing but Parquet files, told by Spark's own comparison of plans."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from outgrow.data.files import FilesSource, open_files
from outgrow.data.paths import literal_path
from outgrow.data.plain import plain_schema
from outgrow.data.scan import Scan, Select
from outgrow.data.text import TextOptions
from outgrow.engine.spark.explain import from_spark
from outgrow.engine.spark.frames import FrameSource
from outgrow.engine.spark.names import quoted
from outgrow.engine.spark.supervise import is_connect
from outgrow.errors import OutgrowError

_MANY = 32
"""More files than these Spark lists in a job; then only their folder is tried."""


def parquet_files(source: FrameSource) -> FilesSource | None:
    """The files whose rows and columns a DataFrame has as they are; None for any other DataFrame.

    Ranks then read them by themselves. Files that this process does not see, and those in folders like
    `key=value`, are left to Spark, and so is what it reads as other types than Arrow does.

    Parameters
    ----------
    source : the DataFrame.
    """
    frame = source.frame
    if is_connect(frame.sparkSession) or source.vectors:
        return None
    paths = [_local_path(uri) for uri in frame.inputFiles()]
    if not all(paths) or not paths or not _is_read_of(frame, paths):
        return None
    with suppress(OutgrowError):  # whatever Arrow refuses in the files, Spark may take
        files = open_files(sorted(paths), "parquet", TextOptions())
        files.pieces()
        stored = plain_schema(files.schema)
        if isinstance(files, FilesSource) and all(
            name in stored.names and stored.field(name).type == source.schema.field(name).type
            for name in source.schema.names
        ):
            return files
    return None


def as_files(scan: Scan) -> Scan:
    """The scan over the files that its DataFrame reads as they are; any other scan as it is.

    Parameters
    ----------
    scan : of any source.
    """
    source = scan.source
    files = parquet_files(source) if isinstance(source, FrameSource) else None
    if files is None:
        return scan
    return Scan(files, (Select(tuple(source.schema.names)), *scan.steps))


def _local_path(uri: str) -> str:
    """The path of a file that this process sees; '' for others."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    return path if parts.scheme == "file" and "=" not in path and os.path.isfile(path) else ""


def _is_read_of(frame: Any, paths: list[str]) -> bool:
    """Whether Spark reads the same from these files, or from the folder that has them and no others."""
    level = frame.storageLevel
    if level.useMemory or level.useDisk:  # its rows are those of another time
        return False
    folders = {os.path.dirname(path) for path in paths}
    wholes = [[folder] for folder in folders if len(folders) == 1 and _seen(folder) == set(paths)]
    named = [paths] if len(paths) <= _MANY else []
    return any(_is_read(frame, places) for places in wholes + named)


def _seen(folder: str) -> set[str]:
    """What Spark sees in a folder."""
    return {os.path.join(folder, name) for name in os.listdir(folder) if not name.startswith(("_", "."))}


def _is_read(frame: Any, places: list[str]) -> bool:
    try:
        read = frame.sparkSession.read.parquet(*map(literal_path, places))
    except Exception as error:
        if not from_spark(error):
            raise
        return False
    if not set(frame.columns) <= set(read.columns):
        return False
    chosen = read.select(*map(quoted, frame.columns))
    whole = frame.columns == read.columns
    return bool((whole and frame.sameSemantics(read)) or frame.sameSemantics(chosen))
