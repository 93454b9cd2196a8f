"""One Spark job under the driver's eyes: it must start, it must not fall silent, and it can be cancelled."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from outgrow import errors
from outgrow.engine.spark.driver import DriverServer
from outgrow.engine.spark.explain import explain, from_spark
from outgrow.errors import EngineError, OutgrowError, RankLostError, TooFewSlotsError

SLOT_TIMEOUT = 20.0
"""Seconds for which a job may wait for free slots by default; a busy machine takes some to start tasks."""

PLANNING = 60.0
"""Seconds more that Spark may take to plan a job over a DataFrame: a thousand columns take some."""

_ENDING = 5.0
"""Seconds within which a job ends by itself after a rank has told that it failed, or that one is lost."""

_GROUP = ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel")
_LOST = (
    "Python worker exited unexpectedly",
    "ExecutorLostFailure",
    "RankLostError",
    "Lost executor",
    "Failed to connect to",
    "worker lost",
    "SIGKILL",
)


def is_connect(session: Any) -> bool:
    """Whether a session is a Spark Connect one."""
    return ".connect." in type(session).__module__


class Supervisor:
    """Runs a job of a session and looks after it.

    Parameters
    ----------
    hub : where the job's ranks call.
    ranks : how many tasks must run at once.
    deadline : seconds of silence of rank 0 that are too many.
    starting : seconds for which the job may wait for free slots; Connect does not tell whether it does.
    planning : seconds more while Spark has no job of ours yet.
    waited : seconds for which jobs before it have waited for the same.
    properties : more local properties of the job; of a session that is no Connect one.
    """

    def __init__(
        self,
        session: Any,
        hub: DriverServer,
        stage: str,
        ranks: int,
        deadline: float,
        starting: float = SLOT_TIMEOUT,
        planning: float = 0.0,
        waited: float = 0.0,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._hub = hub
        self._stage = stage
        self._ranks = ranks
        self._deadline = deadline
        self._starting = starting
        self._planning = planning
        self._waited = waited
        self._properties = properties or {}
        self._name = f"outgrow-{secrets.token_hex(8)}"
        self._connect = is_connect(session)
        self._verdict: OutgrowError | None = None
        self._done = threading.Event()

    def collect(self, frame: Any) -> pa.Table:
        """The rows of a DataFrame.

        Raises
        ------
        TooFewSlotsError
            When no task of the job ran for `starting` seconds.
        RankLostError
            When a task's process or executor is gone or fell silent.
        EngineError
            When Spark fails for another reason.
        """
        watch = threading.Thread(target=self._watch, daemon=True)
        with self._named():
            watch.start()
            try:
                return frame.toArrow()
            except KeyboardInterrupt:
                self._cancel()
                raise
            except Exception as error:
                if _interrupted(error):
                    self._cancel()
                    raise KeyboardInterrupt from None
                if not from_spark(error):
                    raise
                raise self._explained(str(error)) from None
            finally:
                self._done.set()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """The jobs inside carry our name, by which they can be asked about and cancelled."""
        if self._connect:
            self._session.addTag(self._name)
            try:
                yield
            finally:
                self._session.removeTag(self._name)
            return
        context = self._session.sparkContext
        before = {key: context.getLocalProperty(key) for key in (*_GROUP, *self._properties)}
        context.setJobGroup(self._name, f"outgrow: {self._stage}", interruptOnCancel=True)
        for key, value in self._properties.items():
            context.setLocalProperty(key, value)
        try:
            yield
        finally:
            for key, value in before.items():
                context.setLocalProperty(key, value)

    def _cancel(self) -> None:
        if self._connect:
            self._session.interruptTag(self._name)
        else:
            self._session.sparkContext.cancelJobGroup(self._name)

    def _watch(self) -> None:
        state, since = "planning", time.monotonic()
        while not self._done.wait(0.5):
            before, state = state, "running" if self._hub.started else self._state()
            if state == "running" or state != before:
                since = time.monotonic()
            patience = self._starting + (self._planning if state == "planning" else 0.0)
            if time.monotonic() - since > patience:
                seconds = self._waited + patience
                self._verdict = TooFewSlotsError(
                    f"{self._stage} needs {self._ranks} tasks at once, and for {seconds:.0f} s the cluster "
                    "had no free slots for them. Wait until other jobs are done, add executors, or ask for "
                    "fewer with og.Spark(session, ranks=...)."
                )
            elif self._hub.failed_for() > _ENDING:
                self._verdict = self._told()  # others still wait, or an executor cannot tell Spark
            elif self._hub.silence() > 1.5 * self._deadline:
                self._verdict = RankLostError(
                    f"Rank 0 has not been heard of for {1.5 * self._deadline:g} s. "
                    "Look at that executor's log.",
                    rank=0,
                )
            if self._verdict is not None:
                self._cancel()
                return

    def _state(self) -> str:
        """What the job does: planning, waiting for slots, or running (where nobody can tell, too)."""
        if self._connect:
            return "running"
        tracker = self._session.sparkContext.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._name)]
        unfinished = [job for job in jobs if job is not None and job.status == "RUNNING"]
        if not unfinished:
            return "planning"
        stages = [tracker.getStageInfo(stage) for job in unfinished for stage in job.stageIds]
        return "running" if any(stage and stage.numActiveTasks for stage in stages) else "waiting"

    def _told(self) -> OutgrowError | None:
        """What a rank told of its failure."""
        told = self._hub.failure
        if told is not None and told["type"] == "RankLostError":
            return RankLostError(
                f"{told['message']} It was lost after pass {told['passed']}.", told["rank"], told["host"]
            )
        return None if told is None else failure(told)

    def _explained(self, text: str) -> OutgrowError:
        """The cause, from the best witness there is."""
        if self._verdict is not None:
            return self._verdict
        self._hub.settle()
        told = self._told()
        if told is not None:
            return told
        seen = re.search(r"RankLostError: (Rank (\d+) on (\S+) [^\n]*)", text)
        if seen:
            return RankLostError(seen[1], int(seen[2]), seen[3])
        if any(mark in text for mark in _LOST):
            return _lost(text)
        return EngineError(explain(text))


def _interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is behind this: PySpark, cleaning up after it, raises what the cancelled job said."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__context__
    return behind is not None


def _lost(text: str) -> RankLostError:
    """Which task was lost, as Spark tells it."""
    task = re.search(
        r"Lost task (\d+)\.\d+ in stage \S+ \(TID \d+\) \((\S+) executor (\S+)\): ([^\n]*)", text
    )
    if task is None:
        return RankLostError(f"A rank was lost: {explain(text)}")
    rank, host, executor, why = task.groups()
    return RankLostError(
        f"Rank {rank} on {host} (executor {executor}) is gone: {why.strip()}", int(rank), host
    )


def failure(cause: dict[str, Any]) -> OutgrowError:
    """What a rank that failed told of it, as the error it raised."""
    rank = cause["rank"]
    kind = getattr(errors, cause["type"], None)
    where = f"(rank {rank} on {cause['host']}, its partition {rank}, in pass {cause['passed'] + 1})"
    if isinstance(kind, type) and issubclass(kind, OutgrowError):
        error: OutgrowError = kind(f"{cause['message']} {where}")
    else:
        error = EngineError(f"{cause['type']}: {cause['message']} {where}")
    error.add_note("The rank's own trace:\n" + cause["trace"])
    return error
