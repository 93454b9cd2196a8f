"""Names and types of columns as a JSON file, which people may write and read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow.errors import InputNotFoundError, ParameterError
from outgrow.storage import write_file

_TIMESTAMP = re.compile(r"timestamp\[(\w+), tz=(.+)\]")
_DECIMAL = re.compile(r"decimal(?:128)?\((\d+), (-?\d+)\)")
_LIST = re.compile(r"list<\w+: (.+)>")


def write_types(schema: pa.Schema, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the types of columns, for `og.read(..., types=path)`.

    Parameters
    ----------
    schema : names and types; dictionaries are written as what they hold.
    path : the file.
    overwrite : whether a file that is there already may be replaced.

    Raises
    ------
    OutputExistsError
        When the path exists and `overwrite` is false.
    """
    types = {field.name: str(_plain(field.type)) for field in schema}
    write_file(path, f"{json.dumps(types, indent=2, ensure_ascii=False)}\n".encode(), overwrite=overwrite)


def read_types(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_types` wrote, or a person: a JSON object of names and types.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    ParameterError
        When it holds something else.
    """
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputNotFoundError(f"No file of types at {os.fspath(path)!r}. Check the path.") from None
    except (ValueError, OSError) as error:
        raise ParameterError(f"{os.fspath(path)} cannot be read as JSON: {error}.") from None
    if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
        raise ParameterError(f'{os.fspath(path)} holds no types. Write {{"name": "type", ...}} into it.')
    return dict(given)


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type that has a name, those with parameters too.

    Raises
    ------
    ValueError
        When there is none.

    Examples
    --------
    >>> arrow_type("list<item: decimal128(10, 2)>")
    ListType(list<item: decimal128(10, 2)>)
    """
    if match := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(match[1], match[2])
    if match := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(match[1]), int(match[2]))
    if match := _LIST.fullmatch(name):
        return pa.list_(arrow_type(match[1]))
    return pa.type_for_alias(name)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
