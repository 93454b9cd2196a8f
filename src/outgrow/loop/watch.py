"""What the loop sees when it looks: findings, each a fact with its numbers and its verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from scipy import stats as scipy_stats

from outgrow.engine.reading import read
from outgrow.inspection.row_losses import OF_NUMBERS, check_metric, losses
from outgrow.loop.decide import moment
from outgrow.loop.load import LoadedPolicy
from outgrow.loop.measure import ALL, Comparison, compare
from outgrow.loop.policy import Policy, Rollback, Step
from outgrow.loop.rows import LandedRows
from outgrow.loop.servers import SHADOW, Answers, ServersLook, look
from outgrow.loop.spans import shown
from outgrow.loop.view import CANNOT_SAY, DRIFT, OK, WORSE, View
from outgrow.loop.windows import lasting_finding
from outgrow.ml.predictor import Predictor
from outgrow.registry.store import ModelStore
from outgrow.stats.e_detector import EDetector, ErrorCounts
from outgrow.stats.paired import PairedDifferences
from outgrow.stats.state import from_tree, merge, to_tree

Finding = dict[str, Any]
_MOST_WINDOWS = 31
"""Windows that are made up for at once, after a loop was away."""
_SURE, _LEAST_REQUESTS = 0.01, 100


@dataclass
class Watcher:
    """Makes the findings of a look; none is made twice.

    Attributes
    ----------
    loaded : the policy.
    store : the versions of the model.
    rows : where rows and labels land.
    """

    loaded: LoadedPolicy
    store: ModelStore
    rows: LandedRows

    @property
    def policy(self) -> Policy:
        return self.loaded.policy

    def findings(self, view: View) -> Iterator[Finding]:
        """What is new since the last look.

        Parameters
        ----------
        view : with the moment and the champion of this look.
        """
        if view.champion is None:
            return
        watch = self.policy.watch
        if watch.data is not None:
            yield from self._data(view)
        if watch.quality is not None:
            yield from self._quality(view)
        if watch.age is not None and view.now - view.champion_since >= watch.age:
            times = int((view.now - view.champion_since) // watch.age)
            because = (
                f"Version {view.champion} answers since {moment(view.champion_since)}, for over "
                f"{shown(watch.age)}."
            )
            key = f"age/{view.champion}/{times}"
            if key not in view.keys:
                yield {
                    "key": key,
                    "about": "age",
                    "verdict": DRIFT,
                    "because": because,
                    "version": view.champion,
                }
        if view.about("step", "live"):
            return
        if view.candidate is not None and view.candidate.step is not None:
            yield self._step(view)
        elif view.watched is not None:
            yield self._live(view)

    def _data(self, view: View) -> Iterator[Finding]:
        data = self.policy.watch.data
        assert data is not None
        version, model = int(view.champion or 0), None
        for end in self._ends(view, "data", data.window, 0.0):
            model = model or self.store.load(version)
            finding = lasting_finding(data, model, version, self.rows, end)
            yield {
                "key": f"data/{view.champion}/{end:.0f}",
                "about": "data",
                "version": view.champion,
                **finding,
            }

    def _quality(self, view: View) -> Iterator[Finding]:
        quality = self.policy.watch.quality
        assert quality is not None
        data = self.policy.watch.data
        window = quality.window or (data.window if data is not None else quality.within)
        version = int(view.champion or 0)
        detector = view.detectors.get(version)
        predictor: Predictor | None = None
        for end in self._ends(view, "quality", window, quality.within):
            if end - window < view.untils.get(version, -math.inf):
                continue  # it learned from some of these rows
            predictor = predictor or Predictor(self.store.load(version))
            finding = self._window_quality(predictor, version, detector, end - window, end, view)
            detector = finding.get("detector", detector)
            yield {"key": f"quality/{version}/{end:.0f}", "about": "quality", "version": version, **finding}

    def _window_quality(
        self, predictor: Predictor, version: int, kept: Any, since: float, until: float, view: View
    ) -> Finding:
        quality = self.policy.watch.quality
        assert quality is not None
        check_metric(predictor, quality.error, version)
        rows = self.rows.labelled(since, until)
        total: Any = None
        baseline = view.baselines.get(version) if kept is None else kept["baseline"]
        bounded = quality.error not in OF_NUMBERS and quality.error != "log_loss"
        if rows is not None:
            fold = _Errors(predictor, quality.label, quality.error, bounded)
            parts = dict(rows.engine.each_piece(rows.scan, fold, stage="quality"))
            for number in sorted(parts):
                total = merge(total, None if parts[number] is None else from_tree(parts[number]))
        when = f"{moment(since)} to {moment(until)}"
        if total is None:
            late = f"{shown(quality.within)} after the window from {when}"
            return {"verdict": CANNOT_SAY, "because": f"No label has come {late}.", "rows": 0}
        of_errors, counts = total
        whole = of_errors.slice(ALL)
        facts = {"rows": whole.rows, "error": whole.mean, "since": since, "until": until}
        text = f"{quality.error} of version {version} from {when} is {whole.mean:.4f} on {whole.rows:,} rows"
        if baseline is None:
            upper = counts.upper() if bounded else whole.interval(0.99)[1]
            because = f"{text}: what later windows are held to is {upper:.4f}."
            return {"verdict": OK, "because": because, "baseline": upper, **facts}
        because = f"{text}, held to {baseline:.4f}."
        if not bounded:
            low, _ = whole.interval(1 - quality.false_alarms)
            return {"verdict": DRIFT if low > baseline else OK, "because": because, **facts}
        detector = EDetector(baseline, quality.false_alarms) if kept is None else EDetector.from_dict(kept)
        detector = detector.update_window(counts)
        verdict = OK if detector.alarm is None else DRIFT
        if detector.alarm is not None:
            because += f" So much more would come once in {1 / quality.false_alarms:,.0f} rows."
            detector = detector.restarted()
        return {"verdict": verdict, "because": because, "detector": detector.to_dict(), **facts}

    def _ends(self, view: View, about: str, window: float, late: float) -> list[float]:
        """The ends of closed windows that no finding is about yet; at the first look, of the last one."""
        last = math.floor((view.now - late) / window)
        prefix = f"{about}/"
        known = [float(key.rsplit("/", 1)[1]) for key in view.keys if key.startswith(prefix)]
        first = round(max(known) / window) + 1 if known else last
        return [index * window for index in range(max(first, last - _MOST_WINDOWS + 1), last + 1)]

    def _step(self, view: View) -> Finding:
        candidate = view.candidate
        assert candidate is not None
        assert candidate.step is not None
        assert view.champion is not None
        steps = self.policy.rollout
        step = steps[candidate.step] if candidate.step < len(steps) else None
        seen, name = self._look()
        parts = list(self._service(view, seen, candidate.version, view.champion))
        if step is not None and step.agree is not None:
            parts.append(self._agreement(step, candidate.since, candidate.version))
        elif step is not None:
            parts.append(_was_asked(seen, view, candidate.version, step, name))
        parts += self._paired(candidate.version, view.champion, candidate.until, view.now)
        key = f"step/{candidate.version}/{candidate.step}/{view.now:.3f}"
        return {"key": key, "about": "step", "version": candidate.version, **_together(parts)}

    def _live(self, view: View) -> Finding:
        watched = view.watched
        assert watched is not None
        seen, _ = self._look()
        parts = list(self._service(view, seen, watched.version, watched.previous))
        parts += self._paired(watched.version, watched.previous, watched.since, view.now)
        key = f"live/{watched.version}/{view.now:.3f}"
        return {"key": key, "about": "live", "version": watched.version, **_together(parts)}

    def _look(self) -> tuple[ServersLook, str]:
        servers = self.policy.servers
        name = served_name(self.policy)
        return (ServersLook() if servers is None else look(servers.urls, name)), name

    def _service(self, view: View, seen: ServersLook, version: int, other: int) -> Iterator[Finding]:
        """Errors and latency of a version since its step began, beside another's."""
        rollback = self.policy.rollback
        before = view.counts or {}
        answers = seen.answers.get(str(version), Answers()).since(Answers.of(before.get(str(version))))
        for problem in seen.away.values():
            yield {"verdict": CANNOT_SAY, "because": f"{problem}."}
        if rollback is None:
            return
        if rollback.errors is not None and answers.failed:
            yield _errors(answers, rollback.errors, version)
        if rollback.latency_p99 is not None:
            theirs = seen.answers.get(str(other), Answers())
            later = theirs.since(Answers.of(before.get(str(other))))
            yield from _latency(
                answers, later if later.answered >= _LEAST_REQUESTS else theirs, rollback, version
            )

    def _agreement(self, step: Step, since: float, version: int) -> Finding:
        """On how many of the rows of the servers' log the shadow said what was answered."""
        servers = self.policy.servers
        assert servers is not None
        assert servers.log is not None
        assert step.agree is not None
        folder = f"{self.loaded.beside(servers.log)}/model={served_name(self.policy)}"
        rows, same = shadow_agreement(folder, version)
        if rows < _LEAST_REQUESTS:
            because = f"the shadow answered {rows:,} rows of the servers' log; {_LEAST_REQUESTS} are needed."
            return {"verdict": CANNOT_SAY, "because": because, "rows": rows}
        share = same / rows
        because = f"the shadow agrees on {share:.2%} of {rows:,} rows, {step.agree:.2%} are asked."
        return {
            "verdict": OK if share >= step.agree else WORSE,
            "because": because,
            "agree": share,
            "rows": rows,
        }

    def _paired(self, version: int, other: int, since: float, now: float) -> list[Finding]:
        """The losses of both on the labelled rows of a span of time."""
        rollback, gate = self.policy.rollback, self.policy.gate
        if rollback is None or rollback.quality is None or gate is None:
            return []
        quality = self.policy.watch.quality
        assert quality is not None
        rows = self.rows.labelled(since, now)
        if rows is None:
            return []
        metric = gate.better.metric
        old, new = (Predictor(self.store.load(number)) for number in (other, version))
        states = compare(rows, Comparison(old, new, quality.label, metric))
        if states is None:
            return []
        better = states[0].slice(ALL)
        if better.rows < gate.better.least_rows:
            return []
        low, high = better.interval(gate.better.confidence)
        because = (
            f"{metric} of version {version} is better than that of {other} by {better.mean:.4f} "
            f"[{low:.4f}, {high:.4f}] on {better.rows:,} rows since {moment(since)}."
        )
        facts = {"rows": better.rows, "better_by": better.mean, "better_low": low, "better_high": high}
        return [{"verdict": WORSE if high < min(gate.better.by, 0.0) else OK, "because": because, **facts}]


@dataclass(frozen=True)
class _Errors:
    """A fold of labelled rows: the errors of a model, and how often each is made."""

    predictor: Predictor
    label: str
    metric: str
    bounded: bool

    def __call__(self, number: int, piece: Any) -> tuple[int, Any]:
        total: Any = None
        for batch in piece.batches():
            labels = batch.to_arrow()[self.label]
            labels = labels.combine_chunks() if hasattr(labels, "combine_chunks") else labels
            errors, _ = losses(self.predictor, batch, labels, self.metric)
            counts = ErrorCounts.of(errors.clip(0.0, 1.0) if self.bounded else _NONE)
            of_errors = PairedDifferences.of(errors, {ALL: np.ones(len(errors), dtype=bool)})
            total = merge(total, (of_errors, counts))
        return number, None if total is None else to_tree(total)


_NONE = np.zeros(0)


def served_name(policy: Policy) -> str:
    """The name under which servers have the model."""
    if policy.servers is not None and policy.servers.name is not None:
        return policy.servers.name
    return policy.model.rstrip("/").rsplit("/", 1)[-1]


def _together(parts: list[Finding]) -> Finding:
    """One finding of several: the worst verdict, and why."""
    for verdict in (WORSE, CANNOT_SAY, OK):
        decisive = [part for part in parts if part["verdict"] == verdict]
        if decisive:
            because = " ".join(part["because"] for part in decisive)
            return {"verdict": verdict, "because": because, "parts": parts}
    return {"verdict": OK, "because": "Nothing speaks against it.", "parts": []}


def _errors(answers: Answers, limit: float, version: int) -> Finding:
    failed, total = answers.failed, answers.failed + answers.answered
    chance = float(scipy_stats.binom.sf(failed - 1, int(total), limit))
    because = f"version {version} failed {failed:,.0f} of {total:,.0f} requests, the limit is {limit:.2%}."
    return {"verdict": WORSE if chance < _SURE else OK, "because": because, "p": chance}


def _latency(answers: Answers, others: Answers, rollback: Rollback, version: int) -> Iterator[Finding]:
    if min(answers.answered, others.answered) < _LEAST_REQUESTS:
        return
    assert rollback.latency_p99 is not None
    latency, other = answers.quantile(0.99), others.quantile(0.99)
    because = f"p99 of version {version} is {latency * 1000:.1f} ms, the other's {other * 1000:.1f} ms."
    yield {"verdict": WORSE if latency > rollback.latency_p99 * other else OK, "because": because}


def _was_asked(seen: ServersLook, view: View, version: int, step: Step, name: str) -> Finding:
    """Whether a version answered at all since its step began."""
    before = (view.counts or {}).get(str(version))
    answers = seen.answers.get(str(version), Answers()).since(Answers.of(before))
    total = answers.answered + answers.failed
    if total:
        return {"verdict": OK, "because": f"it answered {total:,.0f} requests.", "requests": total}
    role = SHADOW if step.shadow is not None else "canary"
    return {"verdict": CANNOT_SAY, "because": f"no request for {name} reached it as {role}."}


def shadow_agreement(folder: str, version: int) -> tuple[int, int]:
    """Rows that a server and its shadow answered, and on how many they agree.

    Parameters
    ----------
    folder : of the server's log, of one model.
    version : of the shadow.
    """
    try:
        logged = read(folder).to_arrow()
    except (OSError, ValueError):
        return 0, 0
    keys = ["request_id", "row"]
    shadow = logged.filter(
        pc.and_(pc.equal(logged["role"], SHADOW), pc.equal(logged["version"], str(version)))
    ).select([*keys, "prediction"])
    answered = logged.filter(pc.not_equal(logged["role"], SHADOW)).select([*keys, "prediction"])
    both = shadow.join(answered, keys, join_type="inner", right_suffix="_answered")
    same = pc.sum(pc.equal(both["prediction"], both["prediction_answered"])).as_py() or 0
    return both.num_rows, int(same)
