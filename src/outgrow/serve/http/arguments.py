"""The settings of a server from words of a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from outgrow.engine.memory import parse_size
from outgrow.errors import InputNotFoundError, ParameterError
from outgrow.pointers import divided
from outgrow.registry.mlflow_alias import SCHEME
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0}


def settings_of(
    path: str | None,
    models: Sequence[str],
    canaries: Sequence[str],
    shadows: Sequence[str],
    *,
    max_wait: str,
    max_body: str,
    timeout: str,
    **others: Any,
) -> Settings:
    """The settings that the words mean.

    Parameters
    ----------
    path : a saved model or a folder of its versions, perhaps with an alias behind an @, served under its
        folder's name; None for none.
    models : words NAME=PATH.
    canaries : words [NAME=]PATH@PERCENT; the name may be left out where one model is served.
    shadows : words [NAME=]PATH.
    max_wait, timeout : a time, like 2ms, 30s or 1m; seconds if it has no unit.
    max_body : a size with its unit, like 64MiB.
    **others : further fields of `Settings`, as they are.

    Raises
    ------
    ParameterError
        When one cannot be understood.
    """
    served: dict[str, Model] = {}
    if path is not None:
        name = path.removeprefix(SCHEME).partition("/")[0] if path.startswith(SCHEME) else ""
        served[name.partition("@")[0] or divided(path)[0].resolve().name] = Model(path)
    for text in models:
        name, separator, model_path = text.partition("=")
        if not separator or not name or not model_path or "/" in name:
            raise ParameterError(f"--model {text}: NAME=PATH is needed.")
        served[name] = Model(model_path)
    for text in canaries:
        name, model_path = _named(text, served, "--canary")
        model_path, separator, percent = model_path.rpartition("@")
        if not separator or not re.fullmatch(r"\d+(\.\d+)?%?", percent):
            raise ParameterError(f"--canary {text}: [NAME=]PATH@PERCENT is needed, like models/new@5.")
        served[name] = replace(served[name], canary=model_path, canary_percent=float(percent.rstrip("%")))
    for text in shadows:
        name, model_path = _named(text, served, "--shadow")
        served[name] = replace(served[name], shadow=model_path)
    return Settings(
        served,
        max_wait=parse_seconds(max_wait),
        max_body=parse_size(max_body),
        timeout=parse_seconds(timeout),
        **others,
    )


def parse_seconds(text: str) -> float:
    """'2ms', '1.5s', '1m' as seconds; a bare number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?", text.strip())
    if match is None:
        raise ParameterError(f"{text!r} is no time. Give it like 2ms, 1.5s or 1m.")
    return float(match[1]) * _UNITS[match[2] or "s"]


def token_of(path: str | None) -> str | None:
    """The token in a file, without the space around it."""
    if path is None:
        return None
    try:
        token = Path(path).read_text().strip()
    except FileNotFoundError as error:
        raise InputNotFoundError(f"--token-file: there is no file {path}.") from error
    if not token:
        raise ParameterError(f"--token-file: {path} is empty.")
    return token


def _named(text: str, served: dict[str, Model], option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        if len(served) != 1:
            raise ParameterError(f"{option} {text}: say for which model, as NAME=..., of {list(served)}.")
        return next(iter(served)), text
    if name not in served:
        raise ParameterError(f"{option} {text}: there is no model {name!r}, but {list(served)}.")
    return name, value
