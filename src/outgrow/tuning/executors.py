"""How the trials of a search run: in workers, one after the other over an engine, or many at once."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from outgrow.errors import EngineError, ParameterError
from outgrow.ml.selection.many import fit_many
from outgrow.tuning.plan import Plan
from outgrow.tuning.study import RunningTrial, Study
from outgrow.tuning.supervisor import WorkerSupervisor
from outgrow.tuning.trial import Handle, is_pruned
from outgrow.tuning.trial_server import Progress, TrialServer, settle

STARTING = 90.0
"""Seconds within which the first worker should call."""


@dataclass(frozen=True)
class WorkerPool:
    """Who works, and what each may take."""

    workers: int | None
    cores: int
    memory: int | None
    deadline: float | None
    silence: float

    def count(self, engine: Any) -> int:
        slots = getattr(engine, "slots", None) or len(os.sched_getaffinity(0))
        return self.workers or max(1, slots // self.cores)


def on_the_engine(plan: Plan, study: Study, progress: Progress, shares: Mapping[int, float]) -> None:
    """One trial at a time, each a fit over the whole engine."""
    objective, training = plan.objective(shares, 1), plan.training
    assert training is not None
    while not progress.over():
        asked = progress.ask()

        def tell(value: float, step: int, asked: RunningTrial = asked) -> bool:
            return study.report(asked, value, step)

        note = None
        try:
            found, details = objective.on(
                training.dataset, Handle(asked.number, asked.parameters, None, tell)
            )
        except Exception as error:
            if isinstance(error, EngineError):
                raise  # no fault of the settings: the next run tries them again
            if is_pruned(error):
                study.prune(asked, {})
            else:
                study.fail(asked, f"{type(error).__name__}: {error}")
                note = f"Trial {asked.number} failed: {error}"
        else:
            note = settle(study, asked, found, details, plan.metrics)
        progress.count(note)


def fused(plan: Plan, study: Study, progress: Progress, size: int) -> None:
    """Many settings at a time, in the same scans over the data."""
    training = plan.training
    assert training is not None
    while not progress.over():
        batch: list[RunningTrial] = []
        while len(batch) < size and not progress.over(len(batch)):
            batch.append(progress.ask())
        began = time.perf_counter()
        found = fit_many(
            plan.what,
            training.dataset,
            training.target,
            [asked.parameters for asked in batch],
            training.weight,
            folds=plan.folds,
        )
        seconds = (time.perf_counter() - began) / len(batch)
        for asked, trial in zip(batch, found.trials, strict=True):
            if trial.error is not None:
                study.fail(asked, f"{type(trial.error).__name__}: {trial.error}")
                progress.count(f"Trial {asked.number} failed: {trial.error}")
                continue
            details = {"seconds": seconds, "fit_seconds": seconds / plan.folds.count, "std": trial.std()}
            progress.count(settle(study, asked, trial.mean(), details, plan.metrics))


def with_workers(
    plan: Plan, study: Study, progress: Progress, shares: Mapping[int, float], crew: WorkerPool
) -> None:
    """Trials in processes that take them as they become free."""
    if progress.over():
        return
    engine, failed = plan.engine, []
    host = engine.host() if hasattr(engine, "host") else "127.0.0.1"
    with TrialServer(study, progress, host or "127.0.0.1", crew.silence) as desk:
        guardian = WorkerSupervisor(
            desk.address,
            desk.secret,
            secrets.token_hex(8),
            _pickled(plan.objective(shares, crew.cores)),
            plan.material(),
            crew.cores,
            crew.memory,
            crew.deadline,
            crew.silence,
        )

        def work() -> None:
            try:
                for _ in engine.tasks(guardian, crew.count(engine), stage="tune"):
                    pass
            except Exception as error:
                failed.append(error)

        crowd = threading.Thread(target=work, name="outgrow tune", daemon=True)
        crowd.start()
        try:
            while not desk.wait(0.2):
                if failed or not crowd.is_alive():
                    raise (
                        failed[0]
                        if failed
                        else EngineError("All workers have left before the search was over.")
                    )
                if desk.idle_seconds() > STARTING:
                    raise EngineError(
                        f"No worker has called at {desk.address[0]}:{desk.address[1]} for {STARTING:.0f} s. "
                        "Are there free slots, and can executors reach this host?"
                    )
        except BaseException:
            desk.abandon()
            raise
        if desk.failure is not None:
            desk.abandon()
            raise desk.failure
    crowd.join(STARTING)


def _pickled(objective: Any) -> bytes:
    try:
        return cloudpickle.dumps(objective)
    except Exception as error:
        raise ParameterError(
            f"What is tuned cannot be sent to a worker: {error}. Leave open files and sessions out of it."
        ) from error
