"""Decisions are carried out: each action may be begun again after a kill, and ends the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outgrow.errors import DataError, OutgrowError
from outgrow.inspection.row_losses import OF_NUMBERS, check_metric
from outgrow.loop.decide import Decision
from outgrow.loop.gate import CANNOT_SAY, judge
from outgrow.loop.load import LoadedPolicy, check_followed
from outgrow.loop.measure import Comparison, compare, evidence, schema_changes
from outgrow.loop.policy import Policy
from outgrow.loop.rows import LandedRows
from outgrow.loop.servers import CANARY, PRIMARY, SHADOW, ServersLook, verify
from outgrow.loop.training import Training
from outgrow.loop.view import BY, View
from outgrow.loop.watch import served_name
from outgrow.ml.predictor import Predictor
from outgrow.registry.rollout import Rollout, write_rollout
from outgrow.registry.store import ModelStore
from outgrow.stats.e_detector import upper_mean

Outcome = tuple[str, dict[str, Any]]


@dataclass
class Carrier:
    """Carries decisions out.

    Attributes
    ----------
    loaded : the policy.
    store : the versions of the model.
    rows : where rows and labels land.
    train_here : in this process, rather than in one of its own.

    Raises
    ------
    JobFileError
        When the policy fits neither its job nor its champion.
    """

    loaded: LoadedPolicy
    store: ModelStore
    rows: LandedRows
    train_here: bool = False

    def __post_init__(self) -> None:
        check_followed(self.loaded, self.store)

    @property
    def policy(self) -> Policy:
        return self.loaded.policy

    def carry_out(self, decision: Decision, view: View) -> Outcome:
        """Do what was decided.

        Parameters
        ----------
        decision : by `decide`; one that was carried out in part, or whole, is carried out the same again.
        view : when it was decided.

        Returns
        -------
        The kind and the body of the record that says so.
        """
        kind, body = getattr(self, f"_{decision['action']}")(decision, view)
        return kind, {"key": decision["key"], "action": decision["action"], **body}

    def _retrain(self, decision: Decision, _: View) -> Outcome:
        training = Training(self.loaded, self.store, self.rows, self.train_here)
        return "action", training.run(decision["number"], decision["since"], decision["until"])

    def _judge(self, decision: Decision, view: View) -> Outcome:
        gate, quality = self.policy.gate, self.policy.watch.quality
        assert gate is not None
        assert quality is not None
        numbers = {"candidate": decision["version"], "champion": decision["champion"]}
        try:
            candidate, champion = (Predictor(self.store.load(numbers[name])) for name in numbers)
            check_metric(candidate, gate.better.metric, numbers["candidate"])
            check_metric(champion, gate.better.metric, numbers["champion"])
        except OutgrowError as error:
            return "gate.judged", {**numbers, "verdict": "fail", "because": str(error), "checks": []}
        if gate.also.model_schema is not None and (changes := schema_changes(champion, candidate)):
            because = f"The schema changed: {'; '.join(changes)}."
            return "gate.judged", {**numbers, "verdict": "fail", "because": because, "checks": []}
        bounded = quality.error not in OF_NUMBERS and quality.error != "log_loss"
        comparison = Comparison(
            champion,
            candidate,
            quality.label,
            gate.better.metric,
            tuple(gate.slices.by) if gate.slices is not None else (),
            gate.fair.by if gate.fair is not None else None,
            gate.fair.positive if gate.fair is not None else None,
            quality.error,
        )
        since = max(view.untils.get(number, float("-inf")) for number in numbers.values())
        rows = self.rows.labelled(since, view.now)
        try:
            states = None if rows is None else compare(rows, comparison)
        except DataError as error:  # labels that are written another way may be mended while it waits
            return "gate.judged", {**numbers, "verdict": CANNOT_SAY, "because": str(error), "checks": []}
        facts = evidence(gate, states, champion, candidate, self.store.path / str(decision["version"]))
        if states is not None and gate.better.metric not in OF_NUMBERS:
            facts["strangers"] = int(states[2][0])
        baseline = _baseline(facts, quality.error) if bounded and facts["rows"] else None
        span = {"since": since, "until": view.now}
        verdict = judge(gate, facts)
        return "gate.judged", {**numbers, **verdict, **span, "evidence": facts, "baseline": baseline}

    def _reject(self, decision: Decision, _: View) -> Outcome:
        return "action", {"outcome": "done", "version": decision["version"]}

    _settle = _reject

    def _propose(self, decision: Decision, view: View) -> Outcome:
        command = f"outgrow promote {self.store.path} {decision['version']}"
        return "alert", {"level": "info", "because": decision["because"], "command": command}

    def _report(self, decision: Decision, _: View) -> Outcome:
        return "alert", {"level": decision["level"], "because": decision["because"]}

    _alert = _report

    def _step(self, decision: Decision, view: View) -> Outcome:
        version = decision["version"]
        if decision["role"] == SHADOW:
            rollout = Rollout(shadow=version)
        else:
            rollout = Rollout(canary=version, share=decision["share"])
        write_rollout(self.store, rollout, why=decision["because"], by=BY)
        return self._verified(view, int(view.champion or 0), rollout)

    def _promote(self, decision: Decision, view: View) -> Outcome:
        return self._moved(decision, view)

    def _rollback(self, decision: Decision, view: View) -> Outcome:
        return self._moved(decision, view, back=True)

    def _moved(self, decision: Decision, view: View, *, back: bool = False) -> Outcome:
        version, why = decision["version"], decision["because"]
        if back:  # a person who then rolls back, too, must not come to the version that was sent back
            self.store.rollback(to=version, why=why, evidence=decision["key"], by=BY)
        else:
            self.store.promote(version, why=why, evidence=decision["key"], by=BY)
        write_rollout(self.store, Rollout(), why=why, by=BY)
        return self._verified(view, decision["version"], Rollout())

    def _withdraw(self, decision: Decision, view: View) -> Outcome:
        write_rollout(self.store, Rollout(), why=decision["because"], by=BY)
        return self._verified(view, int(view.champion or 0), Rollout())

    def _verify(self, decision: Decision, _: View) -> Outcome:
        return self._answered(decision["expected"]["roles"], decision["expected"]["since"])

    def _verified(self, view: View, champion: int, rollout: Rollout) -> Outcome:
        roles = {PRIMARY: champion, CANARY: rollout.canary, SHADOW: rollout.shadow}
        return self._answered(roles, view.now)

    def _answered(self, roles: Mapping[str, int | None], since: float) -> Outcome:
        """Whether the servers really answer with what they should, in words and as counts."""
        servers = self.policy.servers
        if servers is None:
            return "rollout.stepped", {
                "outcome": "done",
                "verified": True,
                "roles": dict(roles),
                "servers": 0,
            }
        problem, seen = verify(servers.urls, served_name(self.policy), roles, servers.answer_within)
        body = {
            "outcome": "done",
            "roles": dict(roles),
            "servers": len(servers.urls),
            "counts": seen.counts(),
        }
        if problem is None:
            return "rollout.stepped", {**body, "verified": True, "answers": _roles(seen)}
        expected = {"roles": dict(roles), "since": since, "because": problem}
        return "rollout.stepped", {**body, "verified": False, "expected": expected, "answers": _roles(seen)}


def _baseline(facts: Mapping[str, Any], error: str) -> float:
    """What the mean error of labels of known classes is at most: strangers are taken out with their least."""
    rows, strange, mean = facts["rows"], facts["strangers"], facts["watched_error"]
    if strange:
        least = 1.0 if error == "error_rate" else 0.5  # half of (p - 1[y])², with no class y
        mean, rows = max(0.0, (mean * rows - least * strange) / (rows - strange)), rows - strange
    return upper_mean(mean, rows)


def _roles(seen: ServersLook) -> dict[str, Any]:
    return {
        url: None if roles is None else {role: sorted(versions) for role, versions in sorted(roles.items())}
        for url, roles in seen.roles.items()
    }
