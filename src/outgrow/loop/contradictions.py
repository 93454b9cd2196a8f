"""What of a policy cannot be meant, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from outgrow.job.document import KeyPath
from outgrow.job.model import Section
from outgrow.loop.policy import EffectSpec, Policy, Watch
from outgrow.loop.spans import shown


def contradictions(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    """What of a policy cannot be meant: where, and why with what to do."""
    yield from _missing(policy)
    yield from _watched(policy)
    yield from _trained(policy)
    yield from _rolled_out(policy)
    yield from _rolled_back(policy)
    gate = policy.gate
    if gate is not None and gate.also.baseline and gate.better.metric == "mae":
        yield ("gate", "also", "baseline"), "is not known for mae. Choose mse, or leave baseline out."


def _missing(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    maturity = policy.maturity
    if policy.model.startswith(("models:", "runs:")):
        yield (
            ("model",),
            (
                f"{policy.model} is in MLflow, whose aliases have no history to roll back by. Give the "
                "folder of an og.ModelStore; outgrow sync mirrors it to MLflow."
            ),
        )
    needed = {"walk": (), "crawl": (), "run": ("retrain", "gate"), "fly": ("retrain", "gate", "rollback")}
    for name in needed[maturity]:
        if getattr(policy, name) is None:
            yield ("maturity",), f"{maturity} needs {name}, which is missing. Add it, or choose walk."
    if policy.retrain is not None and policy.gate is None and maturity not in ("run", "fly"):
        yield ("retrain",), "there is no gate to judge what is trained. Add gate, or take retrain out."
    if policy.watch == Watch():
        yield ("watch",), "nothing is watched. Give data, quality or age."
    if policy.rows is None and _needs_rows(policy):
        yield (
            ("rows",),
            (
                f"is missing, and {', '.join(_needs_rows(policy))} need new rows. "
                "Give rows: {path: ..., time: ...}."
            ),
        )
    if policy.watch.quality is None:
        for name in _needs_labels(policy):
            yield (
                tuple(name.split(".")),
                "needs labels, and watch.quality does not say where they land. Add it.",
            )


def _needs_rows(policy: Policy) -> list[str]:
    names: dict[str, Section | None] = {
        "watch.data": policy.watch.data,
        "watch.quality": policy.watch.quality,
        "gate": policy.gate,
    }
    names["retrain.rows"] = policy.retrain and policy.retrain.rows
    return [name for name, part in names.items() if part is not None]


def _needs_labels(policy: Policy) -> list[str]:
    names = ["gate.better"] if policy.gate is not None else []
    if policy.retrain is not None and policy.retrain.rows is not None:
        names.append("retrain.rows")
    if policy.rollback is not None and policy.rollback.quality is not None:
        names.append("rollback.quality")
    return names


def _watched(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    data = policy.watch.data
    if data is not None and data.seasonal is not None and data.seasonal % data.window:
        yield (
            ("watch", "data", "seasonal"),
            (
                f"{shown(data.seasonal)} is no multiple of the window of {shown(data.window)}, so no "
                "window lies one season before. Make it one."
            ),
        )
    if data is not None and data.effect == EffectSpec():
        yield ("watch", "data", "effect"), "is empty, so nothing would be drift. Give psi, js or ks."
    age, retrain = policy.watch.age, policy.retrain
    if age is not None and retrain is not None and retrain.at_most[1] / retrain.at_most[0] > age:
        yield (
            ("watch", "age"),
            (
                f"a champion is too old after {shown(age)}, but retrain.at_most allows "
                f"{retrain.at_most[0]} in {shown(retrain.at_most[1])}. Make age longer, or allow more."
            ),
        )


def _trained(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    retrain, data = policy.retrain, policy.watch.data
    if retrain is None:
        return
    if retrain.rows is None and retrain.hold_out is not None:
        yield ("retrain", "hold_out"), "keeps rows from a training of rows: give retrain.rows, too."
    if retrain.rows is None:
        return
    if data is not None and retrain.rows.last < data.window:
        yield (
            ("retrain", "rows", "last"),
            (f"{shown(retrain.rows.last)} is less than one window of {shown(data.window)}. Make it longer."),
        )
    if retrain.hold_out is not None and retrain.hold_out >= retrain.rows.last:
        yield (
            ("retrain", "hold_out"),
            (
                f"{shown(retrain.hold_out)} leaves nothing of the {shown(retrain.rows.last)} to learn from. "
                "Make it shorter."
            ),
        )


def _rolled_out(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    steps = policy.rollout
    if steps and policy.maturity != "fly":
        yield (
            ("rollout",),
            (
                f"maturity {policy.maturity} leaves the promotion to a person, so these steps would never be "
                "taken. Choose fly, or take them out."
            ),
        )
    if steps and policy.servers is None:
        yield ("rollout",), "needs servers, to see that they follow. Give servers: [http://...]."
    share = 0.0
    for index, step in enumerate(steps):
        where: KeyPath = ("rollout", index)
        if share >= 1.0:
            yield where, "the step before has 100 % already; after it, nothing is tried. Take this one out."
        elif step.canary is not None and step.canary <= share:
            yield (
                where,
                f"a canary of {step.canary:.3g} after one of {share:.3g} does not grow. Order the steps.",
            )
        elif step.shadow is not None and share > 0:
            yield where, "a shadow after a canary comes too late: it answers already. Put the shadow first."
        if step.agree is not None and policy.servers is not None and policy.servers.log is None:
            yield (*where, "agree"), "is read from the servers' log. Give servers: {urls: ..., log: FOLDER}."
        share = max(share, step.canary or 0.0)


def _rolled_back(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    rollback, quality = policy.rollback, policy.watch.quality
    if rollback is None:
        return
    if rollback.errors is None and rollback.latency_p99 is None and rollback.quality is None:
        yield ("rollback",), "names nothing that sends a version back. Give errors, latency_p99 or quality."
    if (rollback.errors is not None or rollback.latency_p99 is not None) and policy.servers is None:
        yield ("rollback",), "errors and latency are read from servers. Give servers: [http://...]."
    if rollback.quality is not None and quality is not None and rollback.within <= quality.within:
        yield (
            ("rollback", "within"),
            (
                f"{shown(rollback.within)} is over before labels come, which take up to "
                f"{shown(quality.within)} (watch.quality.within). Make it longer."
            ),
        )
    if policy.maturity not in ("run", "fly"):
        yield (
            ("rollback",),
            (
                f"maturity {policy.maturity} promotes nothing that could be rolled back. "
                "Choose fly, or take it out."
            ),
        )
