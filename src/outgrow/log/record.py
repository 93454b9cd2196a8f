"""One fact of the log: what it says, how it is written as text, and how it is chained to the one before."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outgrow.errors import ParameterError

KINDS = {
    "run.began": "a fit, job, search, scoring, server or federation began: parameters, code, data",
    "run.passed": "steps of a run: metrics by step",
    "run.sampled": "processor, memory and devices that a run used",
    "run.ranks": "what each rank of a fit has done: host, rows, seconds, rows a second, memory; stragglers",
    "run.measured": "metrics of what a run made, found after its end, such as an evaluation on other rows",
    "run.ended": "a run ended: state, seconds, metrics, artifacts, or its error",
    "run.tagged": "tags or a description of a run changed",
    "run.deleted": "a run is not shown any more",
    "data.seen": "a data set with its version and fingerprint was read",
    "data.checked": "rows were held against what is expected of them: verdict, results, rows set aside",
    "model.added": "a version of a model was added to a registry",
    "model.tagged": "tags or a description of a version changed",
    "alias.moved": "an alias points to another version, or to none: from, to, why, on which evidence",
    "window.folded": "the statistics of a window of rows: model, version, role, slice, from, to",
    "finding": "what a comparison found: value, interval, p, q, effect, verdict",
    "alert": "an alert opened, was sent, acknowledged, silenced or closed",
    "label.met": "true values met their predictions",
    "policy.read": "a policy that a loop follows from now on",
    "loop.looked": "a loop looked: the moment by its clock, and the champion",
    "decision": "what a policy decided, with its evidence",
    "gate.judged": "a candidate beside the champion on the same rows",
    "rollout.stepped": "a candidate's share of the requests changed",
    "action": "something a decision asked for was begun or done",
    "plan.made": "a forecast of a job's time, memory and cost",
    "plan.met": "what the job then took",
}
"""What records there are; the list is closed, so that every reader knows all of them."""


@dataclass(frozen=True, slots=True)
class Record:
    """A fact.

    Attributes
    ----------
    position : its place in the log it was read from, from 1; readers go on behind the last they know.
    origin : the log in which it was first written.
    number : its place among the records of its origin, from 1.
    time : when it was written, in seconds since 1970 (UTC), by the clock of who wrote it.
    kind : one of `KINDS`.
    subject : what it is about: a run's id, a model's name.
    body : what it says, as JSON has it.
    by : who wrote it.
    cause : the digest, or another name, of what led to it; None where nothing did.
    previous : the digest of the record before it of the same origin; of the first, 64 zeros.
    digest : SHA-256 of all that except the position.
    """

    position: int
    origin: str
    number: int
    time: float
    kind: str
    subject: str
    body: Mapping[str, Any]
    by: str
    cause: str | None
    previous: str
    digest: str


FIRST = "0" * 64
"""What the first record of an origin is chained to."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is to be written, before it has its place in a log.

    Attributes
    ----------
    time, kind, subject, by, cause : as of `Record`.
    text : the body as canonical JSON.
    """

    time: float
    kind: str
    subject: str
    text: str
    by: str
    cause: str | None

    @classmethod
    def of(
        cls, time: float, kind: str, subject: str, body: Mapping[str, Any], by: str, cause: str | None
    ) -> Fact:
        """Check and encode.

        Parameters
        ----------
        time, kind, subject, body, by, cause : as of `Record`.

        Raises
        ------
        ParameterError
            When there is no such kind, or the body is not JSON.
        """
        if kind not in KINDS:
            raise ParameterError(f"There is no record of kind {kind!r}; there are {', '.join(KINDS)}.")
        return cls(time, kind, subject, encode(body), by, cause)

    def digest(self, origin: str, number: int, previous: str) -> str:
        """SHA-256 of the fact at its place.

        Parameters
        ----------
        origin, number, previous : as of `Record`.
        """
        head = json.dumps([origin, number, self.time, self.kind, self.subject, self.by, self.cause, previous])
        return hashlib.sha256(f"{head}\n{self.text}".encode()).hexdigest()


def encode(body: Mapping[str, Any]) -> str:
    """A body as canonical JSON: sorted keys, no spaces.

    Numbers that are not finite are null. Under `metrics`, where a loss that diverged is to be seen, they are
    the words that JSON of Protocol Buffers has for them: "NaN", "Infinity", "-Infinity"; `decode` reads them.

    Raises
    ------
    ParameterError
        When it holds what JSON has not.
    """
    try:
        return _dumps(body)
    except ValueError:
        return _dumps(_finite(body))
    except TypeError as error:
        raise ParameterError(
            f"A record holds what JSON cannot: {error}. Give numbers, text, lists, mappings."
        ) from error


def decode(text: str) -> Any:
    """What `encode` wrote, with the metrics that are not finite as numbers.

    Parameters
    ----------
    text : canonical JSON.

    Raises
    ------
    ValueError
        When it is no JSON.
    """
    value = json.loads(text)
    return _as_numbers(value) if '"NaN"' in text or 'Infinity"' in text else value


def _dumps(body: Any) -> str:
    return json.dumps(
        body, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=_plain
    )


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")


def _finite(value: Any, metric: bool = False) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return _word(value) if metric else None
    if isinstance(value, Mapping):
        return {key: _finite(item, metric or _is_metric(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, metric) for item in value]
    return value


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_metric(key: Any) -> bool:
    """Whether what has this name are metrics: all of a run, or one as a column of the table of runs."""
    return key == "metrics" or str(key).startswith("metrics.")


def _as_numbers(value: Any, metric: bool = False) -> Any:
    """The words of `_word` as numbers where they are metrics."""
    if metric and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, dict):
        return {key: _as_numbers(item, metric or _is_metric(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_numbers(item, metric) for item in value]
    return value
