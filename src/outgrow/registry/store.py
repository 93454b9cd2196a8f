"""Versions of a model in a folder, and readers that follow which of them is current."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow import artifact, storage
from outgrow.errors import ArtifactError, OutgrowError, OutputExistsError, ParameterError
from outgrow.ml.persistence import load
from outgrow.ml.predictor import Predictor

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Seconds until a version that could not be loaded is tried again."""


class ModelStore:
    """Versions of one model: a folder with an artifact for each, and a file that names the current one.

    Servers and streams that follow the folder take a version up as soon as it is promoted.

    Parameters
    ----------
    path : the folder; made by the first `add`.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
    >>> store = og.ModelStore(tempfile.mkdtemp() + "/double")
    >>> store.promote(store.add(og.LinearRegression().fit(X, y)))
    >>> store.add(og.Ridge().fit(X, y))
    2
    >>> store.versions, store.current
    ([1, 2], 1)
    >>> store.load().predict(np.array([[5.0]])).round(6).tolist()
    [10.0]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def versions(self) -> list[int]:
        """The versions there are, in their order."""
        if not self.path.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.path.iterdir() if re.fullmatch(r"\d+", entry.name))

    @property
    def current(self) -> int | None:
        """The version that was promoted last; None before any was."""
        try:
            return int((self.path / artifact.CURRENT).read_text())
        except FileNotFoundError:
            return None

    def add(self, model: Any) -> int:
        """Save a fitted model as the next version, without promoting it.

        Returns
        -------
        The version's number.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        1
        """
        while True:
            number = max(self.versions, default=0) + 1
            try:
                model.save(self.path / str(number))
            except OutputExistsError:
                continue  # somebody else took the number at the same moment
            return number

    def promote(self, version: int) -> None:
        """Make a version the current one, at once and as a whole.

        Raises
        ------
        ParameterError
            When there is no such version.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> store.promote(store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))))
        >>> store.current
        1
        """
        if version not in self.versions:
            raise ParameterError(f"{self.path} has no version {version}, but {self.versions}.")
        storage.write_file(self.path / artifact.CURRENT, f"{version}\n".encode(), overwrite=True)

    def load(self, version: int | None = None) -> Any:
        """A version's model, by default the current one's.

        Raises
        ------
        ArtifactError
            When there is no such version, or none was promoted.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> number = store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        >>> store.load(number).predict(np.zeros((1, 1))).tolist()
        [1.5]
        """
        if version is None:
            return load(self.path)
        return load(self.path / str(version))

    def __repr__(self) -> str:
        return f"ModelStore({str(self.path)!r})"


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
    """Looks whether a path has another model than it had: a store's current version, or an artifact.

    Parameters
    ----------
    path : of a `ModelStore` or of an artifact.

    Raises
    ------
    ArtifactError
        When there is no model at the path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seen: tuple[int, ...] = ()
        self._failed: tuple[int, ...] = ()
        self._pause = self._again = 0.0

    @property
    def settled(self) -> bool:
        """Whether the last look found nothing that could not be loaded."""
        return not self._failed

    def look(self) -> Version | None:
        """The model, if it is another than at the last look.

        One that could not be loaded is tried again after pauses that double; another one, at once.

        Raises
        ------
        ArtifactError
            When there is another model, and it cannot be loaded.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            self._failed = ()
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
        self._seen, self._failed = stamp, ()
        return version

    def _load(self) -> Version:
        folder = artifact.current_artifact(self.path)
        try:
            predictor = Predictor(load(folder))
        except OutgrowError:
            raise
        except Exception as error:
            raise ArtifactError(
                f"{folder} cannot be restored ({type(error).__name__}: {error}). It may be of another "
                "version of outgrow, or damaged: save the model again with the outgrow that serves it."
            ) from error
        name = folder.name if folder != self.path else _digest(folder)
        return Version(name, predictor)

    def _stamp(self) -> tuple[int, ...]:
        folder = storage.recovered(self.path)
        for name in (artifact.CURRENT, storage.STRUCTURE):
            try:
                facts = (folder / name).stat()
            except FileNotFoundError:
                continue
            return facts.st_ino, facts.st_mtime_ns, facts.st_size
        raise ArtifactError(
            f"{self.path} has neither a saved model nor a promoted version of one. "
            "Give the folder that model.save() wrote, or promote a version."
        )


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / storage.STRUCTURE).read_bytes()).hexdigest()[:12]
