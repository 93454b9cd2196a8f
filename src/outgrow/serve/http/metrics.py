"""What the server tells Prometheus."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from outgrow._optional import optional
from outgrow._process import usage
from outgrow.errors import ParameterError

prometheus = optional("prometheus_client", "serve")
families = optional("prometheus_client.core", "serve")

log = logging.getLogger("outgrow.serve")
WATCHED: dict[str, tuple[str, tuple[str, ...]]] = {
    "outgrow_drift": (
        "Distance of a column's latest window from the reference.",
        ("model", "column", "metric"),
    ),
    "outgrow_quality": ("A metric of the latest rows whose labels came.", ("model", "version", "metric")),
    "outgrow_feature_age_seconds": ("Time since a view of features was materialised.", ("view",)),
    "outgrow_label_lag_seconds": ("Age of the newest row whose label came.", ("model",)),
}
"""What a watcher may say: name, meaning, labels."""
_GPU: dict[str, tuple[str, tuple[str, ...]]] = {
    "outgrow_gpu_utilization_ratio": ("Share of the time in which a GPU was busy.", ("gpu",)),
    "outgrow_gpu_memory_bytes": ("Memory of a GPU in use.", ("gpu",)),
}
_SECOND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 8192)


@dataclass(frozen=True)
class Reading:
    """A number that a watcher gives at one moment.

    Attributes
    ----------
    name : one of `WATCHED`.
    value : now.
    labels : all that the name has, and no others.
    """

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = WATCHED.get(self.name)
        if known is None or set(known[1]) != set(self.labels):
            wanted = f"the labels {sorted(known[1])}" if known else f"one of the names {sorted(WATCHED)}"
            raise ParameterError(f"{self.name} of {sorted(self.labels)} is no metric: it needs {wanted}.")


Watcher = Callable[[], Iterable[Reading | tuple[str, float, Mapping[str, str]]]]
"""What a server asks at each look at its metrics; it may read files or a database, on a thread."""


RECORD_SECONDS = 5.0
"""How often recorders do what they have to do."""


@runtime_checkable
class Recorder(Protocol):
    """A watcher that also sees what was asked and answered.

    Not promised: that it sees rows whose process was killed before the next `flush`.
    """

    def __call__(self) -> Iterable[Reading]:
        """As a `Watcher`."""

    def add(self, model: str, role: str, rows: Any, answers: Any) -> None:
        """Note a request on the event loop: it only puts it aside.

        Parameters
        ----------
        model, role : who answered.
        rows : as the reader of the version read them.
        answers : to those, in their order.
        """

    def flush(self) -> None:
        """Work off what was put aside, on a thread."""

    def close(self) -> None:
        """The last `flush`, after the last request."""


def made_by(name: str, arguments: Mapping[str, Any]) -> Any:
    """What `module:function`, called with arguments, returns.

    Parameters
    ----------
    name : of a function that makes a `Watcher`, or a `FeatureSource`.
    arguments : by name.

    Raises
    ------
    ParameterError
        When there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)(**arguments)
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(f"{name!r} cannot be used: {error}. Give module:function.") from error


class _Now:
    """Numbers that are the same whichever process tells them: of GPUs, and of watchers."""

    def __init__(self, watchers: Iterable[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def collect(self) -> Iterator[Any]:
        gpus = usage().gpus
        values: dict[str, dict[tuple[str, ...], float]] = {
            "outgrow_gpu_utilization_ratio": {(str(k),): gpu.utilization for k, gpu in gpus.items()},
            "outgrow_gpu_memory_bytes": {(str(k),): gpu.memory_bytes for k, gpu in gpus.items()},
        }
        for reading in self._readings():
            labels = tuple(str(reading.labels[name]) for name in WATCHED[reading.name][1])
            values.setdefault(reading.name, {})[labels] = reading.value
        for name, (meaning, labels) in {**_GPU, **WATCHED}.items():
            if values.get(name):
                family = families.GaugeMetricFamily(name, meaning, labels=labels)
                for key, value in values[name].items():
                    family.add_metric(key, value)
                yield family

    def _readings(self) -> Iterator[Reading]:
        for watch in self._watchers:
            try:
                yield from [r if isinstance(r, Reading) else Reading(*r) for r in watch()]
            except Exception as error:  # whatever it is, the other metrics are there
                log.warning("a watcher gives no metrics: %s: %s", type(error).__name__, error)


class Metrics:
    """Counters and histograms of one process; with several workers, of all of them.

    Several workers meet through files in the folder that PROMETHEUS_MULTIPROC_DIR names.
    """

    def __init__(self, *, shared: bool = False, watchers: Iterable[Watcher] = ()) -> None:
        self._shared = shared
        self._now = prometheus.CollectorRegistry()
        self._now.register(_Now(watchers))
        self._cpu_told = 0.0
        self._registry = registry = prometheus.CollectorRegistry()
        name = ["model"]
        self.requests = prometheus.Counter(
            "outgrow_requests", "Requests answered.", [*name, "dialect", "status"], registry=registry
        )
        self.rows = prometheus.Counter("outgrow_rows", "Rows scored.", name, registry=registry)
        self.seconds = prometheus.Histogram(
            "outgrow_request_seconds",
            "Time from the request's body to its answer.",
            name,
            buckets=_SECOND_BUCKETS,
            registry=registry,
        )
        self.batches = prometheus.Histogram(
            "outgrow_batch_rows", "Rows in a batch.", name, buckets=_ROW_BUCKETS, registry=registry
        )
        self.batch_seconds = prometheus.Histogram(
            "outgrow_batch_seconds",
            "Time of a batch in the model.",
            name,
            buckets=_SECOND_BUCKETS,
            registry=registry,
        )
        by_version = [*name, "role", "version"]
        self.version_seconds = prometheus.Histogram(
            "outgrow_version_seconds",
            "Time a version took for the rows of a request, the wait for others included.",
            by_version,
            buckets=_SECOND_BUCKETS,
            registry=registry,
        )
        self.version_failures = prometheus.Counter(
            "outgrow_version_failures",
            "Requests that a version failed to answer.",
            by_version,
            registry=registry,
        )
        self.refused_versions = prometheus.Counter(
            "outgrow_refused_versions",
            "Looks that found a version which cannot be used.",
            [*name, "role"],
            registry=registry,
        )
        self.log_lost = prometheus.Counter(
            "outgrow_log_lost_rows",
            "Rows of the prediction log that could not be written.",
            registry=registry,
        )
        self.queue_seconds = prometheus.Histogram(
            "outgrow_queue_seconds",
            "Time of a request's rows in the queue.",
            name,
            buckets=_SECOND_BUCKETS,
            registry=registry,
        )
        self._cpu = prometheus.Counter(
            "outgrow_process_cpu_seconds", "Processor time of the server.", registry=registry
        )
        self._resident = prometheus.Gauge(
            "outgrow_process_resident_bytes",
            "Memory that the server holds.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting = prometheus.Gauge(
            "outgrow_waiting_rows", "Rows that wait.", name, registry=registry, multiprocess_mode="livesum"
        )
        self.version = prometheus.Gauge(
            "outgrow_model_version",
            "1 for the version that answers.",
            [*name, "role", "version"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def sample(self) -> None:
        """Note what this process takes now."""
        now = usage()
        self._cpu.inc(max(0.0, now.cpu_seconds - self._cpu_told))
        self._cpu_told = now.cpu_seconds
        self._resident.set(now.resident_bytes)

    def page(self) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        registry = self._registry
        if self._shared:
            _forget_processes_that_ended()
            registry = prometheus.CollectorRegistry()
            optional("prometheus_client.multiprocess", "serve").MultiProcessCollector(registry)
        body = prometheus.generate_latest(registry) + prometheus.generate_latest(self._now)
        return body, prometheus.CONTENT_TYPE_LATEST


def _forget_processes_that_ended() -> None:
    """Workers that were killed hold no memory and no rows any more; what they counted stays."""
    multiprocess = optional("prometheus_client.multiprocess", "serve")
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
        number = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{number}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(number)
