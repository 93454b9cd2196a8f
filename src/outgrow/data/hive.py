"""Columns that the names of folders hold: `year=2024/` above a file is a column `year` of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

import pyarrow as pa

from outgrow.errors import SchemaError

_NULL = "__HIVE_DEFAULT_PARTITION__"
Keys = Mapping[str, str | None]


def folder_keys(path: str) -> dict[str, str | None]:
    """The keys in the folders above a file, as text; None for a null."""
    pairs = [part.split("=", 1) for part in PurePosixPath(path).parts[:-1] if "=" in part]
    return {unquote(name): None if value == _NULL else unquote(value) for name, value in pairs if name}


def names_folders(name: str) -> bool:
    """Whether folders called `name=value` are read as a column of that name."""
    return folder_keys(f"{name}=value/file") == {name: "value"} and name[0] not in "._" and "\0" not in name


def key_types(keys: Sequence[Keys]) -> dict[str, pa.DataType]:
    """The types of the keys of some files: whole numbers where all values are, else text."""
    names = dict.fromkeys(name for file_keys in keys for name in file_keys)
    return {name: _narrowest({file_keys.get(name) for file_keys in keys} - {None}) for name in names}  # type: ignore[arg-type]


def key_value(path: str, name: str, value: str | None, kind: pa.DataType) -> pa.Scalar:
    """The value of a key in a type.

    Parameters
    ----------
    path : a file below the folder, for the message.
    name : the key, as the folder has it before `=`.
    value : what stands behind `=`; None is null.
    kind : the type of the column.

    Raises
    ------
    SchemaError
        When it is none of that type.
    """
    try:
        return pa.scalar(value, pa.string()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"The folder {name}={value} above {path} is no {kind}, which the column {name!r} is. "
            "Rename the folder, or drop the column from the files."
        ) from error


def _narrowest(values: set[str]) -> pa.DataType:
    text = pa.array(sorted(values), pa.string())
    for kind in (pa.int32(), pa.int64()) if values else ():
        try:
            text.cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return pa.string()
