"""What a path or URI names: files, a table of a database, or of a lake."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from outgrow.data.database import SCHEMES, DatabaseSource, absolute_uri
from outgrow.data.dvc import DVC, find_dvc
from outgrow.data.files import check_no_text_options, open_files
from outgrow.data.hdf5 import Hdf5Source
from outgrow.data.images import IMAGES, ImagesSource
from outgrow.data.lake import DELTA, ICEBERG, DeltaSource, IcebergSource, Reference, is_delta
from outgrow.data.npy import ENDING, NPY, NpySource
from outgrow.data.paths import FORMATS, find
from outgrow.data.scan import Origin
from outgrow.data.source import Source
from outgrow.data.text import TextOptions
from outgrow.errors import InputNotFoundError

KINDS = (*FORMATS.values(), IMAGES, NPY)
"""Formats that a record names as the kind of its files, whatever their endings."""
_SECRET = re.compile(r"://[^/@\s]*@(?=[^/]*(/|$))")
"""A user and password in front of a host or bucket."""


def open_path(
    path: str | os.PathLike[str] | Sequence[Any], format: str | None, options: TextOptions
) -> Source:
    """The rows that a path or URI names.

    Parameters
    ----------
    path : a file, a folder, a pattern or a list of them, or the URI of a table.
    format : of files, where their endings do not tell; 'delta' for the folder of a Delta table,
        'images' for a folder of images, 'npy' for one of arrays.
    options : how text is read.

    Raises
    ------
    ParameterError
        When options of text are given for what is no text.
    """
    source = _table(path, format)
    if source is None:
        return open_files(path, format, options)
    check_no_text_options(options, str(path), "a table")
    return source


def named_path(path: Any) -> tuple[Any, Origin | None]:
    """What to open for a path that a user gave, and how it is recorded.

    Parameters
    ----------
    path : as of `open_path`, or a path that DVC keeps.

    Returns
    -------
    For a list of paths, which its files say, no origin.

    Raises
    ------
    InputNotFoundError
        When the path is empty, as of a variable that was not set.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        return path, None
    if not text.strip():
        raise InputNotFoundError("The path is empty. Name a file or a folder; '.' is the folder you are in.")
    if text.startswith(f"{DVC}://"):
        kept = find_dvc(text.removeprefix(f"{DVC}://"))
        return kept.path, Origin(kept.uri, DVC, kept.revision)
    text = os.path.expanduser(text)
    whole = absolute_uri(_SECRET.sub("://", text)) if "://" in text else os.path.abspath(text)
    return text, Origin(whole)


def _table(path: Any, format: str | None) -> Source | None:
    """A table of a database or a lake; None for files."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        return None
    scheme, separator, rest = text.partition("://")
    if format == IMAGES:
        return ImagesSource(text)
    if format == NPY or (format is None and text.lower().endswith(ENDING)):
        return NpySource(text)
    if separator and scheme in SCHEMES:
        return DatabaseSource(text)
    if separator and scheme == ICEBERG:
        return IcebergSource(Reference.of(rest))
    if separator and scheme == DELTA:
        return DeltaSource(Reference.of(rest))
    if format == DELTA or (format is None and not os.path.exists(text) and is_delta(Reference.of(text).path)):
        return DeltaSource(Reference.of(text))
    if format is None and is_delta(text):
        return DeltaSource(Reference(text))
    if "::" in text and not os.path.exists(text):
        file, _, group = text.partition("::")
        return Hdf5Source(*find(file), group or "/")
    return None
