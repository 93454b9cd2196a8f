"""A fit on several processes of this machine: one attempt, and another when ranks are lost."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty
from typing import Any, Generic, TypeVar

from outgrow.artifact import unpack
from outgrow.data.scan import Scan
from outgrow.engine.activity import paced
from outgrow.engine.events import Event, emit, heard
from outgrow.engine.journal import Checkpoint
from outgrow.engine.ranks import worker
from outgrow.engine.ranks.meeting import loopback
from outgrow.engine.ranks.parcel import Parcels
from outgrow.engine.ranks.processes import RankProcess, RankProcesses, rank_processes
from outgrow.engine.ranks.rank import FEW_BYTES, RankWork, error_of, warn_again
from outgrow.engine.ranks.rendezvous import PORTS
from outgrow.engine.ranks.shares import cut_for, share_out
from outgrow.engine.record import FitRecord, Fitted, MemoryPlan
from outgrow.engine.shard import Shard
from outgrow.errors import EngineError, RankLostError, RankLostWarning

T = TypeVar("T")

ATTEMPTS = 4
"""How often a fit is started in all when ranks are lost."""
MOST_LOSSES = 100
"""How many ranks an elastic fit may lose."""
_STARTING, _DEADLINE = 120.0, 60.0
"""Seconds within which a process begins and all have met; and of silence between ranks."""
_LEAVING, _HOLDING = 1.0, 20.0
"""Seconds within which ranks notice that one has failed; those that have not are ended. The second number is
for those that first keep where they are."""
_LOOK, _LOOKS = 0.2, 5
"""Seconds between two looks at the processes, and so many of them that find one stopped make it lost."""
_LAST = (worker.DONE, worker.FAILED, worker.LOST, worker.PEER, worker.REGROUP)


@dataclass(frozen=True)
class LocalRanks(Generic[T]):
    """One fit over the rows of a scan.

    Attributes
    ----------
    processes, threads : how many ranks, and on how many threads each of them works.
    budget, folder : the most a rank may hold, in bytes, and where rows beyond it lie.
    checkpoint : where states are kept, or None.
    elastic : a name for the fit, where ranks may leave and join while it goes on; else empty.
    """

    fit: Callable[[Shard], T]
    scan: Scan
    stage: str
    keep: bool
    processes: int
    threads: int
    budget: int
    folder: str
    checkpoint: Checkpoint | None
    elastic: str = ""

    def run(self) -> Fitted[T]:
        """The result of rank 0; see `Local.fit` for what is raised."""
        began = time.perf_counter()
        scan = cut_for(self.scan, self.processes * self.threads)
        pieces = scan.pieces()
        shares = share_out(pieces, self.processes)
        plan = MemoryPlan.of(shares, self.budget, threads=self.threads, keep=self.keep)
        plan.announce(self.stage)
        known = self.checkpoint.entries() if self.checkpoint else []
        attempt, lost = None, 0
        with rank_processes(self.processes, self.threads) as processes:
            while attempt is None or attempt.goes_on:
                if attempt is not None:
                    known = attempt.known
                if attempt is not None and attempt.lost is not None:
                    lost += 1
                    self._after_loss(attempt.lost, lost, len(known))
                members = self._members(processes, first=attempt is None)
                if attempt is not None and attempt.lost is None:
                    emit(Event(self.stage, "join", len(members), self.processes))
                shares = share_out(pieces, len(members))
                with Parcels(
                    [self._work(share, known, scan, shares) for share in shares], self.folder
                ) as sent:
                    attempt = _Attempt(self.stage, processes, known, self.checkpoint, members, self.elastic)
                    attempt.run(sent)
        if attempt.failure is not None:
            raise attempt.failure
        warn_again(attempt.said, stacklevel=4)
        if self.checkpoint:
            self.checkpoint.clear()
        record = FitRecord(
            "local",
            self.processes,
            lost + 1,
            max(each["passes"] for each in attempt.facts),
            time.perf_counter() - began,
            plan.peak,
            max(each["peak"] for each in attempt.facts),
            sum(each["spilled"] for each in attempt.facts),
        )
        paced(self.stage, sorted((each["pace"] for each in attempt.facts), key=lambda pace: pace["rank"]))
        return Fitted(unpack(attempt.result), record)

    def _members(self, processes: RankProcesses, *, first: bool) -> list[RankProcess]:
        """Those that work together now: all, or those that are there when ranks may come and go."""
        everyone = list(processes)
        living = [process for process in everyone if process.ready and process.alive]
        return living if self.elastic and living and not first else everyone

    def _work(self, share: Any, known: list[bytes], scan: Scan, shares: Any) -> RankWork:
        nbytes = sum(piece.nbytes for pieces in shares for piece in pieces)
        return RankWork(
            self.fit,
            self.stage,
            share,
            scan.example(),
            self.keep,
            known,
            self.threads,
            self.budget,
            self.folder,
            nbytes <= FEW_BYTES,
            self.elastic,
        )

    def _after_loss(self, error: RankLostError, lost: int, known: int) -> None:
        most = MOST_LOSSES if self.elastic else ATTEMPTS
        if lost == most:
            raise error
        how = (
            "The others go on" if self.elastic else f"Attempt {lost + 1} of {most} goes on after pass {known}"
        )
        told = f"{error} {how}."
        emit(Event(self.stage, "retry", lost + 1, most, note=told))
        warnings.warn(told, RankLostWarning, stacklevel=5)


class _Attempt:
    """All ranks at work once.

    Attributes
    ----------
    regroups : they parted, to meet anew with one that has come.
    lost : which rank was lost, if one was: its process, and those that took no notice of it, are new ones.
    failure : what the first rank that failed raised.
    known : the states of passes that are known now.
    result, said, facts : of an attempt that went well.
    """

    def __init__(
        self,
        stage: str,
        processes: RankProcesses,
        known: list[bytes],
        checkpoint: Checkpoint | None,
        members: list[RankProcess],
        elastic: str,
    ) -> None:
        self.regroups = False
        self._members = members
        self._numbers = {process.pid: number for number, process in enumerate(members)}
        self._leaving = _HOLDING if elastic else _LEAVING
        self._asks = bool(elastic) and len(members) < len(list(processes))
        self.lost: RankLostError | None = None
        self.failure: Exception | None = None
        self.known = list(known)
        self.result = b""
        self.said: list[str] = []
        self.facts: list[dict[str, Any]] = []
        self._stage = stage
        self._processes = processes
        self._checkpoint = checkpoint
        self._waiting = set(self._numbers)
        self._stopped: dict[int, int] = {}
        self._until = float("inf")

    @property
    def goes_on(self) -> bool:
        """Whether another attempt follows."""
        return self.lost is not None or (self.regroups and self.failure is None)

    def run(self, sent: Parcels) -> None:
        """Hand out the work, and hear how it goes until all have ended."""
        host, secret = loopback(), secrets.token_bytes(32)
        for number, process in enumerate(self._members):
            process.send(
                {
                    "rank": number,
                    "hosts": [host] * len(self._waiting),
                    "secret": secret,
                    "ports": list(PORTS),
                    "joining": _STARTING,
                    "deadline": _DEADLINE,
                    "heard": heard(),
                    "work": sent.message(number),
                }
            )
        looked = time.monotonic()
        while self._waiting and time.monotonic() < self._until:
            with suppress(Empty):
                self._take(*self._processes.said.get(timeout=_LOOK))
            if time.monotonic() - looked > _LOOK:
                looked = time.monotonic()
                self._look()
                self._ask_to_regroup()
        for process in list(self._processes):
            if process.pid in self._waiting or not process.alive:
                self._processes.replace(process.rank)

    def _take(self, process: RankProcess, message: dict[str, Any] | None) -> None:
        kind = worker.LOST if message is None else message["kind"]
        if process.pid not in self._waiting:
            process.ready = process.ready or kind == worker.READY  # it waits to join
            return  # or has been replaced
        if message is None:
            self._gone(process)
        elif kind == worker.READY:
            process.ready = True
        elif kind == worker.EVENT:
            emit(Event(**message["event"]))
        elif kind == worker.STATE:
            self._keep(message["place"], message["entry"])
        elif kind == worker.DONE:
            self.facts.append(message["facts"])
            if self._numbers[process.pid] == 0:
                self.result, self.said = message["result"], message["said"]
        elif kind == worker.FAILED and self.failure is None:
            self.failure = error_of(message, self._place(process))
        elif kind == worker.REGROUP:
            self.regroups = True
        elif kind == worker.LOST and self.lost is None:
            other = self._members[message["rank"]]
            self._lose(other, "does not answer the others" if other.alive else other.ending())
        if kind in _LAST:
            self._waiting.discard(process.pid)
            if kind != worker.DONE:
                self._until = min(self._until, time.monotonic() + self._leaving)

    def _ask_to_regroup(self) -> None:
        """Tell all once that those are there that were missing."""
        if self._asks and all(process.ready and process.alive for process in self._processes):
            self._asks = False
            for process in self._members:
                process.send({worker.REGROUP: True})

    def _gone(self, process: RankProcess) -> None:
        how = process.ending()
        if not process.ready:
            raise EngineError(
                f"The process of {self._place(process)} {how} before it could begin. "
                "What it printed says why."
            )
        self._lose(process, how)

    def _lose(self, process: RankProcess, how: str) -> None:
        if self.lost is None:
            self.lost = RankLostError(
                f"The process of {self._place(process)} {how}.", process.rank, "this machine"
            )
        self._until = min(self._until, time.monotonic() + self._leaving)

    def _look(self) -> None:
        """End the process that somebody has stopped: the others would wait for it."""
        for process in self._members:
            looks = self._stopped.get(process.pid, 0) + 1 if process.stopped else 0
            self._stopped[process.pid] = looks
            if looks == _LOOKS and process.pid in self._waiting:
                self._lose(process, f"was stopped, and stood still for {_LOOK * _LOOKS:g} s")
                self._processes.replace(process.rank)
                self._waiting.discard(process.pid)

    def _keep(self, place: int, entry: bytes) -> None:
        if place <= len(self.known):
            self.known[place:] = [entry]
            if self._checkpoint is not None:
                self._checkpoint.keep(place, entry)

    def _place(self, process: RankProcess) -> str:
        return f"rank {process.rank}, process {process.pid} of this machine"
