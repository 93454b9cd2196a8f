"""Whether a candidate may go on: a pure function of what the gate asks and of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scipy import stats as scipy_stats

from outgrow.loop.policy import Fair, Gate, Slices
from outgrow.stats.paired import Differences

PASS, FAIL, CANNOT_SAY = "pass", "fail", "cannot say"
Check = dict[str, Any]


def judge(gate: Gate, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict, with each check and its reason.

    Parameters
    ----------
    gate : what is limits.
    evidence : as `measure.evidence` gives it, or the log gives it back.

    Returns
    -------
    `verdict`: 'fail' where any check failed, else 'cannot say' where any cannot be answered yet, else 'pass'.
    """
    checks = list(_checks(gate, evidence))
    verdicts = {check["verdict"] for check in checks}
    verdict = FAIL if FAIL in verdicts else CANNOT_SAY if CANNOT_SAY in verdicts else PASS
    decisive = [check["because"] for check in checks if check["verdict"] == verdict]
    return {"verdict": verdict, "because": " ".join(decisive[:3]), "checks": checks}


def _checks(gate: Gate, evidence: Mapping[str, Any]) -> Iterator[Check]:
    yield _better(gate, evidence)
    enough = evidence["rows"] >= gate.better.least_rows
    if gate.slices is not None and enough:
        yield _slices(gate.slices, evidence)
    if gate.fair is not None and enough:
        yield from _fair(gate.fair, evidence)
    if gate.also.baseline and enough:
        yield _baseline(gate, evidence)
    for name, what, unit in (("latency_p99_ms", "p99 of one row", "ms"), ("size_mb", "the model", "MB")):
        limit = getattr(gate.also, name)
        if limit is not None:
            value = evidence[name]
            verdict = PASS if value <= limit else FAIL
            yield _check(
                name, verdict, f"{what} is {value:.3g} {unit}, the limit {limit:g} {unit}.", value=value
            )
    if gate.also.model_schema is not None:
        changes = evidence["schema"]
        because = f"the schema changed: {'; '.join(changes[:3])}." if changes else "the schema is the same."
        yield _check("schema", FAIL if changes else PASS, because)


def _check(name: str, verdict: str, because: str, **facts: Any) -> Check:
    return {"check": name, "verdict": verdict, "because": because, **facts}


def _better(gate: Gate, evidence: Mapping[str, Any]) -> Check:
    better, rows = gate.better, evidence["rows"]
    if rows < better.least_rows:
        because = f"{rows:,} labelled rows are newer than the training; {better.least_rows:,} are needed."
        return _check("better", CANNOT_SAY, because)
    low, high = evidence["better_low"], evidence["better_high"]
    loss, old = evidence["candidate_loss"], evidence["champion_loss"]
    shown = (
        f"{better.metric} {loss:.4f} beside the champion's {old:.4f} on {rows:,} rows: better by "
        f"{old - loss:.4f} [{low:.4f}, {high:.4f}]"
    )
    if low > better.by or (better.by < 0 and low >= better.by):
        return _check("better", PASS, f"{shown}, surely more than {better.by:g}.")
    if high < better.by or (high <= 0 and better.by >= 0):
        return _check("better", FAIL, f"{shown}, surely less than {better.by:g}.")
    return _check("better", CANNOT_SAY, f"{shown}, which may be more or less than {better.by:g}.")


def _slices(limits: Slices, evidence: Mapping[str, Any]) -> Check:
    worse_by = {
        name: Differences(int(n), -total, squares) for name, (n, total, squares) in evidence["slices"].items()
    }
    judged = {name: slice for name, slice in worse_by.items() if slice.rows >= limits.least_rows}
    few = len(worse_by) - len(judged)
    facts = {"slices": len(judged), "too_few_rows": few}
    if not judged:
        because = f"no slice of {', '.join(limits.by)} has {limits.least_rows:,} rows yet."
        return _check("slices", CANNOT_SAY, because, **facts)
    names = sorted(judged)
    p_values = [judged[name].p_above(limits.worse_by_at_most) for name in names]
    q_values = scipy_stats.false_discovery_control(p_values).tolist()
    worse = sorted((q, name) for q, name in zip(q_values, names, strict=True) if q <= limits.fdr)
    if not worse:
        because = f"none of {len(judged)} slices is worse by more than {limits.worse_by_at_most:g}"
        return _check("slices", PASS, f"{because} ({few} have too few rows).", **facts)
    shown = ", ".join(f"{name} by {judged[name].mean:.4f} (q {q:.2g})" for q, name in worse[:5])
    return _check(
        "slices",
        FAIL,
        f"worse by more than {limits.worse_by_at_most:g} in {len(worse)} slices: {shown}.",
        worse=[name for _, name in worse],
        **facts,
    )


def _fair(limits: Fair, evidence: Mapping[str, Any]) -> Iterator[Check]:
    few = [group for group, rows in evidence["groups"].items() if rows < limits.least_rows]
    for name in ("demographic_parity_difference", "equalized_odds_difference"):
        limit = getattr(limits, name)
        if limit is None:
            continue
        value = evidence["fair"][name]
        if value is None or value != value:
            because = (
                f"{name} by {limits.by} needs two groups of {limits.least_rows:,} rows with both classes."
            )
            yield _check(name, CANNOT_SAY, because, too_few_rows=few)
            continue
        because = f"{name} by {limits.by} is {value:.3f}, the limit {limit:g}."
        yield _check(name, PASS if value <= limit else FAIL, because, value=value, too_few_rows=few)


def _baseline(gate: Gate, evidence: Mapping[str, Any]) -> Check:
    loss, constant = evidence["candidate_loss"], evidence["baseline_loss"]
    if constant is None or constant != constant:
        return _check("baseline", CANNOT_SAY, f"no constant answer is known for {gate.better.metric}.")
    if constant <= 0:
        return _check("baseline", CANNOT_SAY, "the labels of these rows are all the same; wait for others.")
    because = f"{gate.better.metric} {loss:.4f} beside {constant:.4f} of the best constant answer."
    return _check("baseline", PASS if loss < constant else FAIL, because)
