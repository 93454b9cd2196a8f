"""Values of a job that are set on the command line."""

from __future__ import annotations

from typing import Any

import yaml

from outgrow.data.yaml_files import YamlLoader
from outgrow.errors import JobFileError
from outgrow.job.model import Job, unknown


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump_yaml(document: dict[str, Any]) -> str:
    """A document as people write it: keys in their order, queries as blocks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def set_value(document: dict[str, Any], setting: str) -> None:
    """Change one value of the document, in place.

    Parameters
    ----------
    document : a job file as YAML has it, before it is checked.
    setting : KEY=VALUE. The key is a path with dots, in which a step is named by its number or its estimator,
        and the name of a parameter may follow `model` directly; the value is YAML.

    Raises
    ------
    JobFileError
        When the setting is not written so, or its path leads nowhere.
    """
    address, equals, text = setting.partition("=")
    keys = address.split(".")
    if not equals or not all(keys):
        raise JobFileError(f"--set {setting}: write it like --set model.C=0.1.")
    try:
        value = yaml.load(text, YamlLoader)
    except yaml.YAMLError as error:
        raise JobFileError(f"--set {setting}: {text!r} is not a YAML value.") from error
    at: Any = document
    for depth, key in enumerate(keys[:-1]):
        at = _inside(at, key, keys[: depth + 1], setting)
    if isinstance(at, list):
        at[_index(at, keys[-1], setting)] = value
    else:
        at[keys[-1]] = value


def _inside(at: Any, key: str, path: list[str], setting: str) -> Any:
    """The mapping or list under a key; through the name of an estimator to its parameters."""
    holder, index_or_key = (at, _index(at, key, setting)) if isinstance(at, list) else (at, key)
    if not isinstance(holder, list) and key not in holder:
        if len(path) == 1 and key not in Job.model_fields:
            raise JobFileError(f"--set {setting}: {unknown(key, Job.model_fields, 'key')}")
        holder[key] = {}
    if path == ["model"] or isinstance(holder, list):
        return _parameters(holder, index_or_key)
    if not isinstance(holder[index_or_key], dict | list):
        raise JobFileError(
            f"--set {setting}: {'.'.join(path)} is {holder[index_or_key]!r}, which has no keys."
        )
    return holder[index_or_key]


def _parameters(holder: Any, index_or_key: Any) -> Any:
    """The parameters of the estimator that stands there, made a mapping if it has none."""
    spec = holder[index_or_key]
    if isinstance(spec, str):
        holder[index_or_key] = spec = {spec: {}}
    if isinstance(spec, dict) and len(spec) == 1:
        (name,) = spec
        if spec[name] is None:
            spec[name] = {}
        return spec[name]
    return spec


def _index(steps: list[Any], key: str, setting: str) -> int:
    """A step by its number or by the name of its estimator."""
    names = [step if isinstance(step, str) else next(iter(step), "") for step in steps]
    if key.isdecimal() and int(key) < len(steps):
        return int(key)
    if names.count(key) == 1:
        return names.index(key)
    known = unknown(key, [*names, *map(str, range(len(steps)))], "step")
    raise JobFileError(f"--set {setting}: {known}")
