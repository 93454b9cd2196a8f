"""A model of MLflow's registry that is followed: `models:/name@alias` or `models:/name/3`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.errors import ArtifactError, ParameterError

SCHEME, FLAVOR = "models:/", "outgrow"
_URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_PAUSE_SECONDS = 1.0


def artifact_in(folder: str | os.PathLike[str], uri: str) -> Path:
    """Outgrow's own artifact in a model that MLflow has downloaded.

    Parameters
    ----------
    folder : where it lies.
    uri : what it was asked for by, for messages.

    Raises
    ------
    ArtifactError
        When it is a model of another flavor.
    """
    flavors = optional("mlflow.models", "track").Model.load(os.fspath(folder)).flavors
    if FLAVOR not in flavors:
        raise ArtifactError(
            f"{uri} has no model of outgrow, but {sorted(flavors)}. "
            "Load it with mlflow.pyfunc.load_model, or log it with outgrow.track.log_model."
        )
    return Path(folder) / str(flavors[FLAVOR]["data"])


class MLflowAlias:
    """Where an alias points: a thread asks once a second, so nobody waits for a registry that is slow.

    Each version is downloaded once.

    Parameters
    ----------
    uri : `models:/name@alias` or `models:/name/3`, of the registry that MLflow is set to.

    Raises
    ------
    ArtifactError
        When the registry cannot be asked, or has no such model.
    MissingExtraError
        When MLflow is not installed.
    ParameterError
        When it is no such URI.
    """

    def __init__(self, uri: str) -> None:
        match = _URI.fullmatch(uri)
        if match is None:
            raise ParameterError(f"{uri!r} is not like models:/name@alias or models:/name/3.")
        self.uri = uri
        self._name, self._alias, self._number = match["name"], match["alias"], match["version"]
        self._client = optional("mlflow", "track").MlflowClient()
        self._folder = Path(tempfile.mkdtemp(prefix="outgrow-mlflow-"))
        self._let_go = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._state: tuple[str, Path] | None = None
        self._problem: str | None = None
        self._ask()
        ended = threading.Event()
        weakref.finalize(self, ended.set)
        threading.Thread(
            target=_keep_asking, args=(weakref.ref(self), ended), name="outgrow-mlflow", daemon=True
        ).start()

    def located(self) -> tuple[str, Path]:
        """The version that is pointed to now, and the folder of its artifact.

        Raises
        ------
        ArtifactError
            When the registry could not be asked lately, or has no such alias any more.
        """
        problem, state = self._problem, self._state
        if problem is not None or state is None:
            raise ArtifactError(problem or f"{self.uri} was not asked for yet.")
        return state

    def _ask(self) -> None:
        try:
            version = self._version()
            key = f"{version.version} {version.source} {version.creation_timestamp}"
            target = self._folder / hashlib.sha256(key.encode()).hexdigest()[:16]
            if not target.exists():
                self._download(str(version.version), target)
            self._state, self._problem = (str(version.version), artifact_in(target, self.uri)), None
        except Exception as error:  # of MLflow, of HTTP, of SQL, of a store of artifacts
            lines = str(error).strip().splitlines() or [""]
            self._problem = f"{self.uri} cannot be had: {type(error).__name__}: {lines[0]}"

    def _version(self) -> Any:
        if self._alias is not None:
            return self._client.get_model_version_by_alias(self._name, self._alias)
        return self._client.get_model_version(self._name, self._number)

    def _download(self, number: str, target: Path) -> None:
        draft = target.with_name(f"{target.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        artifacts = optional("mlflow.artifacts", "track")
        uri = f"{SCHEME}{self._name}/{number}"
        Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(draft))).rename(target)


def _keep_asking(alias: weakref.ref[MLflowAlias], ended: threading.Event) -> None:
    while not ended.wait(_PAUSE_SECONDS):
        follower = alias()
        if follower is None:
            return
        follower._ask()
        del follower
