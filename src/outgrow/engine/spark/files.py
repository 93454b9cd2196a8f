"""Spark DataFrames that are nothing but Parquet files, as sources that ranks read by themselves."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa

from outgrow.data.files import FilesSource, open_files
from outgrow.data.plain import plain_schema
from outgrow.data.scan import Scan, Select
from outgrow.data.text import TextOptions
from outgrow.engine.spark.frames import FrameSource
from outgrow.engine.spark.plans import is_kept
from outgrow.engine.spark.vector_files import VectorFilesSource
from outgrow.engine.spark.vectors import is_stored_vector
from outgrow.errors import OutgrowError


def parquet_files(source: FrameSource) -> FilesSource | VectorFilesSource | None:
    """The files whose rows and columns a DataFrame has as they are; None for any other DataFrame.

    Ranks then read them by themselves. Files that this process does not see, and those in folders like
    `key=value`, are left to Spark, and so is what it reads as other types than Arrow does.

    Parameters
    ----------
    source : the DataFrame.
    """
    paths = source.paths
    if not paths or is_kept(source.frame):
        return None
    with suppress(OutgrowError):  # whatever Arrow refuses in the files, Spark may take
        files = open_files(paths, "parquet", TextOptions())
        files.pieces()
        stored = plain_schema(files.schema)
        if isinstance(files, FilesSource) and all(
            name in stored.names and _is_stored(source, name, stored.field(name).type)
            for name in source.schema.names
        ):
            return VectorFilesSource(source, files) if source.vectors else files
    return None


def _is_stored(source: FrameSource, name: str, kind: pa.DataType) -> bool:
    """Whether a column of a DataFrame is stored in the form in which ranks take it."""
    if name in source.vectors:
        return is_stored_vector(kind)
    return bool(kind == source.schema.field(name).type)


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
