"""What a server process holds: its models, the log of predictions, its metrics, and what refreshes them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from outgrow.artifact import current_artifact
from outgrow.errors import ParameterError
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.cache import AnswerCache
from outgrow.serve.http.deadlines import Deadlines
from outgrow.serve.http.deployment import Deployment, Model
from outgrow.serve.http.isolated import ReaderProcesses
from outgrow.serve.http.metrics import RECORD_SECONDS, Metrics, Recorder, made_by
from outgrow.serve.http.record import FLUSH_SECONDS, PredictionLog
from outgrow.serve.http.refusal import BusyError
from outgrow.serve.http.scoring import FeatureSource

log = logging.getLogger("outgrow.serve")
_SCORING_THREADS, _LOADING_THREADS = 32, 2
"""How many score, one batch of a model at a time, and how many load models."""
_SAMPLE_SECONDS = 1.0
_BODIES_HELD = 4
"""Bodies of the largest size that may be held at one time, or as many bytes of smaller ones."""


@dataclass(frozen=True)
class Settings:
    """The settings of a server; each of its processes gets the same.

    Attributes
    ----------
    models : by the names under which they are served. The first answers where no name is given.
    folder : of models that are loaded at the first request for them, each under its folder's name.
    loaded : how many of those stay in memory.
    max_batch, max_wait, max_queue : of a `Batcher`; seconds and rows.
    max_body : bytes of a request's body.
    timeout : seconds after which a request is given up; a client may ask for less.
    log : the folder of the prediction log; None for none. `log_fraction` of the requests are kept.
    token : what clients must bring as a bearer token; None when any client may.
    access_log : whether each request is a line of JSON on stdout.
    cached_rows : how many rows' answers are remembered; 0 for none.
    poll : seconds between looks for new versions.
    workers : how many processes serve.
    watchers : `module:function` and its arguments, which JSON can hold; in each process it makes a callable
        without arguments that gives each `Reading` of drift and quality that `/metrics` then shows.
    features : `module:function` and its arguments likewise; it makes a `FeatureSource`, which looks up
        columns that requests do not bring. One at most.
    public_key : the file with the key that every model must be signed with; None for no such need.
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
    poll: float = 0.5
    workers: int = 1
    watchers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    public_key: str | None = None

    def __post_init__(self) -> None:
        if not self.models and self.folder is None:
            raise ParameterError("No model to serve. Give the folder of one, or --model NAME=PATH.")
        for name in ("max_batch", "max_queue", "max_body", "loaded", "workers"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name}={getattr(self, name)}: at least 1 is needed.")
        for name in ("timeout", "poll"):
            if not 0 < getattr(self, name) < math.inf:
                raise ParameterError(f"{name}={getattr(self, name)}: some seconds are needed.")
        for name, most in (("max_wait", self.timeout), ("cached_rows", math.inf), ("log_fraction", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ParameterError(f"{name}={getattr(self, name)}: from 0 to {most} is possible.")
        if self.features and self.cached_rows:
            raise ParameterError("Answers for keys change with their features: give cached_rows=0.")
        for name, model in self.models.items():
            if not 0 <= model.canary_percent <= 100:
                raise ParameterError(f"{name}: {model.canary_percent} % is no share of the requests.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Settings:
        models = {name: Model(**model) for name, model in given["models"].items()}
        return cls(**{**given, "models": models})


class BodyReservation:
    """Memory reserved for the body of one request, of what all bodies may take; released at the end."""

    def __init__(self, state: State, limit: int) -> None:
        self._state = state
        self._limit = limit
        self._taken = 0

    def take(self, size: int) -> None:
        """Hold some more bytes.

        Raises
        ------
        BusyError
            When other bodies fill the memory there is for them.
        """
        self._taken += size
        self._state.held += size
        if self._state.held > self._limit and self._state.held > self._taken:
            raise BusyError(f"{self._state.held - self._taken} bytes of other bodies")

    def __enter__(self) -> BodyReservation:
        return self

    def __exit__(self, *_: object) -> None:
        self._state.held -= self._taken


class State:
    """The models of a process, and everything around them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        watchers = [made_by(name, arguments) for name, arguments in settings.watchers.items()]
        sources = [made_by(name, arguments) for name, arguments in settings.features.items()]
        self._features: FeatureSource | None = sources[0] if sources else None
        self.metrics = Metrics(shared=settings.workers > 1, watchers=watchers)
        self.recorders = [watch for watch in watchers if isinstance(watch, Recorder)]
        """Watchers that see what was asked and answered."""
        self.log = (
            None
            if settings.log is None
            else PredictionLog(settings.log, settings.log_fraction, self.metrics.log_lost.inc)
        )
        self.cache = AnswerCache(settings.cached_rows) if settings.cached_rows else None
        self.ready = False
        self.held = 0
        self.default = next(iter(settings.models), None)
        """The model that answers where no name is given."""
        self.deadlines = Deadlines()
        self.readers = ReaderProcesses()
        self._scoring = ThreadPoolExecutor(_SCORING_THREADS, "outgrow-score")
        self._loader = ThreadPoolExecutor(_LOADING_THREADS, "outgrow-load")
        self.given: dict[str, Deployment] = {}
        """Those that the settings name; never put out."""
        self._loaded: OrderedDict[str, Deployment] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Deployment]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: set[str] = set()
        """Models for whose newest version is being looked."""
        for name, model in settings.models.items():
            self.given[name] = self._open(name, model)

    @property
    def names(self) -> list[str]:
        """All models there are."""
        folder = self.settings.folder
        names = [] if folder is None else [path.name for path in Path(folder).iterdir() if _is_model(path)]
        return [*self.given, *sorted(set(names) - set(self.given))]

    async def deployment(self, name: str) -> Deployment | None:
        """The model of this name, loaded if it has to be; None where there is none."""
        deployment = self.given.get(name)
        if deployment is not None or self.settings.folder is None:
            return deployment
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        if name not in self._loading:
            path = Path(self.settings.folder) / name
            if Path(name).name != name or not _is_model(path):
                return None
            task = asyncio.create_task(self._load(name, path))
            self._loading[name] = task
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._loading[name])

    async def _load(self, name: str, path: Path) -> Deployment:
        """Load a model, which goes on when nobody waits for it any more.

        A model that is put out to make room is only forgotten: requests that have it still get their answers.
        """
        loop = asyncio.get_running_loop()
        try:
            deployment = await loop.run_in_executor(self._loader, self._open, name, Model(str(path)))
        finally:
            del self._loading[name]
        self._loaded[name] = deployment
        while len(self._loaded) > self.settings.loaded:
            self._loaded.popitem(last=False)
        return deployment

    def reservation(self) -> BodyReservation:
        """What one request may hold of its body."""
        return BodyReservation(self, _BODIES_HELD * self.settings.max_body)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Work on something that no request waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def health(self) -> dict[str, Any]:
        """Whether requests are answered, and what is wrong."""
        late = self.settings.timeout
        stuck = {
            name: {"answers": f"none for more than {late:g} s"}
            for name, deployment in self.given.items()
            if deployment.stuck(late)
        }
        problems = {deployment.name: deployment.problems for deployment in self._all() if deployment.problems}
        health: dict[str, Any] = {"ready": self.ready and not stuck}
        return {**health, "problems": {**problems, **stuck}} if problems or stuck else health

    def start(self) -> None:
        """Look for new versions, and write the log, from now on."""
        self.begin(self._follow())
        self.begin(self._sample())
        if self.log is not None:
            self.begin(self._write())
        for recorder in self.recorders:
            self.begin(_flushed(recorder))
        self.ready = True

    async def stop(self) -> None:
        """Write what is not written."""
        self.ready = False
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self.log is not None:
            await asyncio.to_thread(self.log.flush)
        for recorder in self.recorders:
            await asyncio.to_thread(recorder.close)
        self.readers.close()
        for pool in (self._scoring, self._loader):
            pool.shutdown(wait=False, cancel_futures=True)

    def _all(self) -> list[Deployment]:
        return [*self.given.values(), *self._loaded.values()]

    def sample(self) -> None:
        """Note how many rows wait, and what this process takes."""
        self.metrics.sample()
        for deployment in self._all():
            self.metrics.waiting.labels(deployment.name).set(deployment.waiting)

    def _open(self, name: str, model: Model) -> Deployment:
        settings = self.settings
        deployment = Deployment.open(
            name,
            replace(model, public_key=model.public_key or settings.public_key),
            lambda: Batcher(
                settings.max_batch,
                settings.max_wait,
                settings.max_queue,
                observe=partial(self._note, name),
                queued=self.metrics.queue_seconds.labels(name).observe,
                pool=self._scoring,
                features=self._features,
            ),
        )
        for role in deployment.variants:
            self._note_version(deployment, role)
            self.metrics.refused_versions.labels(name, role)  # at 0: a first value is no growth to Prometheus
        return deployment

    def _note(self, name: str, rows: int, seconds: float) -> None:
        metrics = self.metrics
        metrics.rows.labels(name).inc(rows)
        metrics.batches.labels(name).observe(rows)
        metrics.batch_seconds.labels(name).observe(seconds)

    def _note_version(self, deployment: Deployment, role: str) -> None:
        version = deployment.variants[role].served.version.name
        self.metrics.version.labels(deployment.name, role, version).set(1)

    async def _sample(self) -> None:
        """Note it again and again: the page shows what other processes of this server noted last."""
        while True:
            self.sample()
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _follow(self) -> None:
        """Look for new versions again and again; a registry that is slow keeps no other model waiting."""
        while True:
            await asyncio.sleep(self.settings.poll)
            for deployment in self._all():
                if deployment.name not in self._looking:
                    self.begin(self._look(deployment))

    async def _look(self, deployment: Deployment) -> None:
        before = {role: variant.served.version.name for role, variant in deployment.variants.items()}
        self._looking.add(deployment.name)
        try:
            changed, failed = await deployment.refresh()
        finally:
            self._looking.discard(deployment.name)
        for role in failed:
            self.metrics.refused_versions.labels(deployment.name, role).inc()
        for role in changed:
            if role in before:
                self.metrics.version.labels(deployment.name, role, before[role]).set(0)
            if role not in deployment.variants:
                log.info("model %s has no %s any more", deployment.name, role)
                continue
            self._note_version(deployment, role)
            version = deployment.variants[role].served.version.name
            log.info("model %s: %s is version %s now", deployment.name, role, version)

    async def _write(self) -> None:
        assert self.log is not None
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await asyncio.to_thread(self.log.flush)
            except OSError as error:
                log.warning("predictions were not logged: %s", error)


async def _flushed(recorder: Recorder) -> None:
    """What a recorder has to do is done on a thread, and costs no request its answer."""
    while True:
        await asyncio.sleep(RECORD_SECONDS)
        try:
            await asyncio.to_thread(recorder.flush)
        except Exception as error:  # whatever it is, requests are answered
            log.warning("a watcher could not record: %s: %s", type(error).__name__, error)


def _is_model(path: Path) -> bool:
    try:
        return (current_artifact(path) / "model.json").is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
