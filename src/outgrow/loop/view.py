"""What the loop knows: a fold of its log, so that it can be made anew at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from outgrow.log.record import Record

BY = "outgrow loop"
"""Who writes the records that the view is made of."""
DRIFT, WORSE, OK, CANNOT_SAY = "drift", "worse", "ok", "cannot say"
_ENDS = frozenset(("action", "gate.judged", "rollout.stepped", "alert"))
_KEPT = 512
"""Keys of findings that are remembered, so that none is made twice."""


@dataclass(frozen=True)
class Candidate:
    """A version that was learned and is not promoted.

    Attributes
    ----------
    version : its number in the store.
    made : when it was decided to learn it.
    until : the end of the time whose rows it learned from.
    verdict, beside : of the gate, and the champion it was judged beside; None before.
    step, since : of the rollout, and when the step began; None before.
    proposed : whether a person was decision to promote it.
    """

    version: int
    made: float
    until: float
    verdict: str | None = None
    beside: int | None = None
    because: str = ""
    step: int | None = None
    since: float = 0.0
    proposed: bool = False


@dataclass(frozen=True)
class Watched:
    """A new champion that may still be sent back.

    Attributes
    ----------
    version, previous : the new champion, and the one before it.
    since : when it was promoted.
    """

    version: int
    previous: int
    since: float


@dataclass(frozen=True)
class View:
    """What is so after some records.

    Attributes
    ----------
    now : when the loop looked last, by its clock.
    tried : versions that were canary or shadow at that look, as the store has it.
    open : whether that look has not come to its end.
    champion, champion_since : the version that answers, and when the loop first saw or made it so.
    decisions : how many there were.
    pending : a decision that was not carried out yet; None for none.
    findings : of the last look.
    done : which actions ended since the last look.
    triggers : findings of drift since the last training or promotion.
    keys : of findings that were made.
    trainings : when trainings were begun.
    untils : by version, the end of the time whose rows it learned from.
    baselines : by version, the error it is held to.
    detectors : by version, the state of the detector of its errors.
    counts : what the servers had counted when the step under way began.
    unverified : what servers should answer with, and did not; None when they do.
    alerted : keys of triggers that were reported.
    failure : of the last training; None where it did not fail, or that was said.
    policy : as the loop read it last.
    """

    now: float = 0.0
    tried: tuple[int, ...] = ()
    open: bool = False
    champion: int | None = None
    champion_since: float = 0.0
    decisions: int = 0
    pending: Mapping[str, Any] | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    done: frozenset[str] = frozenset()
    triggers: tuple[Mapping[str, Any], ...] = ()
    keys: tuple[str, ...] = ()
    trainings: tuple[float, ...] = ()
    untils: Mapping[int, float] = None  # type: ignore[assignment]
    baselines: Mapping[int, float] = None  # type: ignore[assignment]
    detectors: Mapping[int, Any] = None  # type: ignore[assignment]
    counts: Mapping[str, Any] | None = None
    candidate: Candidate | None = None
    watched: Watched | None = None
    unverified: Mapping[str, Any] | None = None
    alerted: frozenset[str] = frozenset()
    failure: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("untils", "baselines", "detectors"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, {})

    def about(self, *subjects: str) -> list[Mapping[str, Any]]:
        """The findings of the last look about some subjects."""
        return [finding for finding in self.findings if finding["about"] in subjects]


def fold(records: Iterable[Record], subject: str, view: View | None = None) -> View:
    """The view after more records.

    Parameters
    ----------
    records : in the order of the log; those of other subjects and other writers change nothing.
    subject : the model's name.
    view : of the records before; None of none.
    """
    view = view or View()
    for record in records:
        if record.subject == subject and record.by == BY:
            view = step(view, record)
    return view


def step(view: View, record: Record) -> View:
    """The view after one more record.

    Parameters
    ----------
    view : before it.
    record : of the loop, about its model.
    """
    body = record.body
    if record.kind == "policy.read":
        return replace(view, policy=body["policy"])
    if record.kind == "loop.looked":
        return _looked(view, body)
    if record.kind == "finding":
        return _found(view, body)
    if record.kind == "decision":
        view = replace(view, decisions=body["number"])
        return replace(view, open=False) if body["action"] == "wait" else _decided(view, body)
    if record.kind in _ENDS and view.pending is not None and body.get("key") == view.pending["key"]:
        ended = replace(view, pending=None, done=view.done | {view.pending["action"]})
        return _ENDED[view.pending["action"]](ended, view.pending, body)
    return view


def _looked(view: View, body: Mapping[str, Any]) -> View:
    now, champion = body["now"], body["champion"]
    tried = tuple(body.get("tried", ()))
    view = replace(view, now=now, tried=tried, open=True, findings=(), done=frozenset())
    if champion == view.champion:
        return view
    candidate, watched = view.candidate, None
    if candidate is not None and champion == candidate.version and view.champion is not None:
        watched = Watched(champion, view.champion, now)  # a person promoted what was proposed
        return replace(_promoted(view, now, champion), watched=watched)
    if candidate is not None:  # the gate's verdict was about another champion
        candidate = replace(candidate, verdict=None, beside=None)
    return replace(
        view, champion=champion, champion_since=now, candidate=candidate, watched=None, triggers=()
    )


def _found(view: View, body: Mapping[str, Any]) -> View:
    triggers = view.triggers
    if body["verdict"] == DRIFT:
        triggers = (*triggers, body)
    detectors, baselines = view.detectors, view.baselines
    if "detector" in body:
        detectors = {**detectors, body["version"]: body["detector"]}
    if body.get("baseline") is not None and body.get("version") not in baselines:
        baselines = {**baselines, body["version"]: body["baseline"]}
    return replace(
        view,
        findings=(*view.findings, body),
        triggers=triggers,
        keys=(*view.keys, body["key"])[-_KEPT:],
        detectors=detectors,
        baselines=baselines,
    )


def _decided(view: View, body: Mapping[str, Any]) -> View:
    view = replace(view, pending=body)
    if body["action"] == "retrain":
        return replace(view, trainings=(*view.trainings, view.now)[-64:], triggers=())
    return view


def _retrained(view: View, decision: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    if body["outcome"] != "done":
        return replace(view, failure={"key": body["key"], "because": body["because"]})
    candidate = Candidate(body["version"], view.now, decision["until"])
    return replace(view, candidate=candidate, untils={**view.untils, body["version"]: decision["until"]})


def _judged(view: View, _: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    assert view.candidate is not None
    verdict = {"verdict": body["verdict"], "beside": body["champion"], "because": body["because"]}
    view = replace(view, candidate=replace(view.candidate, **verdict))
    baseline = body.get("baseline")
    if baseline is None:
        return view
    return replace(view, baselines={**view.baselines, view.candidate.version: baseline})  # type: ignore[union-attr]


def _stepped(view: View, decision: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    assert view.candidate is not None
    candidate = replace(view.candidate, step=decision["step"], since=view.now)
    return replace(_verified(view, decision, body), candidate=candidate, counts=body.get("counts"))


def _promoted_by_us(view: View, decision: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    watched = Watched(decision["version"], decision["previous"], view.now)
    view = _promoted(view, view.now, decision["version"])
    return replace(_verified(view, decision, body), watched=watched, counts=body.get("counts"))


def _promoted(view: View, now: float, version: int) -> View:
    return replace(view, champion=version, champion_since=now, candidate=None, triggers=(), counts=None)


def _rolled_back(view: View, decision: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    view = _promoted(view, view.now, decision["version"])
    return replace(_verified(view, decision, body), watched=None)


def _verified(view: View, _: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    return replace(view, unverified=None if body.get("verified", True) else body["expected"])


def _withdrawn(view: View, decision: Mapping[str, Any], body: Mapping[str, Any]) -> View:
    return replace(_verified(view, decision, body), candidate=None, counts=None)


def _settled(view: View, *_: Any) -> View:
    return replace(view, watched=None, counts=None)


def _proposed(view: View, *_: Any) -> View:
    assert view.candidate is not None
    return replace(view, candidate=replace(view.candidate, proposed=True))


def _alerted(view: View, decision: Mapping[str, Any], _: Any) -> View:
    failure = view.failure
    if failure is not None and failure["key"] in decision["of"]:
        failure = None
    return replace(view, alerted=view.alerted | set(decision["of"]), failure=failure)


_ENDED = {
    "retrain": _retrained,
    "judge": _judged,
    "reject": _withdrawn,
    "propose": _proposed,
    "step": _stepped,
    "promote": _promoted_by_us,
    "withdraw": _withdrawn,
    "settle": _settled,
    "rollback": _rolled_back,
    "verify": _verified,
    "report": _alerted,
    "alert": _alerted,
}
"""What is so after an action has ended, by the action."""
