"""A model store shown in MLflow's registry: told after the fact, never asked, never waited for."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Self

from outgrow._optional import optional
from outgrow.registry.store import ModelStore
from outgrow.track import flavor

log = logging.getLogger("outgrow.track")
VERSION_TAG = "outgrow.version"
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


class StoreMirror:
    """Keeps a registered model of MLflow as a store is: its versions, their tags, and its aliases.

    A thread looks at the store's log each second while the block lasts; what MLflow could not be told, as
    when its server was away, it is told later. Aliases that the store never had are left alone.

    Parameters
    ----------
    store : whose log is followed.
    uri : of MLflow's server or database; None for what MLflow is set to.
    name : of the registered model; that of the store if not given.
    """

    def __init__(self, store: ModelStore, uri: str | None = None, name: str | None = None) -> None:
        self.store = store
        self.name = name or store.name
        self._uri = uri
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None

    def catch_up(self) -> int:
        """Tell MLflow all that it does not know; how many versions and aliases that were.

        Doing it again changes nothing.
        """
        mlflow = optional("mlflow", "track")
        client = mlflow.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        known = self._known(client)
        changes = 0
        for info in self.store.infos():
            if str(info.number) not in known:
                known[str(info.number)] = self._add(mlflow, client, info.number)
                changes += 1
        aliases = dict(client.get_registered_model(self.name).aliases) if known else {}
        now = {alias: known[str(version)] for alias, version in self.store.aliases.items()}
        for alias, version in now.items():
            if str(aliases.get(alias)) != version:
                client.set_registered_model_alias(self.name, alias, version)
                changes += 1
        for alias in {move.alias for move in self.store.history()} - set(now):
            if alias in aliases:
                client.delete_registered_model_alias(self.name, alias)
                changes += 1
        return changes

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="outgrow-mirror", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_LONGEST_PAUSE_SECONDS)

    def _run(self) -> None:
        pause, done = _PAUSE_SECONDS, -1
        while True:
            ended = self._ended.wait(pause)
            pause = _PAUSE_SECONDS
            try:
                last = self.store.log.last()
                if last != done:
                    self.catch_up()
                    done, self._problem = last, None
            except Exception as error:  # whatever it is, the store goes on
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                self._complain(error)
            if ended:
                return

    def _complain(self, error: Exception) -> None:
        lines = str(error).strip().splitlines() or [""]
        what = f"{type(error).__name__}: {lines[0]}"
        problem = f"MLflow cannot be told of {self.store}: {what} It is told later."
        if problem != self._problem:
            self._problem = problem
            log.warning(problem)

    def _known(self, client: Any) -> dict[str, str]:
        """MLflow's number of each version that it has."""
        there = client.search_model_versions(f"name = '{self.name}'")
        return {entry.tags[VERSION_TAG]: str(entry.version) for entry in there if VERSION_TAG in entry.tags}

    def _add(self, mlflow: Any, client: Any, number: int) -> str:
        """Log a version, and register it with its tags at once; MLflow's number of it."""
        info = self.store.info(number)
        before = mlflow.get_tracking_uri()
        try:
            if self._uri is not None:
                mlflow.set_tracking_uri(self._uri)
            logged = flavor.log_model(self.store.load(number), name=self.name)
        finally:
            mlflow.set_tracking_uri(before)
        if not client.search_registered_models(f"name = '{self.name}'"):
            client.create_registered_model(self.name)
        tags = {**info.tags, VERSION_TAG: str(number)}
        made = client.create_model_version(
            self.name, logged.model_uri, tags=tags, description=info.description, model_id=logged.model_id
        )
        return str(made.version)
