"""A loop at work: it looks, decides, carries out, and writes each of that into its log."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from outgrow.engine.protocol import Engine
from outgrow.errors import ArtifactError, OutputBusyError, ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.record import encode
from outgrow.loop.carry_out import Carrier
from outgrow.loop.decide import Decision, decide
from outgrow.loop.load import LoadedPolicy, load_policy
from outgrow.loop.policy import AlertsSpec, Policy
from outgrow.loop.rows import LandedRows
from outgrow.loop.tell import Teller
from outgrow.loop.view import BY, View, fold, step
from outgrow.loop.watch import Watcher, served_name
from outgrow.monitor.channels import channels_of
from outgrow.registry.rollout import read_rollout
from outgrow.registry.store import ModelStore

_MOST_ACTIONS = 50
"""Of one look: more is a mistake of ours, and the loop says so rather than to go on for ever."""


class Loop:
    """Follows a policy: each look is a step that a scheduler may call, or `forever` calls.

    Parameters
    ----------
    policy : the path of a policy.yaml, or a loaded one.
    engine : where rows are read; this machine unless given.
    log : instead of the policy's.
    train_here : train in this process, where `retrain.budget` cannot end it, rather than in one of its own.

    Raises
    ------
    JobFileError
        When the policy is not valid, or contradicts itself.

    Examples
    --------
    >>> import outgrow as og
    >>> og.Loop("nowhere.yaml")
    Traceback (most recent call last):
    outgrow.errors.InputNotFoundError: No policy file at nowhere.yaml. Give the path of a YAML file.
    """

    def __init__(
        self,
        policy: str | os.PathLike[str] | LoadedPolicy,
        *,
        engine: Engine | None = None,
        log: EventLog | None = None,
        train_here: bool = False,
    ) -> None:
        self.loaded = policy if isinstance(policy, LoadedPolicy) else load_policy(policy)
        self.store = ModelStore(self.loaded.beside(self.loaded.policy.model))
        self.subject = served_name(self.loaded.policy)
        self.log = log or EventLog(self.loaded.beside(self.loaded.policy.log))
        rows = LandedRows.of(self.loaded, engine)
        self.watcher = Watcher(self.loaded, self.store, rows)
        self.carrier = Carrier(self.loaded, self.store, rows, train_here)
        alerts = self.policy.alerts or AlertsSpec()
        webhooks = list(map(os.path.expandvars, alerts.webhook))
        channels = channels_of(webhooks, alerts.mail, os.path.expandvars(alerts.smtp))
        self.teller = Teller(self.log, self.subject, channels)
        self._view, self._position = View(), 0

    @property
    def policy(self) -> Policy:
        return self.loaded.policy

    def view(self) -> View:
        """What the log says now."""
        for record in self.log.since(self._position, subject=self.subject):
            self._view = fold([record], self.subject, self._view)
            self._position = record.position
        return self._view

    def once(
        self, now: float | None = None, *, listen: Callable[[str, dict[str, Any]], None] | None = None
    ) -> list[Decision]:
        """Look once, and do what follows until there is nothing left to do but wait.

        What an earlier process decided and did not finish is finished first.

        Parameters
        ----------
        now : the moment, in seconds since 1970; a scheduler gives that of its run. By default it is now.
        listen : is told the kind and the body of each record.

        Returns
        -------
        What was decided.

        Raises
        ------
        OutputBusyError
            When another loop works on the model.
        """
        with self.locked():
            return self._look(time.time() if now is None else now, listen or _nobody)

    def forever(self, every: float, listen: Callable[[str, dict[str, Any]], None] | None = None) -> None:
        """Look again and again.

        Parameters
        ----------
        every : seconds from one look to the next.
        listen : as for `once`.
        """
        with self.locked():
            while True:
                began = time.monotonic()
                self._look(time.time(), listen or _nobody)
                time.sleep(max(0.0, every - (time.monotonic() - began)))

    def dry_run(self, now: float | None = None) -> tuple[list[dict[str, Any]], Decision]:
        """What a look would find and decide first; nothing is written and nothing done."""
        moment = time.time() if now is None else now
        view = self.view()
        if view.pending is not None:
            return [], dict(view.pending)
        view = step(view, _record("loop.looked", self._looked(moment)))
        findings = list(self.watcher.findings(view))
        for finding in findings:
            view = step(view, _record("finding", finding))
        return findings, decide(self.policy, view)

    def _look(self, now: float, listen: Callable[[str, dict[str, Any]], None]) -> list[Decision]:
        try:
            return list(self._decisions(now, listen))
        finally:
            self.teller.deliver()

    def _decisions(self, now: float, listen: Callable[[str, dict[str, Any]], None]) -> Iterator[Decision]:
        def write(kind: str, body: dict[str, Any]) -> None:
            self.log.append(kind, self.subject, body, by=BY)
            listen(kind, body)

        view = self.view()
        if view.policy != self.policy.body():
            write("policy.read", {"policy": self.policy.body()})
            view = self.view()
        if view.pending is not None:
            write(*self.carrier.carry_out(dict(view.pending), view))
            view = self.view()
        if now < view.now:
            raise ParameterError(
                f"The loop looked at {view.now:.0f} already, and now is {now:.0f}. Set the clock, or "
                "give --now a later moment."
            )
        if not (view.open and view.now == now):  # else a look that was broken off goes on
            write("loop.looked", self._looked(now))
        for finding in self.watcher.findings(self.view()):
            write("finding", finding)
        for _ in range(_MOST_ACTIONS):
            view = self.view()
            decision = decide(self.policy, view)
            write("decision", decision)
            yield decision
            if decision["action"] == "wait":
                return
            write(*self.carrier.carry_out(decision, view))
        raise RuntimeError(
            f"{_MOST_ACTIONS} actions followed one look at {self.subject}; the last: {decision}."
        )

    def _looked(self, now: float) -> dict[str, Any]:
        champion = self.store.current
        if champion is None:
            raise ArtifactError(
                f"{self.store.path} has no version that was promoted. "
                f"Add one: outgrow promote {self.store.path} MODEL."
            )
        if champion not in self.store.versions:
            raise ArtifactError(
                f"{self.store.path}: version {champion} is current, and its folder is gone; there are "
                f"{self.store.versions}. Put it back, or promote another one."
            )
        tried = sorted(set(read_rollout(self.store.path).versions.values()))
        return {"now": now, "champion": champion, "tried": tried}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only loop that works on the model; the system frees the lock of a process that ends."""
        self.store.path.mkdir(parents=True, exist_ok=True)
        with (self.store.path / ".loop.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputBusyError(
                    f"Another loop works on {self.store.path}. Wait for its end; one loop a model is enough."
                ) from error
            yield


def replay(log: EventLog, subject: str) -> Iterator[tuple[dict[str, Any], Decision]]:
    """Each decision of a log, and what is decided now from what the log said before it.

    Parameters
    ----------
    log : with the records of a loop.
    subject : the name of its model.

    Yields
    ------
    The decision that was written, and the one that is made now. They are equal to the byte, as `encode`
    writes them, unless the rules have changed since.
    """
    view = View()
    for record in log.since(0, subject=subject):
        if record.by == BY and record.kind == "decision" and view.policy is not None:
            yield dict(record.body), decide(Policy.model_validate(view.policy), view)
        view = fold([record], subject, view)


def differing(log: EventLog, subject: str) -> tuple[int, list[tuple[dict[str, Any], Decision]]]:
    """How many decisions a log has, and those that are made otherwise now.

    Parameters
    ----------
    log, subject : as for `replay`.
    """
    pairs = list(replay(log, subject))
    return len(pairs), [(old, new) for old, new in pairs if encode(old) != encode(new)]


def _record(kind: str, body: dict[str, Any]) -> Any:
    return SimpleNamespace(kind=kind, body=body)


def _nobody(_: str, __: dict[str, Any]) -> None:
    pass


def log_path(path: str) -> str:
    """The URI of a log that is to be read, which must be there."""
    if "://" not in path and not Path(path).exists():
        raise ParameterError(f"There is no log at {path}. Give the path or the URI of one.")
    return path
