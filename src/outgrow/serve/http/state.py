"""What a server process holds: its models, the log of predictions, its numbers, and what keeps them fresh."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from outgrow.artifact import current_artifact
from outgrow.errors import OutgrowError, ParameterError
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.cache import AnswerCache
from outgrow.serve.http.deployment import Deployment, Model
from outgrow.serve.http.metrics import Metrics
from outgrow.serve.http.record import FLUSH_SECONDS, PredictionLog

log = logging.getLogger("outgrow.serve")


@dataclass(frozen=True)
class Settings:
    """What a server is told; each process of it gets the same.

    Attributes
    ----------
    models : by the names under which they are served. The first answers where no name is given.
    folder : of models that are loaded when they are first asked for, each under its folder's name.
    loaded : how many of those stay in memory.
    max_batch, max_wait, max_queue : of a `Batcher`; seconds and rows.
    max_body : bytes of a request's body.
    timeout : seconds after which a request is given up; a client may ask for less.
    log : the folder of the prediction log; None for none. `log_fraction` of the requests are kept.
    token : what clients must bring as a bearer token; None when anyone may ask.
    access_log : whether each request is a line of JSON on stdout.
    cached_rows : how many rows' answers are remembered; 0 for none.
    poll : seconds between looks for new versions.
    workers : how many processes serve.
    """

    models: Mapping[str, Model] = field(default_factory=dict)
    folder: str | None = None
    loaded: int = 100
    max_batch: int = 256
    max_wait: float = 0.002
    max_queue: int = 4096
    max_body: int = 64 << 20
    timeout: float = 30.0
    log: str | None = None
    log_fraction: float = 1.0
    token: str | None = None
    access_log: bool = False
    cached_rows: int = 0
    poll: float = 1.0
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.models and self.folder is None:
            raise ParameterError("No model to serve. Give the folder of one, or --model NAME=PATH.")
        for name, least in (("max_batch", 1), ("max_queue", 1), ("loaded", 1), ("workers", 1)):
            if getattr(self, name) < least:
                raise ParameterError(f"{name}={getattr(self, name)}: at least {least} is needed.")
        for name, model in self.models.items():
            if not 0 <= model.canary_percent <= 100:
                raise ParameterError(f"{name}: {model.canary_percent} % is no share of the requests.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Settings:
        models = {name: Model(**model) for name, model in given["models"].items()}
        return cls(**{**given, "models": models})


class State:
    """The models of a process, and everything around them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(shared=settings.workers > 1)
        self.log = None if settings.log is None else PredictionLog(settings.log, settings.log_fraction)
        self.cache = AnswerCache(settings.cached_rows) if settings.cached_rows else None
        self.ready = False
        self._deployments: dict[str, Deployment] = {}
        self._loaded: OrderedDict[str, Deployment] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Deployment]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for name, model in settings.models.items():
            self._deployments[name] = self._open(name, model)

    @property
    def default(self) -> str | None:
        """The model that answers where no name is given."""
        return next(iter(self.settings.models), None)

    @property
    def names(self) -> list[str]:
        """All models there are."""
        folder = self.settings.folder
        found = [] if folder is None else [path.name for path in Path(folder).iterdir() if _is_model(path)]
        return [*self._deployments, *sorted(set(found) - set(self._deployments))]

    async def deployment(self, name: str) -> Deployment | None:
        """The model of this name, loaded if it has to be; None where there is none."""
        found = self._deployments.get(name)
        if found is not None or self.settings.folder is None:
            return found
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        path = Path(self.settings.folder) / name
        if Path(name).name != name or not _is_model(path):
            return None
        if name not in self._loading:
            opening = asyncio.to_thread(self._open, name, Model(str(path)))
            self._loading[name] = asyncio.create_task(opening)
        try:
            found = await asyncio.shield(self._loading[name])
        finally:
            self._loading.pop(name, None)
        self._loaded[name] = found
        while len(self._loaded) > self.settings.loaded:
            self._loaded.popitem(last=False)[1].close()
        return found

    def start(self) -> None:
        """Look for new versions, and write the log, from now on."""
        self._tasks = [asyncio.create_task(self._follow())]
        if self.log is not None:
            self._tasks.append(asyncio.create_task(self._write()))
        self.ready = True

    async def stop(self) -> None:
        """Write what is not written."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self.log is not None:
            await asyncio.to_thread(self.log.flush)
        for deployment in (*self._deployments.values(), *self._loaded.values()):
            deployment.close()

    def waiting(self) -> None:
        """Note how many rows wait."""
        for name, deployment in self._deployments.items():
            self.metrics.waiting.labels(name).set(deployment.waiting)

    def _open(self, name: str, model: Model) -> Deployment:
        settings = self.settings
        found = Deployment.open(name, model, lambda: Batcher(
            settings.max_batch, settings.max_wait, settings.max_queue, told=partial(self._note, name)
        ))  # fmt: skip
        for role in found.lanes:
            self._note_version(found, role)
        return found

    def _note(self, name: str, rows: int, seconds: float) -> None:
        metrics = self.metrics
        metrics.rows.labels(name).inc(rows)
        metrics.batches.labels(name).observe(rows)
        metrics.batch_seconds.labels(name).observe(seconds)

    def _note_version(self, deployment: Deployment, role: str) -> None:
        version = deployment.lanes[role].served.version.name
        self.metrics.version.labels(deployment.name, role, version).set(1)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self.settings.poll)
            for deployment in (*self._deployments.values(), *self._loaded.values()):
                before = {role: lane.served.version.name for role, lane in deployment.lanes.items()}
                try:
                    changed = await deployment.refresh()
                except (OutgrowError, OSError) as error:
                    log.warning("model %s stays as it is: %s", deployment.name, error)
                    continue
                for role in changed:
                    self.metrics.version.labels(deployment.name, role, before[role]).set(0)
                    self._note_version(deployment, role)
                    version = deployment.lanes[role].served.version.name
                    log.info("model %s: %s is version %s now", deployment.name, role, version)

    async def _write(self) -> None:
        assert self.log is not None
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await asyncio.to_thread(self.log.flush)
            except OSError as error:
                log.warning("predictions were not logged: %s", error)


def _is_model(path: Path) -> bool:
    return (current_artifact(path) / "model.json").is_file()
