"""What is to be written to the log of a store, and what is checked before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow import storage
from outgrow.errors import ArtifactError, LogError, ParameterError
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
