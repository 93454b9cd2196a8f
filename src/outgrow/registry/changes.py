"""What is to be written to the log of a store, and what is checked before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from outgrow import pointers, storage
from outgrow.errors import ArtifactError, LogError, ParameterError
from outgrow.log.record import encode
from outgrow.ml.core.estimator import Estimator
from outgrow.pointers import Pointer, Pointers
from outgrow.registry.facts import ADDED, MOVED, Facts, VersionInfo


@dataclass(frozen=True)
class Change:
    """A record to be.

    Attributes
    ----------
    kind, body, by, cause : as of `EventLog.append`.
    """

    kind: str
    body: Mapping[str, Any]
    by: str | None = None
    cause: str | None = None


def adopted(path: Path, versions: Sequence[int], facts: Facts, written: Pointers | None) -> list[Change]:
    """What is in the folder and should be in the log: versions whose process was killed, or an older store.

    Parameters
    ----------
    path : of the store.
    versions : those that are to be in the log.
    facts : all that the log says.
    written : what the file says.

    Raises
    ------
    LogError
        When the log has less than the file was made of.
    """
    if facts.position and written is not None and facts.position < written.position:
        raise LogError(
            f"{path / 'current'} was made of record {written.position}, but its log ends at record "
            f"{facts.position}: it was cut or replaced. Restore the log from a copy; or remove it, and the "
            "store begins a new one with its aliases as they are."
        )
    changes = [
        Change(
            ADDED,
            {
                "version": version,
                "digest": structure_digest(path / str(version)),
                "why": "was there without a record",
            },
        )
        for version in versions
        if version not in facts.versions
    ]
    if facts.position or written is None:
        return changes
    for alias, pointer in written.aliases.items():
        body = {"alias": alias, "from": None, "to": int(pointer.version), "percent": pointer.percent}
        changes.append(Change(MOVED, {**body, "why": "was there without a record"}))
    return changes


def structure_digest(folder: Path) -> str | None:
    """SHA-256 of a model's structure, which has the checksums of all else; None where it cannot be read."""
    try:
        return hashlib.sha256((folder / storage.STRUCTURE).read_bytes()).hexdigest()
    except OSError:
        return None


def check_unchanged(folder: Path, known: VersionInfo | None) -> None:
    """Refuse a version that is not as it was added.

    Parameters
    ----------
    folder : of the version.
    known : what the log says of it; None for nothing.

    Raises
    ------
    ArtifactError
        When it was damaged or replaced.
    """
    digest = structure_digest(folder)
    if digest is None:
        raise ArtifactError(f"{folder} is not a saved model: {storage.STRUCTURE} is missing.")
    if known is not None and known.digest not in (None, digest):
        raise ArtifactError(
            f"{folder} was changed after it was added: its structure has SHA-256 {digest[:12]}..., the log "
            f"says {str(known.digest)[:12]}.... Restore it from a copy, or add the model as a new version."
        )


def check_expected(alias: str, before: Pointer | None, expected: int | None) -> None:
    """Refuse to move an alias that somebody else has moved.

    Parameters
    ----------
    alias : its name.
    before : where it points.
    expected : the version it should point to; None for any.

    Raises
    ------
    ParameterError
        When it points elsewhere.
    """
    if expected is not None and (before is None or before.version != str(expected)):
        now = "nothing" if before is None else f"version {before.version}"
        raise ParameterError(
            f"The alias {alias} points to {now} and not to version {expected}, as was expected: somebody "
            "moved it. Look again, then decide."
        )


def check_model(model: Any) -> None:
    """Refuse what is no estimator, before a number is taken for it.

    Parameters
    ----------
    model : what is to be added.

    Raises
    ------
    ParameterError
        When it is a path, or an object of another library.
    """
    if not isinstance(model, Estimator):
        shown = repr(model) if model is None or isinstance(model, str) else type(model).__name__
        raise ParameterError(
            f"A version is a fitted estimator of outgrow, not {shown}. Read a saved one first: "
            "store.add(og.load(path))."
        )


def checked_notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a version as JSON has it, so that its record can be written once it is there.

    Parameters
    ----------
    notes : of the record. Decimal numbers become numbers, times text.

    Raises
    ------
    ParameterError
        When metrics or tags are no mapping, or anything in the notes is not JSON.
    """
    for name in ("metrics", "tags"):
        if not isinstance(notes[name], Mapping | None):
            raise ParameterError(f"{name}={notes[name]!r}: give a mapping, such as {name}={{'name': ...}}.")
    plain = {name: _plain(value) for name, value in notes.items()}
    try:
        encode(plain).encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"The notes of a version hold what is no text: {error}. Take it out.") from error
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    return value.isoformat() if isinstance(value, date) else value


def version_number(given: Any) -> int:
    """The number of a version, NumPy's integers too.

    Parameters
    ----------
    given : by a caller.

    Raises
    ------
    ParameterError
        When it is no whole number.
    """
    if isinstance(given, bool | np.bool_) or not isinstance(given, Integral):
        raise ParameterError(f"{given!r} is no version. Give its number, such as 2.")
    return int(given)


def checked_percent(alias: str, percent: Any) -> float | None:
    """The share of the requests that a canary answers.

    Parameters
    ----------
    alias : its name.
    percent : from 0 to 100; None where nothing is said.

    Raises
    ------
    ParameterError
        When it is no such share, or the alias is another.
    """
    if percent is None:
        return None
    if alias != pointers.CANARY:
        raise ParameterError(
            f"percent={percent} is the share of the alias {pointers.CANARY}, not of {alias}."
        )
    number = isinstance(percent, Real | Decimal) and not isinstance(percent, bool)
    if not number or not 0 <= float(percent) <= 100:
        raise ParameterError(f"percent={percent!r}: a share from 0 to 100 is needed.")
    return percent if isinstance(percent, int) else float(percent)
