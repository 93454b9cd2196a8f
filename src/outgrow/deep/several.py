"""The ranks of one training: what joins them, what they know together, and when all keep where they are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from outgrow.artifact import pack, unpack
from outgrow.deep.codecs.codec import Memory
from outgrow.deep.replica import Replica
from outgrow.deep.strategies.strategy import Running, Strategy, mean_of_ranks
from outgrow.engine.context import FitContext, SlowestRank
from outgrow.engine.links import Links
from outgrow.engine.rank_paces import EVERY, RankPaces
from outgrow.errors import ParameterError

SNAPSHOT_SECONDS = 5.0
"""How much training a fit may lose: after so long where it is goes into the journal."""
_SNAPSHOTS = 20
"""The channel on which rank 0 hears where the others are."""
_COSTLY = 0.25
"""Snapshots that take more seconds than this, a twentieth of the pause between them, are as much rarer."""
_RARELY = 1_000
"""Most epochs between two times that the ranks tell what they have done."""
_MEASURED_STEPS = 16
"""Steps after which ranks that learn by themselves agree on how many make up that time."""


def started(run: FitContext, replica: Replica, strategy: Strategy, seed: int, rows: int = 0) -> Ranks:
    """Join the ranks of a fit for a training; all do so together.

    Parameters
    ----------
    run : the fit.
    replica : of this rank.
    strategy : what they merge.
    seed : see `Strategy.start`.
    rows : of this rank, from which it learns.
    """
    if run.comm.size == 1:
        if strategy.private:
            raise ParameterError(
                f"strategy={strategy}: noise is for what several sites tell, and there is one process. Fit "
                "by og.federated, or without noise."
            )
        return Ranks(run, replica, None, None)
    _begin_alike(run, replica)
    links = strategy.join(run)
    running = strategy.start(run, replica, links, seed)
    running.row_count = rows
    return Ranks(run, replica, links, running, private=strategy.private)


def _begin_alike(run: FitContext, replica: Replica) -> None:
    """Begin where rank 0 does, whatever random numbers a module of the user's takes."""
    numbers = replica.numbers()
    mine = numbers if run.comm.rank == 0 else np.zeros_like(numbers)
    replica.put(run.call(lambda: run.combine(mine)))


class Ranks:
    """This rank among the others; as a context, it ends what joins them.

    Parameters
    ----------
    run : the fit.
    replica : of this rank.
    links : to the others; None where the fit's own tree is enough, or there are none.
    running : what they merge; None where there are no others.
    private : nothing of the rows may be told but by what they merge.

    Attributes
    ----------
    replica : what learns at this rank: the network, or the part of it that this rank holds.
    """

    def __init__(
        self,
        run: FitContext,
        replica: Replica,
        links: Links | None,
        running: Running | None,
        *,
        private: bool = False,
    ) -> None:
        self.running, self._private = running, private
        self.replica = replica if running is None else running.replica
        self._run, self._replica, self._links = run, replica, links
        self._apart = running is not None and not running.together
        self._parted = running is not None and running.parted
        self._agrees = running is not None and (self._apart or running.remembers)
        self._noted = self._began = time.monotonic()
        self._cost = 0.0
        self._first, self._every = replica.step, 0
        self._waited, self._epochs, self._pace_every = self._waiting, 0, 1

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *error: object) -> None:
        if self.running is not None:
            self.running.close()
        if self._links is not None:
            self._links.close()

    # ---- what they know together -------------------------------------------------------------------------

    def become_one(self) -> None:
        """Let all ranks have what they know together."""
        if self._apart or self._parted:
            assert self.running is not None
            self.running.become_one()

    def join_parts(self) -> None:
        """Let all ranks have the whole network, where each holds a part of it."""
        if self._parted:
            self.become_one()

    def become_mean(self) -> None:
        """Let all ranks have the mean of what each has."""
        if self._apart:
            numbers = self._replica.numbers()
            if self._links is not None:
                self._replica.put(mean_of_ranks(self._links, numbers))
                return
            state = numbers.astype(np.float64)
            total: np.ndarray = self._run.call(lambda: self._run.combine(state))
            self._replica.put((total / self._run.comm.size).astype(numbers.dtype))

    @contextmanager
    def consensus(self) -> Iterator[None]:
        """What the ranks know together in the module, within the block."""
        if not (self._apart or self._parted):
            yield
            return
        assert self.running is not None
        with self.running.consensus():
            yield

    def over_all(self, *sums: float) -> tuple[float, ...]:
        """Sums over the ranks, where each knows but its own; zeros where those may not be told.

        Parameters
        ----------
        *sums : of this rank.
        """
        if self._private:
            return tuple(0.0 for _ in sums)
        if not self._apart:
            return sums
        mine = np.array(sums, dtype=np.float64)
        combined: np.ndarray = self._run.call(lambda: self._run.combine(mine))
        return tuple(combined.tolist())

    # ---- snapshots ---------------------------------------------------------------------------------------

    def snapshot_is_due(self, step: int) -> bool:
        """Whether it is time to keep where the training is; ranks that know something alone agree on it.

        Parameters
        ----------
        step : how many were taken.
        """
        if not self._agrees:
            pause = SNAPSHOT_SECONDS * max(1.0, self._cost / _COSTLY)
            return self._run.journal.keeps and time.monotonic() - self._noted >= pause
        taken = step - self._first
        if taken == _MEASURED_STEPS:
            self._agree()
        return self._every > 0 and taken % self._every == 0

    def _agree(self) -> None:
        """After how many steps all keep where they are: as many as the slowest rank takes in the time."""
        seconds = (time.monotonic() - self._began) / _MEASURED_STEPS
        mine = np.zeros((2, self._run.comm.size))
        mine[:, self._run.comm.rank] = seconds, self._run.journal.keeps
        agreed: np.ndarray = self._run.call(lambda: self._run.combine(mine))
        if agreed[1].any():
            self._every = max(_MEASURED_STEPS, math.ceil(SNAPSHOT_SECONDS / max(agreed[0].max(), 1e-6)))

    def snapshot_was_taken(self, seconds: float) -> None:
        """Count the time from here on.

        Parameters
        ----------
        seconds : how long it took.
        """
        self._noted, self._cost = time.monotonic(), seconds

    @property
    def memory(self) -> Memory:
        """What the strategy keeps at this rank from one merge to the next."""
        return {} if self.running is None else self.running.memory

    @property
    def apart(self) -> bool:
        """Whether each rank learns by itself."""
        return self._apart

    def settled(self) -> Memory:
        """What belongs to the snapshot of this rank, with nothing under way."""
        if self.running is None:
            return {}
        self.running.settle()
        return self.running.memory

    def of_all(self, content: bytes) -> bytes:
        """The snapshots of all ranks as one, where each has its own.

        Parameters
        ----------
        content : that of this rank.
        """
        if not self._agrees:
            return content
        if self._links is None:
            blobs = [np.frombuffer(one, np.uint8) for one in self._run.call(self._gathered(content))]
            return pack({"ranks": blobs})
        mine = np.frombuffer(content, np.uint8)
        if self._links.rank:
            self._links.send(0, mine, channel=_SNAPSHOTS)
            return b""  # rank 0 keeps them
        others = (self._links.receive(rank, _SNAPSHOTS) for rank in range(1, self._links.size))
        return pack({"ranks": [mine, *(letter.arrays[0] for letter in others)]})

    def _gathered(self, content: bytes) -> Callable[[], list[bytes]]:
        return lambda: self._run.comm.gather(content)

    def mine(self, content: bytes) -> bytes | None:
        """The snapshot of this rank, of what `of_all` gave; None where that was of other ranks.

        Parameters
        ----------
        content : as it was kept.
        """
        tree: Any = unpack(content)
        if "ranks" not in tree:
            return content
        if len(tree["ranks"]) != self._run.comm.size:
            return None  # what each of them knew alone is not what these would know
        return bytes(np.asarray(tree["ranks"][self._run.comm.rank]).tobytes())

    def resume(self, memory: Memory) -> None:
        """Go on from a snapshot.

        Parameters
        ----------
        memory : what `settled` gave.
        """
        self._first = self.replica.step
        if self.running is not None:
            self.running.begin()
            self.running.resume(memory)

    # ---- what is told ------------------------------------------------------------------------------------

    @property
    def _waiting(self) -> float:
        """Seconds for which this rank has waited for others until now."""
        return self._run.waited + (0.0 if self._links is None else self._links.waited_seconds)

    def worked(self, seconds: float) -> None:
        """Count an epoch.

        Parameters
        ----------
        seconds : that it took, in which this rank also waited for others.
        """
        waited, self._waited = self._waiting - self._waited, self._waiting
        self._run.work.add(seconds=max(0.0, seconds - waited))
        self._epochs += 1

    def paces(self) -> RankPaces | None:
        """What each rank has done until now, after as many epochs as all agree to be some seconds."""
        if self._run.comm.size == 1 or not self._run.tells_paces or self._epochs % self._pace_every:
            return None
        mine = self._run.work.report()
        paces: RankPaces = self._run.call(lambda: self._run.combine(mine))
        longest = max(pace["seconds"] for pace in paces.listed()) / self._epochs
        self._pace_every = math.ceil(EVERY / max(longest, EVERY / _RARELY))
        return paces

    def metrics(self) -> dict[str, float]:
        """What this rank has sent, in bytes, where it is counted."""
        return {} if self._links is None else {"sent_bytes": float(self._links.sent_bytes)}

    def slowest(self) -> SlowestRank | None:
        """The rank that works far longer than the others between two messages; None where there is none."""
        slow = None if self._links is None else self._links.slowest()
        return None if slow is None else SlowestRank(slow[2], slow[0], slow[1])
