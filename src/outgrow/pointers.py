"""Which version each alias of a folder of versions points to: one small file, replaced as a whole.

What follows a model reads this file and nothing else. Who moved what is in the store's log, of which the file
is a view.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outgrow.errors import ArtifactError, ParameterError

CURRENT = "current"
"""The file in a folder of several versions that says what its aliases point to."""
CHAMPION, CANARY, SHADOW, STAGING, ARCHIVED = "champion", "canary", "shadow", "staging", "archived"
LATEST = "latest"
"""Not an alias, but the version with the highest number."""
_WORDS = {"production": CHAMPION, CURRENT: CHAMPION}
"""Other words for an alias."""
_ALIAS = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")
_FORMAT = 1


@dataclass(frozen=True)
class Pointer:
    """Where an alias points.

    Attributes
    ----------
    version : the name of a folder.
    percent : the share of the requests that it answers; None where nothing was said.
    """

    version: str
    percent: float | None = None


@dataclass(frozen=True)
class Pointers:
    """What the file says.

    Attributes
    ----------
    aliases : by their names.
    name : of the model in its log; None where there is no log yet.
    log : the URI of the log; None where it lies in the folder.
    position : of the last record of the log that the file knows.
    size : bytes that a log in the folder had then.
    """

    aliases: Mapping[str, Pointer] = field(default_factory=dict)
    name: str | None = None
    log: str | None = None
    position: int = 0
    size: int = 0

    def encode(self) -> bytes:
        """The file's bytes."""
        aliases = {
            alias: {"version": pointer.version}
            | ({} if pointer.percent is None else {"percent": pointer.percent})
            for alias, pointer in sorted(self.aliases.items())
        }
        head = {"format": _FORMAT, "name": self.name, "log": self.log}
        document = head | {"position": self.position, "size": self.size, "aliases": aliases}
        return json.dumps(document, indent=1).encode() + b"\n"


def read(folder: Path) -> Pointers | None:
    """What the file in a folder says; None where there is none.

    Raises
    ------
    ArtifactError
        When it is damaged, newer than we are, or names what is no version in this folder.
    """
    file = folder / CURRENT
    try:
        text = file.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{file} is damaged: {error}. Promote a version anew.") from error
    if not text.startswith("{"):  # as it was before there were aliases
        return Pointers({CHAMPION: Pointer(_folder_name(file, text))})
    try:
        return _parsed(file, json.loads(text))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{file} is damaged: {error}. Restore it from a copy.") from error


def divided(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """A path, and what stands behind its @: an alias or a version. A path that is there stays whole."""
    text = os.path.expanduser(path)
    stem, at, wanted = text.rpartition("@")
    if not at or not stem or not wanted or "/" in wanted or os.path.lexists(text):
        return Path(text), None
    return Path(stem), wanted


def version_folder(folder: Path, pointers: Pointers | None, wanted: str | None) -> Path:
    """The folder of a version.

    Parameters
    ----------
    folder : of the versions.
    pointers : what its aliases point to; None where it has no such file.
    wanted : an alias, a number, or `LATEST`; None for the champion.

    Raises
    ------
    ArtifactError
        When there is no such alias.
    """
    if wanted is not None and wanted.isdigit():
        return folder / wanted
    if wanted == LATEST:
        entries = folder.iterdir() if folder.is_dir() else ()
        numbers = [int(entry.name) for entry in entries if entry.name.isdigit()]
        return folder / str(max(numbers, default=1))
    alias = CHAMPION if wanted is None else alias_name(wanted)
    aliases = {} if pointers is None else pointers.aliases
    if alias in aliases:
        return folder / aliases[alias].version
    there = ", ".join(f"{name} (version {pointer.version})" for name, pointer in aliases.items()) or "none"
    advice = "Promote a version" if alias == CHAMPION else "Set it"
    raise ArtifactError(f"{folder} has no alias {alias}; its aliases: {there}. {advice} first.")


def alias_name(word: str) -> str:
    """The alias that a word means: in small letters, and `champion` for MLflow's stage Production.

    Raises
    ------
    ParameterError
        When it can be none.
    """
    alias = word.lower()
    if not _ALIAS.fullmatch(alias) or alias == LATEST or re.fullmatch(r"v?\d+", alias):
        raise ParameterError(
            f"{word!r} can be no alias. Choose letters, digits, - _ . and not {LATEST} or a number."
        )
    return _WORDS.get(alias, alias)


def _parsed(file: Path, document: dict[str, Any]) -> Pointers:
    if document["format"] > _FORMAT:
        raise ArtifactError(
            f"{file} has format {document['format']}; this outgrow reads up to {_FORMAT}. Upgrade outgrow."
        )
    aliases = {
        alias: Pointer(_folder_name(file, str(entry["version"])), _percent(entry.get("percent")))
        for alias, entry in document["aliases"].items()
    }
    position, size = int(document["position"]), int(document["size"])
    return Pointers(aliases, document["name"], document["log"], position, size)


def _percent(value: Any) -> float | None:
    if value is not None and not 0 <= float(value) <= 100:
        raise ValueError(f"{value} % is no share")
    return None if value is None else float(value)


def _folder_name(file: Path, name: str) -> str:
    if not name or name != Path(name).name or name.startswith("."):
        raise ArtifactError(f"{file} names {name!r}, which is no version in this folder.")
    return name
