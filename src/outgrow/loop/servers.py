"""What the servers of a model really answer with, and how well: read from their metrics."""

from __future__ import annotations

import math
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PRIMARY, CANARY, SHADOW = "primary", "canary", "shadow"
_TIMEOUT_SECONDS, _PAUSE_SECONDS = 3.0, 0.2
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Answers:
    """What a version answered since the servers began.

    Attributes
    ----------
    answered, failed : requests.
    buckets : by upper bound in seconds, how many took at most so long.
    """

    answered: float = 0.0
    failed: float = 0.0
    buckets: dict[float, float] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As JSON."""
        buckets = [[bound, count] for bound, count in sorted(self.buckets.items()) if math.isfinite(bound)]
        return {"answered": self.answered, "failed": self.failed, "buckets": buckets}

    @classmethod
    def of(cls, body: Mapping[str, Any] | None) -> Answers:
        """What `body` gave; of None, nothing."""
        if body is None:
            return cls()
        return cls(body["answered"], body["failed"], dict(body["buckets"]))

    def take(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Add a number that a server says.

        Parameters
        ----------
        name : `seconds_count`, `seconds_bucket` or `failures_total`; others change nothing.
        labels, value : of it.
        """
        if name == "failures_total":
            self.failed += value
        elif name == "seconds_count":
            self.answered += value
        elif name == "seconds_bucket":
            bound = float(labels["le"].replace("+Inf", "inf"))
            self.buckets[bound] = self.buckets.get(bound, 0.0) + value

    def since(self, before: Answers) -> Answers:
        """What came after an earlier look; all of it where servers began anew in between."""
        if before.answered + before.failed > self.answered + self.failed:
            return self
        buckets = {bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()}
        return Answers(self.answered - before.answered, self.failed - before.failed, buckets)

    @property
    def share_failed(self) -> float:
        """NaN of no requests."""
        total = self.answered + self.failed
        return self.failed / total if total else math.nan

    def quantile(self, share: float) -> float:
        """Seconds within which a share of the requests were answered, as Prometheus reads it from buckets."""
        total = self.answered
        if not total or not self.buckets:
            return math.nan
        below, left = 0.0, 0.0
        for bound, count in sorted(self.buckets.items()):
            if count >= share * total:
                if not math.isfinite(bound):
                    return left
                part = (share * total - below) / (count - below) if count > below else 1.0
                return left + (bound - left) * part
            below, left = count, bound
        return left


@dataclass
class ServersLook:
    """What servers said at one moment.

    Attributes
    ----------
    roles : by address, which version answers in each role; None for a server that is away.
    away : by address, why it was not heard.
    answers : by version, of all servers together.
    """

    roles: dict[str, dict[str, set[str]] | None] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)

    def counts(self) -> dict[str, Any]:
        """As JSON, for the log."""
        return {version: answers.body() for version, answers in sorted(self.answers.items())}


def look(urls: Sequence[str], name: str) -> ServersLook:
    """Ask all servers.

    Parameters
    ----------
    urls : their addresses.
    name : under which the model is served.
    """
    seen = ServersLook()
    for url in urls:
        try:
            text = metrics_of(url)
        except (OSError, ValueError) as error:
            seen.roles[url], seen.away[url] = None, f"{url} is away ({error})"
            continue
        seen.roles[url] = _read(text, name, seen.answers)
        if not seen.roles[url]:
            seen.away[url] = f"{url} serves no model {name!r}"
    return seen


def _read(text: str, name: str, answers: dict[str, Answers]) -> dict[str, set[str]]:
    roles: dict[str, set[str]] = {}
    for metric, labels, value in samples(text):
        if labels.get("model") != name or "version" not in labels:
            continue
        version = labels["version"]
        if metric == "outgrow_model_version":
            if value == 1.0:
                roles.setdefault(labels["role"], set()).add(version)
            continue
        answers.setdefault(version, Answers()).take(metric.removeprefix("outgrow_version_"), labels, value)
    return roles


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """The numbers of a page for Prometheus: name, labels, value."""
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is not None:
            yield match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])


def metrics_of(url: str, timeout: float = _TIMEOUT_SECONDS, token: str | None = None) -> str:
    """The page of metrics of a server.

    Parameters
    ----------
    url : its address.
    timeout : in seconds.
    token : that it asks for; None for none.

    Raises
    ------
    OSError
        When it is away, or does not give them.
    ValueError
        When that is no address.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{url.rstrip('/')}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return str(answer.read().decode())


def verify(
    urls: Sequence[str], name: str, expected: Mapping[str, int | None], within: float
) -> tuple[str | None, ServersLook]:
    """Wait until all servers answer with the versions that they should.

    Parameters
    ----------
    urls, name : as for `look`.
    expected : by role, the version; None for no version in that role.
    within : seconds after which it is said that they do not.

    Returns
    -------
    Why it is not so, None where it is; and the last look.
    """
    until = time.monotonic() + within
    while True:
        seen = look(urls, name)
        problem = mismatch(seen, expected)
        if problem is None or time.monotonic() >= until:
            return problem, seen
        time.sleep(_PAUSE_SECONDS)


def mismatch(seen: ServersLook, expected: Mapping[str, int | None]) -> str | None:
    """What servers answer that they should not; None where all is as it should be.

    Parameters
    ----------
    seen : what they said.
    expected : as for `verify`.
    """
    problems = list(seen.away.values())
    for url, roles in seen.roles.items():
        if not roles:
            continue
        for role, version in expected.items():
            wanted = set() if version is None else {str(version)}
            answered = roles.get(role, set())
            if answered != wanted:
                has = " and ".join(sorted(answered)) or "none"
                problems.append(f"{url} has version {has} as {role}, not {version or 'none'}")
    return "; ".join(problems) + "." if problems else None
