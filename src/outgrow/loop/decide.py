"""What is to be done: a pure function of the policy and of what the log says."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from outgrow.loop.policy import Policy
from outgrow.loop.spans import shown
from outgrow.loop.view import CANNOT_SAY, OK, WORSE, Candidate, View

Decision = dict[str, Any]
GIVEN_UP_AFTER = 30 * 86400.0
"""Seconds after which a candidate is given up that could not be judged, unless the policy says otherwise."""


def decide(policy: Policy, view: View) -> Decision:
    """The next decision: one action, with its key and what it rests on.

    Parameters
    ----------
    policy : what is wanted.
    view : what is so.

    Returns
    -------
    JSON: `number`, `now`, `action`, `key` (which tells it from every other decision), `because`, `of` (the
    keys of the findings it rests on), and what the action needs. The action 'wait' ends a look.
    """
    rules = (_worse, _servers, _watched, _candidate, _champion)
    for rule in rules:
        decision = rule(policy, view)
        if decision is not None:
            break
    else:
        decision = _wait("Nothing drifts, and nothing is under way.")
    number = view.decisions + 1
    return {
        "number": number,
        "now": view.now,
        "key": f"{number}/{decision['action']}",
        "of": [],
        **decision,
    }


def _wait(because: str, of: Sequence[str] = ()) -> Decision:
    return {"action": "wait", "because": because, "of": list(of)}


def _keys(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [finding["key"] for finding in findings]


def _worse(_: Policy, view: View) -> Decision | None:
    """What is worse goes back before anything else, also where servers do not follow."""
    bad = [finding for finding in view.about("step", "live") if finding["verdict"] == WORSE]
    watched = view.watched
    if bad and watched is not None and bad[0]["about"] == "live":
        return {
            "action": "rollback",
            "version": watched.previous,
            "from": watched.version,
            "because": f"Version {watched.version} is worse than {watched.previous}: {bad[0]['because']}",
            "of": _keys(bad),
        }
    candidate = view.candidate
    if candidate is None or candidate.step is None:
        return None
    if bad and bad[0]["about"] == "step":
        because = f"Version {candidate.version} is withdrawn: {bad[0]['because']}"
        return _dropped("withdraw", candidate, because, _keys(bad))
    if candidate.since < view.now and candidate.version not in view.tried:
        because = f"Version {candidate.version} is no canary or shadow any more: somebody took it back."
        return _dropped("withdraw", candidate, because)
    return None


def _servers(policy: Policy, view: View) -> Decision | None:
    """Servers that do not answer with what they should are asked again before anything else happens."""
    if view.unverified is None:
        return None
    if "verify" not in view.done and not view.done & {"step", "promote", "rollback", "withdraw"}:
        because = "Not all servers answered with the versions that they should."
        return {"action": "verify", "because": because, "expected": view.unverified}
    candidate = view.candidate
    if candidate is not None and candidate.step is not None and candidate.step < len(policy.rollout):
        seconds = policy.rollout[candidate.step].seconds
        if view.now > candidate.since and view.now >= candidate.since + 2 * seconds:
            because = (
                f"Servers did not follow version {candidate.version} for {shown(2 * seconds)}: "
                f"{view.unverified['because']}"
            )
            return _dropped("withdraw", candidate, because)
    key = f"servers/{view.unverified['since']}"
    if key not in view.alerted:
        because = f"Servers do not follow: {view.unverified['because']}"
        return {"action": "alert", "because": because, "of": [key], "level": "error"}
    return _wait(f"Waiting for servers: {view.unverified['because']}")


def _watched(policy: Policy, view: View) -> Decision | None:
    """A new champion is sent back, or accepted when its time is over."""
    watched = view.watched
    if watched is None:
        return None
    within = policy.rollback.within if policy.rollback is not None else 0.0
    if view.now >= watched.since + within:
        because = f"Nothing spoke against version {watched.version} for {shown(within)}."
        return {"action": "settle", "version": watched.version, "because": because}
    until = moment(watched.since + within)
    return _wait(f"Version {watched.version} is watched until {until}.", _keys(view.about("live")))


def _candidate(policy: Policy, view: View) -> Decision | None:
    """A candidate is judged, rolled out step by step, and promoted; or dropped."""
    candidate = view.candidate
    if candidate is None:
        return None
    if candidate.step is not None:
        return _rolling(policy, view, candidate)
    if "judge" not in view.done and not (candidate.verdict == "pass" and candidate.beside == view.champion):
        because = f"Version {candidate.version} is new: is it better than version {view.champion}?"
        return {
            "action": "judge",
            "version": candidate.version,
            "champion": view.champion,
            "because": because,
        }
    if candidate.verdict == "fail":
        return _dropped(
            "reject", candidate, f"The gate stopped version {candidate.version}: {candidate.because}"
        )
    if candidate.verdict == "pass":
        return _passed(policy, view, candidate)
    assert policy.gate is not None
    patience = policy.gate.within or GIVEN_UP_AFTER
    if view.now - candidate.made >= patience:
        because = (
            f"Version {candidate.version} could not be judged for {shown(patience)}: {candidate.because}"
        )
        return _dropped("reject", candidate, because)
    return _wait(f"Version {candidate.version} cannot be judged yet: {candidate.because}")


def _dropped(action: str, candidate: Candidate, because: str, of: Sequence[str] = ()) -> Decision:
    return {"action": action, "version": candidate.version, "because": because, "of": list(of)}


def _passed(policy: Policy, view: View, candidate: Candidate) -> Decision:
    if policy.maturity != "fly":
        if not candidate.proposed:
            because = f"Version {candidate.version} passed the gate; a person promotes. {candidate.because}"
            return {"action": "propose", "version": candidate.version, "because": because}
        return _wait(f"Version {candidate.version} passed the gate and waits for a person to promote it.")
    return _next_step(policy, view, candidate, 0, f"The gate passed it: {candidate.because}")


def _next_step(policy: Policy, view: View, candidate: Candidate, index: int, because: str) -> Decision:
    if index < len(policy.rollout):
        step = policy.rollout[index]
        share = {} if step.canary is None else {"share": step.canary}
        return {
            "action": "step",
            "step": index,
            "role": step.role,
            "version": candidate.version,
            "because": because,
            **share,
        }
    return {
        "action": "promote",
        "version": candidate.version,
        "previous": view.champion,
        "because": because,
    }


def _rolling(policy: Policy, view: View, candidate: Candidate) -> Decision:
    assert candidate.step is not None
    step = policy.rollout[candidate.step] if candidate.step < len(policy.rollout) else None
    about = view.about("step")
    if candidate.beside != view.champion or step is None:
        because = f"Version {candidate.version} was judged beside {candidate.beside}, not {view.champion}."
        return _dropped("withdraw", candidate, because)
    name = f"{step.role} of {step.canary:.3g}" if step.canary is not None else "shadow"
    until = candidate.since + step.seconds
    if view.now < until:
        return _wait(f"Version {candidate.version} stays {name} until {moment(until)}.", _keys(about))
    unclear = [finding for finding in about if finding["verdict"] == CANNOT_SAY]
    if unclear or not any(finding["verdict"] == OK for finding in about):
        because = unclear[0]["because"] if unclear else "nothing was seen of it."
        return _wait(f"Version {candidate.version} stays {name}: {because}", _keys(about))
    because = f"It did well as {name}: {about[0]['because']}"
    return _next_step(policy, view, candidate, candidate.step + 1, because)


def _champion(policy: Policy, view: View) -> Decision | None:
    """Drift of the champion is reported, or starts a training; it never promotes."""
    if view.failure is not None:
        because = f"The training failed: {view.failure['because']}"
        return {"action": "alert", "because": because, "of": [view.failure["key"]], "level": "error"}
    triggers = view.triggers
    if not triggers:
        return None
    keys = _keys(triggers)
    because = triggers[-1]["because"]
    if policy.maturity in ("crawl", "walk"):
        if set(keys) <= view.alerted:
            return _wait(f"It was said: {because}", keys)
        if policy.maturity == "crawl":
            return {"action": "report", "because": because, "of": keys, "level": "info"}
        advice = f"{because} Train anew on newer rows, and compare on rows newer than those."
        return {"action": "alert", "because": advice, "of": keys, "level": "warning"}
    return _train(policy, view, keys, because)


def _train(policy: Policy, view: View, keys: list[str], because: str) -> Decision:
    assert policy.retrain is not None
    times, span = policy.retrain.at_most
    late = [began for began in view.trainings if began > view.now - span]
    if len(late) >= times:
        again = moment(late[-times] + span)
        return _wait(
            f"{because} It was trained {len(late)} times in {shown(span)}; again from {again}.", keys
        )
    until = view.now - (policy.retrain.hold_out or 0.0)
    since = None if policy.retrain.rows is None else until - policy.retrain.rows.last
    return {"action": "retrain", "because": because, "of": keys, "since": since, "until": until}


def moment(seconds: float) -> str:
    """Seconds since 1970 as people read them."""
    try:
        time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"
    return time.strftime("%Y-%m-%d %H:%M:%S")
