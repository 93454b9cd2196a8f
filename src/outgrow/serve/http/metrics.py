"""What the server tells Prometheus."""

from __future__ import annotations

from outgrow._optional import optional

prometheus = optional("prometheus_client", "serve")

_SECOND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 8192)


class Metrics:
    """Counters and histograms of one process; with several workers, of all of them.

    Several workers meet through files in the folder that PROMETHEUS_MULTIPROC_DIR names.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
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

    def page(self) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        registry = self._registry
        if self._shared:
            registry = prometheus.CollectorRegistry()
            optional("prometheus_client.multiprocess", "serve").MultiProcessCollector(registry)
        return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST
