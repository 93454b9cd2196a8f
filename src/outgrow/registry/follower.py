"""Who takes up another version of a model: servers, streams and pipes look where a path points now."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from outgrow import pointers, storage
from outgrow.errors import ArtifactError, OutgrowError
from outgrow.ml.persistence import load
from outgrow.ml.predictor import Predictor
from outgrow.registry.mlflow_alias import SCHEME, MLflowAlias
from outgrow.registry.state import StoreState

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Seconds until a version that could not be loaded is tried again."""
Stamp = tuple[str, int, int, int]


@dataclass(frozen=True, eq=False)
class Version:
    """A model as it was at one moment.

    Attributes
    ----------
    name : the number in a store; for an artifact alone, the beginning of its digest.
    """

    name: str
    predictor: Predictor


class Follower:
    """Looks whether a path has another model than it had: where an alias of a store points, or an artifact.

    Parameters
    ----------
    path : of an artifact; of a `ModelStore`, whose champion is followed; or with another alias or a version
        behind an @, like `store@canary` or `store@3`. Of MLflow's registry: `models:/name@alias`.
    public_key : the file with the key that models must be signed with; None for no such need.

    Raises
    ------
    ArtifactError
        When there is no model at the path.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None
    ) -> None:
        self._public_key = public_key
        self._remote = MLflowAlias(str(path)) if str(path).startswith(SCHEME) else None
        self.path, self._wanted = pointers.divided(path)
        self._state = StoreState(self.path)
        self._seen: Stamp | None = None
        self._failed: Stamp | None = None
        self._pause = self._again = 0.0

    @property
    def settled(self) -> bool:
        """Whether the last look found nothing that could not be loaded."""
        return self._failed is None

    def look(self) -> Version | None:
        """The model, if it is another than at the last look.

        One that could not be loaded is tried again after pauses that double; another one, at once.

        Raises
        ------
        ArtifactError
            When there is another model, and it cannot be loaded; or there is none any more.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            self._failed = None
            return None
        if stamp == self._failed and time.monotonic() < self._again:
            return None
        try:
            version = self._load()
        except Exception:
            self._pause = (
                min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
                if stamp == self._failed
                else _FIRST_PAUSE_SECONDS
            )
            self._failed, self._again = stamp, time.monotonic() + self._pause
            raise
        self._seen, self._failed = stamp, None
        return version

    def _folder(self) -> Path:
        """The artifact that the path leads to now."""
        if self._remote is not None:
            return self._remote.located()[1]
        path = storage.recovered(self.path)
        known = self._state.pointers()
        if known is None and self._wanted is None:
            return path
        return pointers.version_folder(path, known, self._wanted)

    def _load(self) -> Version:
        folder = self._folder()
        if not (folder / storage.STRUCTURE).exists():
            raise ArtifactError(self._missing(folder))
        try:
            predictor = Predictor(load(folder, public_key=self._public_key))
        except OutgrowError:
            raise
        except Exception as error:
            raise ArtifactError(
                f"{folder} cannot be restored ({type(error).__name__}: {error}). It may be of another "
                "version of outgrow, or damaged: save the model again with the outgrow that serves it."
            ) from error
        if self._remote is not None:
            return Version(self._remote.located()[0], predictor)
        return Version(folder.name if folder != self.path else _digest(folder), predictor)

    def _missing(self, folder: Path) -> str:
        if folder == self.path:
            return (
                f"{self.path} has neither a saved model nor a promoted version of one. "
                "Give the folder that model.save() wrote, or promote a version."
            )
        return f"{self.path} has no version {folder.name} any more. Restore it, or move the alias to another."

    def _stamp(self) -> Stamp:
        """What differs when the model does: which folder it is, and which file its structure is."""
        try:
            folder = self._folder()
            facts = storage.recovered(folder).joinpath(storage.STRUCTURE).stat()
        except (ArtifactError, OSError) as error:
            return type(error).__name__, 0, 0, 0  # what is wrong, `_load` says
        return str(folder), facts.st_ino, facts.st_mtime_ns, facts.st_size


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / storage.STRUCTURE).read_bytes()).hexdigest()[:12]
