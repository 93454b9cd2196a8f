"""A fit on Spark: one barrier job, and another when ranks are lost."""

from __future__ import annotations

import json
import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.artifact import unpack
from outgrow.data.scan import Scan
from outgrow.engine.activity import paced
from outgrow.engine.context import FitContext
from outgrow.engine.events import Event, emit, heard
from outgrow.engine.journal import Checkpoint
from outgrow.engine.ranks.rank import facts, warn_again
from outgrow.engine.ranks.shares import share_out
from outgrow.engine.record import FitRecord, Fitted, MemoryPlan
from outgrow.engine.shard import Shard
from outgrow.engine.spark.batches import batch_properties
from outgrow.engine.spark.cluster import Cluster
from outgrow.engine.spark.driver import DriverServer
from outgrow.engine.spark.frames import FrameSource, spread
from outgrow.engine.spark.names import map_in_arrow
from outgrow.engine.spark.supervise import PLANNING, Supervisor, failure
from outgrow.engine.spark.task import RESULT_DDL, RankJob, joined
from outgrow.errors import EngineError, RankLostError, RankLostWarning, TooFewSlotsError

T = TypeVar("T")

ATTEMPTS = 4
"""How often a fit is started in all when ranks are lost."""

ASKING = 4.0
"""Seconds after which a job that waits for more executors is submitted again: Spark looks only every quarter
of a minute whether there are enough for a barrier job, and some may just be starting."""

REBUILDING = 1.5
"""So many times the timeout of slots a fit waits that has lost ranks; at half of it it asks for fewer."""


class BarrierFit(Generic[T]):
    """One fit over the rows of a scan, in as many barrier jobs as it takes."""

    def __init__(
        self,
        cluster: Cluster,
        fit: Callable[[Shard], T],
        scan: Scan,
        stage: str,
        keep: bool,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.cluster = cluster
        self.fit = fit
        self.scan = scan
        self.stage = stage
        self.keep = keep
        self.checkpoint = checkpoint
        self.frame = scan.source.frame if isinstance(scan.source, FrameSource) else None
        self.ranks = cluster.ranks_now()
        self.known = checkpoint.entries() if checkpoint else []
        self.lost = 0
        self.named: RankLostError | None = None
        self.waited = 0.0
        self.tries = 0
        self.patience = cluster.patience
        self.rebuilding = REBUILDING * cluster.slot_timeout

    def run(self) -> Fitted[T]:
        """The result of rank 0; see `Spark.fit` for what is raised."""
        began, plan, answer = time.perf_counter(), self._plan(), None
        plan.announce(self.stage)
        while answer is None:
            hub = DriverServer(self.cluster.host, secrets.token_bytes(32), self.known)
            try:
                answer = self._attempt(hub)
            except RankLostError as error:
                self._after_loss(hub, error)
                plan = self._plan()
            except TooFewSlotsError as error:
                self._after_wait(error)
        if self.checkpoint:
            self.checkpoint.clear()
        of_ranks, seconds = answer.facts, time.perf_counter() - began
        paced(self.stage, [of_one["pace"] for of_one in of_ranks])
        return Fitted(
            answer.value,
            FitRecord(
                "spark",
                self.ranks,
                self.lost + 1,
                max(of_one["passes"] for of_one in of_ranks),
                seconds,
                plan.peak,
                max(of_one["peak"] for of_one in of_ranks),
                sum(of_one["spilled"] for of_one in of_ranks),
            ),
        )

    def _after_loss(self, hub: DriverServer, error: RankLostError) -> None:
        """Take up what is known, and say so; give up when ranks are lost time and again."""
        self.lost, self.waited, self.tries = self.lost + 1, 0.0, 0
        if error.rank >= 0:  # Spark may end the witnesses before they can tell who is gone
            self.named = error
        if self.lost == ATTEMPTS:
            raise self.named or error
        self.known = max(hub.states(), self.checkpoint.entries() if self.checkpoint else [], key=len)
        told = f"{error} Attempt {self.lost + 1} of {ATTEMPTS} goes on after pass {len(self.known)}."
        emit(Event(self.stage, "retry", self.lost + 1, ATTEMPTS, note=told))
        warnings.warn(told, RankLostWarning, stacklevel=5)

    def _after_wait(self, error: TooFewSlotsError) -> None:
        """No slots yet: ask again for a while; after a loss, in the end for fewer ranks than before."""
        if self.waited > (self.rebuilding if self.lost else self.patience) - 0.5:
            raise error
        if self.lost and self.waited > self.rebuilding / 2 and self.ranks > 1:
            self.ranks -= -(-self.ranks // 4)
            told = f"There are no slots for more, so the fit goes on with {self.ranks} rank(s)."
            emit(Event(self.stage, "retry", self.lost + 1, ATTEMPTS, note=told))

    def _asking(self) -> float:
        """Seconds for which the next job may wait: longer each time, as a busy machine plans slowly."""
        if self.lost:
            return ASKING
        return max(ASKING, min(ASKING * (1 + self.tries // 2), self.patience - self.waited))

    def _plan(self) -> MemoryPlan:
        cluster = self.cluster
        shares = None if self.frame is not None else share_out(self.scan.pieces(), self.ranks)
        plan = MemoryPlan.of(shares, cluster.budget, threads=cluster.threads, keep=self.keep)
        plan.check("memory_per_rank")
        return plan

    def _attempt(self, hub: DriverServer) -> _Answer:
        """One barrier job."""
        cluster, scan, ranks = self.cluster, self.scan, self.ranks
        with hub:
            job = RankJob(
                fit=self.fit,
                stage=self.stage,
                keep=self.keep,
                known=self.known,
                checkpoint=self.checkpoint,
                pieces=share_out(scan.pieces(), ranks) if self.frame is None else None,
                steps=scan.steps,
                vectors=getattr(scan.source, "vectors", {}),
                example=scan.example(),
                secret=hub.secret,
                hub=hub.address,
                heard=heard(),
                ports=cluster.ports,
                deadline=cluster.deadline,
                memory=cluster.memory_per_rank,
                threads=cluster.threads,
            )
            frame = self.frame
            rows = cluster.session.range(0, ranks, 1, ranks) if frame is None else spread(frame, ranks)
            enough = cluster.slots >= ranks and self.patience == cluster.slot_timeout
            asking = cluster.slot_timeout if enough and not self.lost else self._asking()
            watched = Supervisor(
                cluster.session,
                hub,
                self.stage,
                ranks,
                cluster.deadline,
                starting=asking,
                waited=self.waited,
                planning=PLANNING if enough and frame is not None else 0.0,
                properties=batch_properties(scan.source) if isinstance(scan.source, FrameSource) else None,
            )
            self.waited, self.tries = self.waited + asking, self.tries + 1
            asked = map_in_arrow(rows, job, RESULT_DDL, barrier=True, profile=cluster.profile())
            found = watched.collect(asked)
        if found.num_rows:
            return _read_answer(found)
        # Spark runs no task at all over a relation that it knows to be empty: do here what the tasks would do
        run = FitContext(stage=self.stage)
        value = self.fit(Shard.of(run, [], scan.example()))
        return _Answer(value, [facts(run)])


@dataclass(frozen=True)
class _Answer:
    """What a job gave: the result of rank 0, and facts about each rank."""

    value: Any
    facts: list[dict[str, Any]]


def _read_answer(rows: pa.Table) -> _Answer:
    said = rows.filter(pc.field("kind") == "warning")["payload"].to_pylist()
    warn_again([payload.decode() for payload in said], stacklevel=4)
    parts = joined(rows)
    failures = [json.loads(payload) for (_, kind), payload in sorted(parts.items()) if kind == "error"]
    if failures:
        raise failure(min(failures, key=lambda told: told["type"] == "EngineError"))
    if (0, "result") not in parts:
        raise EngineError("No rank gave a result. Look at the executors' logs.")
    reports = [json.loads(payload) for (_, kind), payload in sorted(parts.items()) if kind == "report"]
    return _Answer(unpack(parts[0, "result"]), reports)
