"""How the trials of a search run: in workers, one after the other over an engine, or many at once."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from outgrow.engine.protocol import Engine
from outgrow.errors import EngineError, ParameterError
from outgrow.ml.selection.many import fit_many
from outgrow.tuning.plan import Plan
from outgrow.tuning.study import RunningTrial, Study
from outgrow.tuning.supervisor import WorkerSupervisor
from outgrow.tuning.trial import TrialContext, is_pruned
from outgrow.tuning.trial_server import Progress, TrialServer, settle

START_SECONDS = 90.0
"""The time within which the first worker should call."""


@dataclass(frozen=True)
class WorkerPool:
    """The worker processes of a search, and what each may take."""

    workers: int | None
    cores: int
    memory: int | None
    deadline: float | None
    silence: float

    def count(self, engine: Engine) -> int:
        return self.workers or max(1, engine.slots // self.cores)


def on_the_engine(plan: Plan, study: Study, progress: Progress, shares: Mapping[int, float]) -> None:
    """One trial at a time, each a fit over the whole engine.

    Parameters
    ----------
    plan : its rows must be there, and its engine fits all trials.
    study : gets the reports and the result of each trial.
    progress : says when the search is over.
    shares : parts of the rows, by step, that a trial learns from before it may be pruned; the last is all.

    Raises
    ------
    EngineError
        When the engine failed; the trial is left running, and the next run tries it again.
    """
    objective, training = plan.objective(shares, 1), plan.training
    assert training is not None
    while not progress.over():
        running = progress.ask()

        def tell(value: float, step: int, running: RunningTrial = running) -> bool:
            return study.report(running, value, step)

        note = None
        try:
            values, details = objective.on(
                training.dataset, TrialContext(running.number, running.parameters, None, tell)
            )
        except Exception as error:
            if isinstance(error, EngineError):
                raise  # no fault of the settings: the next run tries them again
            if is_pruned(error):
                study.prune(running, {})
            else:
                study.fail(running, f"{type(error).__name__}: {error}")
                note = f"Trial {running.number} failed: {error}"
        else:
            note = settle(study, running, values, details, plan.metrics)
        progress.count(running, note)


def fused(plan: Plan, study: Study, progress: Progress, size: int) -> None:
    """Many settings at a time, in the same scans over the data. Nothing is pruned.

    Parameters
    ----------
    plan : of an estimator of outgrow, with its rows.
    study : gets the result of each trial.
    progress : says when the search is over.
    size : most trials in a scan; the sampler learns nothing of the others among them.
    """
    training = plan.training
    assert training is not None
    while not progress.over():
        batch: list[RunningTrial] = []
        while len(batch) < size and not progress.over(len(batch)):
            batch.append(progress.ask())
        began = time.perf_counter()
        result = fit_many(
            plan.what,
            training.dataset,
            training.target,
            [running.parameters for running in batch],
            training.weight,
            folds=plan.folds,
            params=training.roles,
        )
        seconds = (time.perf_counter() - began) / len(batch)
        for running, trial in zip(batch, result.trials, strict=True):
            if trial.error is not None:
                study.fail(running, f"{type(trial.error).__name__}: {trial.error}")
                progress.count(running, f"Trial {running.number} failed: {trial.error}")
                continue
            details = {"seconds": seconds, "fit_seconds": seconds / plan.folds.count, "std": trial.std()}
            progress.count(running, settle(study, running, trial.mean(), details, plan.metrics))


def with_workers(
    plan: Plan, study: Study, progress: Progress, shares: Mapping[int, float], pool: WorkerPool
) -> None:
    """Trials in processes that take them as they become free.

    Parameters
    ----------
    plan : what is tried; it is sent to the workers, with what reads its rows.
    study : gets the reports and the result of each trial, as workers send them.
    progress : says when the search is over.
    shares : parts of the rows, by step, that a trial learns from before it may be pruned; the last is all.
    pool : how many workers, and what each may take.

    Raises
    ------
    EngineError
        When no worker comes, or all have left before the search was over.
    ParameterError
        When what is tuned cannot be pickled.
    """
    if progress.over():
        return
    engine, failed = plan.engine, []
    interface = engine.host or "127.0.0.1"
    with TrialServer(study, progress, interface, pool.silence) as server:
        supervisor = WorkerSupervisor(
            server.address,
            server.secret,
            secrets.token_hex(8),
            _pickled(plan.objective(shares, pool.cores)),
            plan.staged_rows(),
            pool.cores,
            pool.memory,
            pool.deadline,
            pool.silence,
        )

        def work() -> None:
            try:
                for _ in engine.tasks(supervisor, pool.count(engine), stage="tune"):
                    pass
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="outgrow tune", daemon=True)
        thread.start()
        try:
            while not server.wait(0.2):
                if failed or not thread.is_alive():
                    raise (
                        failed[0]
                        if failed
                        else EngineError("All workers have left before the search was over.")
                    )
                if server.idle_seconds() > START_SECONDS:
                    host, port = server.address
                    raise EngineError(
                        f"No worker has called at {host}:{port} for {START_SECONDS:.0f} s. "
                        "Are there free slots, and can executors reach this host?"
                    )
        except BaseException:
            server.abandon()
            raise
        if server.failure is not None:
            server.abandon()
            raise server.failure
    thread.join(START_SECONDS)


def _pickled(objective: Any) -> bytes:
    try:
        return cloudpickle.dumps(objective)
    except Exception as error:
        raise ParameterError(
            f"What is tuned cannot be sent to a worker: {error}. Leave open files and sessions out of it."
        ) from error
