"""What servers of models say of themselves: their metrics, looked at while somebody watches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from outgrow.loop.servers import Answers, metrics_of, samples

PAUSE_SECONDS = 1.0
"""Servers are not asked again sooner, however many watch."""
_TIMEOUT_SECONDS = 1.5
_KEPT = 300
"""Looks at a server that are kept."""
_HISTOGRAMS = {
    "outgrow_request_seconds": "requests",
    "outgrow_queue_seconds": "queue",
    "outgrow_version_seconds": "version",
}
_SUMS = {
    "outgrow_rows_total": "rows",
    "outgrow_waiting_rows": "waiting",
    "outgrow_refused_versions_total": "refused",
}
_OF_SERVER = {
    "outgrow_process_cpu_seconds_total": "cpu_seconds",
    "outgrow_process_resident_bytes": "resident_bytes",
    "outgrow_log_lost_rows_total": "log_lost",
}


@dataclass
class ModelCounts:
    """What a server counted of one model since it began.

    Attributes
    ----------
    requests, queue : how many, and in how many seconds.
    failed : requests that got an answer of 500 or more.
    refused : requests that got another answer than the model's, such as that they wait too long.
    numbers : rows that were scored, rows that wait, versions that were refused.
    versions : by role and version.
    answering : roles and versions that answer now.
    drift : by column and metric.
    """

    requests: Answers = field(default_factory=Answers)
    queue: Answers = field(default_factory=Answers)
    failed: float = 0.0
    refused: float = 0.0
    numbers: dict[str, float] = field(default_factory=dict)
    versions: dict[tuple[str, str], Answers] = field(default_factory=dict)
    answering: set[tuple[str, str]] = field(default_factory=set)
    drift: dict[tuple[str, str], float] = field(default_factory=dict)

    def take(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Take in a number of the page of metrics.

        Parameters
        ----------
        name, labels, value : as `outgrow.loop.servers.samples` gives them.
        """
        role = labels.get("role", ""), labels.get("version", "")
        stem, _, rest = name.rpartition("_")
        if stem in _HISTOGRAMS:
            kind = _HISTOGRAMS[stem]
            kept = self.versions.setdefault(role, Answers()) if kind == "version" else getattr(self, kind)
            kept.take(f"seconds_{rest}", labels, value)
        elif name == "outgrow_version_failures_total":
            self.versions.setdefault(role, Answers()).failed += value
        elif name == "outgrow_model_version":
            if value == 1.0:
                self.answering.add(role)
        elif name == "outgrow_requests_total":
            self.failed += value if labels.get("status", "").startswith("5") else 0.0
            self.refused += value if labels.get("status", "").startswith("4") else 0.0
        elif name in _SUMS:
            self.numbers[_SUMS[name]] = self.numbers.get(_SUMS[name], 0.0) + value
        elif name == "outgrow_drift":
            self.drift[labels.get("column", ""), labels.get("metric", "")] = value


@dataclass
class Look:
    """What a server said at one moment.

    Attributes
    ----------
    time : when, in seconds since 1970.
    models : by the names they are served under.
    numbers : of the server itself.
    away : why it was not heard; None where it was.
    """

    time: float
    models: dict[str, ModelCounts] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    away: str | None = None

    @classmethod
    def at(cls, url: str) -> Look:
        """Ask a server."""
        now = time.time()
        try:
            return cls.of(metrics_of(url, _TIMEOUT_SECONDS), now)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)  # of a URLError
            return cls(now, away=getattr(reason, "strerror", None) or str(reason) or type(error).__name__)

    @classmethod
    def of(cls, text: str, now: float) -> Look:
        """What a page of metrics says.

        Parameters
        ----------
        text : of the page.
        now : when it was read.
        """
        look = cls(now)
        for name, labels, value in samples(text):
            if name in _OF_SERVER:
                look.numbers[_OF_SERVER[name]] = value
            elif "model" in labels:
                look.models.setdefault(labels["model"], ModelCounts()).take(name, labels, value)
        if not look.models and not look.numbers:
            look.away = "It answers, but not as a server of outgrow."
        return look


class Servers:
    """Looks at servers, and remembers the last looks; nothing is asked while nobody watches.

    Parameters
    ----------
    urls : their addresses.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(dict.fromkeys(url.rstrip("/") for url in urls))
        self._lock = threading.Lock()
        self._looks: dict[str, deque[Look]] = {url: deque(maxlen=_KEPT) for url in self.urls}
        self._looked = -PAUSE_SECONDS

    def now(self) -> dict[str, list[Look]]:
        """The last looks at each server by its address, with one that is new."""
        with self._lock:
            if self.urls and time.monotonic() - self._looked >= PAUSE_SECONDS:
                with ThreadPoolExecutor(min(16, len(self.urls))) as pool:
                    for url, look in zip(self.urls, pool.map(Look.at, self.urls), strict=True):
                        self._looks[url].append(look)
                self._looked = time.monotonic()
            return {url: list(looks) for url, looks in self._looks.items()}


def spread(looks: Sequence[Look], seconds: float) -> list[tuple[Look, Look]]:
    """Pairs of looks that lie some seconds apart and one behind the other, without those that were not heard.

    Parameters
    ----------
    looks : at one server, in their order.
    seconds : between both, at least.
    """
    heard = [look for look in looks if look.away is None]
    pairs: list[tuple[Look, Look]] = []
    start: Any = heard[0] if heard else None
    for look in heard[1:]:
        if look.time - start.time >= seconds:
            pairs.append((start, look))
            start = look
    return pairs
