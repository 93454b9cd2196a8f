"""Expectations as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from outgrow.data.yaml_files import YamlLoader
from outgrow.errors import InputNotFoundError, ParameterError


class _Dumper(yaml.SafeDumper):
    """Writes a list of values on a line."""


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.add_representer(list, _list)


def read_document(path: Path) -> dict[str, Any]:
    """The mapping in a file.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    ParameterError
        When it holds something else.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), YamlLoader)
    except (FileNotFoundError, IsADirectoryError):
        raise InputNotFoundError(
            f"There is no file of expectations at {path}. Learn one: outgrow expect DATA -o {path}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(document, Mapping):
        raise ParameterError(f"{path} holds no expectations: it must be a mapping with columns.")
    return dict(document)


def dump_document(document: Mapping[str, Any]) -> str:
    """A mapping as people write it: keys in their order, a list on a line."""
    return str(yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
