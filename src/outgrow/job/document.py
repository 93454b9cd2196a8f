"""A YAML file that people write, with the line of each key, so that faults say where they are."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from outgrow.data.yaml_files import YamlLoader
from outgrow.errors import InputNotFoundError, JobFileError

_NO_KEYS = "model_type", "model_attributes_type", "dict_type"
_NO_TEXT = (bool, int, float, datetime.date)
"""What YAML makes of words like `on`, and of digits."""
KeyPath = tuple[str | int, ...]


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Parameters
    ----------
    path : of the file.
    what : it should be: 'job', 'policy'.
    """
    try:
        return path.read_text()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputNotFoundError(f"No {what} file at {path}. Give the path of a YAML file.") from error
    except UnicodeDecodeError as error:
        raise JobFileError(f"{path} is not text: {error}. Give the path of a YAML file.") from error


def parse(text: str, path: str, what: str, keys: Iterable[str]) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The document, and the line of each of its keys.

    Parameters
    ----------
    text, path : of the file.
    what : it should be: 'job', 'policy'.
    keys : it may have.

    Raises
    ------
    JobFileError
        When it is not YAML, or no mapping, or has a key twice.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)  # a key twice is told with its whole path
        lines: dict[KeyPath, int] = {}
        _collect_lines(node, (), lines, path)
        document = yaml.load(text, YamlLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise JobFileError(f"{path} is not YAML: {reason}. Correct that line.") from error
    if not isinstance(document, dict):
        raise JobFileError(f"{path} holds no {what}: it must be a mapping with {', '.join(keys)}.")
    return document, lines


def _collect_lines(node: Any, key_path: KeyPath, lines: dict[KeyPath, int], path: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*key_path, i)] = item.start_mark.line + 1
            _collect_lines(item, (*key_path, i), lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        at = (*key_path, key.value)
        if at in lines:
            raise JobFileError(
                f"{path}, line {key.start_mark.line + 1}: {_dotted(at)} is there already, "
                f"on line {lines[at]}. Keep one of them."
            )
        lines[at] = key.start_mark.line + 1
        _collect_lines(value, at, lines, path)


def fault(key_path: Sequence[Any], error: Any, what: str) -> tuple[KeyPath, str]:
    """Where and what is wrong, of an error of pydantic's.

    Parameters
    ----------
    key_path : of the value.
    error : as `ValidationError.errors()` has it.
    what : the file is: 'job', 'policy'.
    """
    context = error.get("ctx", {})
    if error["type"] == "unknown":
        return (*key_path, context["key"]), context["text"]
    if error["type"] == "missing":
        return tuple(key_path), f"is missing, and a {what} needs it."
    if error["type"] in _NO_KEYS:
        example = (
            f", as in {key_path[-1]}: {{path: {error['input']}}}" if tuple(key_path) == ("data",) else ""
        )
        return tuple(key_path), f"holds keys of its own{example}, and not {error['input']!r}."
    reason = error["msg"].removeprefix("Value error, ")
    given = "" if isinstance(error["input"], dict | list) else f" (here: {error['input']!r})"
    advice = ""
    if error["type"] == "string_type" and isinstance(error["input"], _NO_TEXT):
        advice = ' YAML takes it for no text: write it in quotes, as in "on" or "2026"'
    return tuple(key_path), f"{reason[:1].lower()}{reason[1:]}{given}.{advice and advice + '.'}"


def located(key_path: KeyPath, text: str, lines: dict[KeyPath, int]) -> str:
    """A fault with its key and line.

    Parameters
    ----------
    key_path : of the value; that of a default has no line.
    text : what is wrong with it.
    lines : of the file's keys.
    """
    if not key_path:
        return text
    line = lines.get(key_path)
    return f"{_dotted(key_path)}{'' if line is None else f' (line {line})'}: {text}"


def _dotted(key_path: KeyPath) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in key_path).lstrip(".")
