"""Records of runs: what work is under way becomes records of a log, and of whoever else keeps them."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from outgrow.engine.activity import Activity, current
from outgrow.engine.events import Event
from outgrow.engine.memory import peak_bytes
from outgrow.engine.rank_paces import EVERY, Pace, stragglers
from outgrow.engine.usage import Usage
from outgrow.log.event_log import author
from outgrow.track.environment import code, environment
from outgrow.track.facts import (
    data_facts,
    error_facts,
    files_of,
    learned_digest,
    name_of,
    parameters_of,
    plain,
)

STAGE = "stage"
FINISHED, FAILED, KILLED, RUNNING = "finished", "failed", "killed", "running"
"""The states of a run."""
_ROLES = {"score": "scoring", "check": "checked", "evaluate": "evaluation"}
_AT_ONCE = 100
"""Points of a run that are taken however fast they come; then, as many a second as the recorder is told."""
_LOOKS = 20
"""Of the parts of a run that a user made, those of so many are looked at for their rows."""
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_TRIALS = 1_000
"""Most trials of a search that a record lists."""


class Sink(Protocol):
    """Takes records; a `LogWriter` is one. It returns at once and never raises."""

    def append(
        self, kind: str, subject: str, body: Mapping[str, Any], *, by: str, cause: str | None = None
    ) -> None:
        """Take a record.

        Parameters
        ----------
        kind, subject, body, by, cause : as of `EventLog.append`.
        """


Watcher = Callable[[str, Activity], None]
"""Is called with a run's id and its work when that has ended well, and its objects are still there."""


class Recorder:
    """Observes work and listens to events, and makes records of them.

    Parameters
    ----------
    sinks : where the records go.
    points : most points a second that a run keeps of its curves, beyond the first hundred.
    sample : seconds between looks at processor, memory and GPUs; 0 for none.
    tags : of all runs.
    watchers : are called when a run has ended well.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        points: float = 20.0,
        sample: float = 5.0,
        tags: Mapping[str, str] | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.sinks, self.points, self.sample = tuple(sinks), points, sample
        self.tags, self._watchers = dict(tags or {}), tuple(watchers)
        self._open: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._sampler: threading.Thread | None = None

    # ---- work ------------------------------------------------------------------------------------------

    def began(self, activity: Activity) -> None:
        """Begin a run with work that is no part of other work."""
        if activity.parent is not None:
            outer = self._open.get(activity.root.id)
            if outer is not None and activity.data is not None and outer.may_look():
                self._see(activity.root, activity.data, None, role=_ROLES.get(activity.kind))
            return
        if _run_of(activity) is not None:
            return
        run = _Run(activity, self._append, self.points)
        self._append("run.began", activity.id, self._beginning(activity), cause=activity.facts.get("cause"))
        with self._lock:  # only now: what other threads tell stands behind the beginning
            self._open[activity.id] = run
        if activity.data is not None:
            self._see(activity, activity.data, None)
        self._watch()

    def noted(self, activity: Activity, facts: dict[str, Any]) -> None:
        """Record rows that a run reads, what came of checking them, and what ranks did.

        Parameters
        ----------
        activity, facts : as an `Observer` gets them.
        """
        run = self._open.get(activity.root.id)
        if run is not None and facts.get("data") is not None:
            self._see(activity.root, facts["data"], facts.get("fingerprint"))
        if run is not None and facts.get("ranks"):
            run.rank(facts["stage"], facts["ranks"])
        if run is not None and facts.get("checked") is not None:
            self._append("data.checked", activity.root.id, facts["checked"])

    def ended(self, activity: Activity, error: BaseException | None) -> None:
        """End the run of the work, or take a part of it for a step of the run.

        Parameters
        ----------
        activity, error : as an `Observer` gets them.
        """
        if isinstance(error, SystemExit) and not error.code:
            error = None  # a script that leaves by sys.exit(0) is done
        earlier = _run_of(activity) if activity.parent is None else None
        if earlier is not None:
            if error is None:
                self._append("run.measured", earlier, _measured(activity))
            return
        run = self._open.get(activity.root.id)
        if run is None:
            return
        record = getattr(activity.what, "fit_record_", None)
        if error is None and activity.kind == "fit" and record is not None:
            activity.what.fit_record_ = replace(record, run=activity.root.id)
        if activity.parent is not None:
            run.part(activity, error)
            return
        with self._lock:
            del self._open[activity.id]
        run.close()
        if error is None:
            for watcher in self._watchers:
                watcher(activity.id, activity)
        self._append("run.ended", activity.id, _ending(run, error))

    def point(self, activity: Activity, metrics: Mapping[str, float], step: int) -> None:
        """Take a point of curves of a user's own.

        Parameters
        ----------
        activity : the work they belong to.
        metrics : by name.
        step : where.
        """
        run = self._open.get(activity.root.id)
        if run is not None:
            values = {name: float(value) for name, value in metrics.items()}
            run.hear(Event(name_of(activity.what), "step", step, metrics=values))

    def __call__(self, event: Event) -> None:
        """Take an event for a point of the curves of its run."""
        run = self._run_of_event()
        if run is not None:
            run.hear(event)

    def close(self) -> None:
        """Take no more, and end the runs that are still open."""
        self._closed.set()
        with self._lock:
            runs, self._open = list(self._open.values()), {}
        for run in runs:
            run.close()

    # ---- records ---------------------------------------------------------------------------------------

    def _append(self, kind: str, run: str, body: Mapping[str, Any], cause: str | None = None) -> None:
        for sink in self.sinks:
            sink.append(kind, run, body, by=author(), cause=cause)

    def _beginning(self, activity: Activity) -> dict[str, Any]:
        facts, what = activity.facts, activity.what
        body: dict[str, Any] = {
            "kind": activity.kind,
            "name": facts.get("name") or name_of(what),
            "estimator": name_of(what) if hasattr(what, "get_params") else None,
            "parameters": parameters_of(what),
            "engine": _engine(facts.get("engine"), activity.data),
            "code": code(),
            "environment": environment(),
            "tags": {**self.tags, **facts.get("tags", {})},
        }
        record = getattr(what, "fit_record_", None)
        if activity.kind in ("score", "serve") and record is not None:
            body["of"] = {"run": record.run, "data": (record.data or {}).get("fingerprint")}
        aside = {"name", "engine", "tags", "cause"}
        given = {key: value for key, value in facts.items() if key not in aside and value is not None}
        job = {"job": _PASSWORD.sub(r"\1***@", given.pop("job"))} if "job" in given else {}
        return {**body, **job, **plain(given)}

    def _see(
        self, activity: Activity, data: Any, fingerprint: Mapping[str, Any] | None, role: str | None = None
    ) -> None:
        facts = data_facts(data, fingerprint)
        run = self._open[activity.id]
        if facts["fingerprint"] not in run.seen:
            run.seen.add(facts["fingerprint"])
            role = role or _ROLES.get(activity.kind, "training")
            self._append("data.seen", activity.id, {"role": role, **facts})

    # ---- events and samples ----------------------------------------------------------------------------

    def _run_of_event(self) -> _Run | None:
        """The run that this thread works on; on a thread of an engine, the only one."""
        work = current()
        if work is not None:
            return self._open.get(work.root.id)
        runs = list(self._open.values())
        return runs[0] if len(runs) == 1 else None

    def _watch(self) -> None:
        with self._lock:
            if self.sample > 0 and self._sampler is None:
                self._sampler = threading.Thread(target=self._look, name="outgrow-usage", daemon=True)
                self._sampler.start()

    def _look(self) -> None:
        before: Usage | None = Usage.now()
        while not self._closed.wait(self.sample):
            if not self._open:
                before = None
                continue
            now = Usage.now()
            if before is not None:
                body = now.since(before)
                for run in list(self._open):
                    self._append("run.sampled", run, body)
            before = now


class _Allowance:
    """So many at once, and then so many a second."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self._left, self._time = most, time.monotonic()

    def take(self) -> bool:
        """Whether one more may be."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._time) * self._rate)
        self._time = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Run:
    """A run under way, and the points of its curves that wait."""

    def __init__(self, activity: Activity, append: Callable[..., None], points: float) -> None:
        self.activity, self._append = activity, append
        self.cpu = time.process_time()
        self.rows = 0
        self.seen: set[str] = set()
        """The fingerprints of the rows that it has read."""
        self.last: dict[str, float | None] = {}
        """The last value of each metric of events and evaluations."""
        self._curves, self._passes = _Allowance(points, _AT_ONCE), _Allowance(points / 10, _AT_ONCE // 10)
        self._looks = _LOOKS
        self._held: dict[tuple[str, str], Event] = {}
        """The last event of a curve, where it was one too many."""
        self._ranked = -math.inf
        self._ranks: dict[str, Sequence[Pace]] = {}
        """What the ranks of a fit did last, where it was told too soon after what is recorded."""
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        """Take a point, or hold it back until the next one."""
        curve = event.stage, event.unit
        self.rows = max(self.rows, event.rows)
        if event.ranks:
            self.rank(event.stage, event.ranks)
        with self._lock:
            if event.unit == STAGE:
                self._release()
                if event.step == 0:
                    return
            elif event.note is None and not self._allowance(event).take():
                self._held[curve] = event
                return
            self._held.pop(curve, None)
            self._put(event)

    def rank(self, stage: str, ranks: Sequence[Pace]) -> None:
        """Take what each rank has done, or hold it back until the next time.

        Parameters
        ----------
        stage : the fit.
        ranks : of each that has told it.
        """
        with self._lock:
            self._ranks[stage] = ranks
            if time.monotonic() - self._ranked >= EVERY:
                self._put_ranks()

    def may_look(self) -> bool:
        """Whether the rows of a part of the run are looked at: of a run that a user made, those of a few."""
        self._looks -= 1
        return isinstance(self.activity.what, str) and self._looks >= 0

    def part(self, activity: Activity, error: BaseException | None) -> None:
        """Take work inside the run for a step of it."""
        with self._lock:
            if not self._passes.take():
                return
        metrics = _numbers(activity.facts.get("metrics"))
        if activity.kind == "evaluate":
            self.last |= metrics
        body: dict[str, Any] = {"stage": f"{activity.kind} {name_of(activity.what)}", "unit": "part"}
        body |= {"seconds": activity.seconds, "metrics": metrics}
        if error is not None:
            body["error"] = error_facts(error)
        self._append("run.passed", self.activity.id, body)

    def close(self) -> None:
        """Let go of what is held back."""
        with self._lock:
            self._release()
            self._put_ranks()

    def _put_ranks(self) -> None:
        for stage, ranks in self._ranks.items():
            body = {"stage": stage, "ranks": list(ranks), "stragglers": stragglers(ranks)}
            self._append("run.ranks", self.activity.id, body)
        self._ranks, self._ranked = {}, time.monotonic()

    def _release(self) -> None:
        for event in self._held.values():
            self._put(event)
        self._held = {}

    def _allowance(self, event: Event) -> _Allowance:
        return self._passes if event.loss is None and not event.metrics else self._curves

    def _put(self, event: Event) -> None:
        metrics = dict(event.metrics)
        if event.loss is not None:
            metrics["loss"] = event.loss
        self.last |= metrics
        body: dict[str, Any] = {"stage": event.stage, "unit": event.unit, "step": event.step}
        for name in ("total", "rows", "seconds", "elapsed", "memory", "slowest", "note"):
            value = getattr(event, name)
            if value:
                body[name] = value
        if metrics:
            body["metrics"] = metrics
        if event.details:
            body["details"] = plain(event.details)
        self._append("run.passed", self.activity.id, body)


def _run_of(activity: Activity) -> str | None:
    """The run that a model comes from which is evaluated by itself."""
    if activity.kind != "evaluate":
        return None
    record = getattr(activity.what, "fit_record_", None)
    return None if record is None else record.run


def _measured(activity: Activity) -> dict[str, Any]:
    facts = activity.facts
    body = {"metrics": _numbers(facts.get("metrics")), "rows": facts.get("rows"), "seconds": activity.seconds}
    if activity.data is not None:
        body["data"] = data_facts(activity.data)
    return body


def _ending(run: _Run, error: BaseException | None) -> dict[str, Any]:
    activity = run.activity
    facts = activity.facts
    record = getattr(activity.what, "fit_record_", None)
    fitted = {} if record is None or error is not None else {**vars(record), "engine": record.engine}
    body: dict[str, Any] = {
        "state": FINISHED if error is None else KILLED if isinstance(error, KeyboardInterrupt) else FAILED,
        "seconds": activity.seconds,
        "cpu_seconds": time.process_time() - run.cpu,
        "memory": peak_bytes(),
        "rows": facts.get("rows") or run.rows or None,
        "metrics": {**run.last, **_numbers(facts.get("metrics"))},
        "fit": {key: value for key, value in fitted.items() if key not in ("run", "data")},
    }
    if facts.get("parameters") is not None:
        body["parameters"] = plain(facts["parameters"])
    for name in ("baseline", "before", "deviations"):
        if facts.get(name) is not None:
            body[name] = _numbers(facts[name])
    if facts.get("folds") is not None:
        body["folds"] = [_numbers(fold) for fold in facts["folds"]]
    if facts.get("reports") is not None:
        body["sites"] = plain(facts["reports"])
    if facts.get("search") is not None:
        body |= _search(facts["search"])
        body["metrics"] = {**body["best"]["metrics"], **body["metrics"]}
    if error is not None:
        body["error"] = error_facts(error)
    elif facts.get("artifacts") is not None:
        folder = facts["artifacts"]
        body["artifacts"] = {"folder": str(folder.resolve()), "files": files_of(folder)}
        body["model"] = learned_digest(folder / "model")
    return {key: value for key, value in body.items() if value not in (None, {})}


def _search(result: Any) -> dict[str, Any]:
    """The trials of a search, and the best of them."""
    table = result.trials
    trials = [
        {key: plain(value) for key, value in row.items()} for row in table.slice(0, _TRIALS).to_pylist()
    ]
    done = any(trial["state"] == "complete" for trial in trials)
    best = (
        {"parameters": plain(result.best_parameters), "metrics": _numbers(result.best_values)} if done else {}
    )
    return {"trials": trials, "trial_count": table.num_rows, "best": {"metrics": {}, **best}}


def _numbers(metrics: Any) -> dict[str, float | None]:
    """Metrics by name, those that are numbers."""
    if metrics is None:
        return {}
    values = {str(name): value for name, value in dict(metrics).items()}
    return {name: float(value) for name, value in values.items() if hasattr(value, "__float__")}


def _engine(engine: Any, data: Any) -> dict[str, Any] | None:
    """The engine by its name, as a command takes it, and in words."""
    engine = engine if engine is not None else getattr(data, "engine", None)
    if engine is None:
        return None
    name = engine.name
    if getattr(engine, "processes", 1) > 1:
        name = f"processes[{engine.processes}]"
    session = getattr(engine, "session", None)
    if session is not None:
        name = session.conf.get("spark.master", name)
    return {"name": name, "about": " ".join(repr(engine).split())[:200]}
