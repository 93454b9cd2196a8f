"""Connections from every rank to every other that last as long as a training.

The tree of a fit merges states that all ranks wait for. Here one rank says something to another, on one of
several channels, and goes on; who waits for it waits within the tree's deadline. The handshake, the frames,
the heartbeats and what a rank that is lost means are those of the tree.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np

from outgrow.engine.frames import Message
from outgrow.engine.mesh import Joined, connected
from outgrow.engine.peer import Cause, PeerConnection
from outgrow.engine.rank_paces import SLOW
from outgrow.errors import EngineError

_FRAME = 13
"""Bytes by which a frame begins."""
_GLANCE = 0.2
"""Seconds between two looks at what the tree knows, while a message is waited for."""
_KEEP = 0.9
"""By what a past message counts less."""


@dataclass(frozen=True)
class Letter:
    """What came from another rank.

    Attributes
    ----------
    rank : of the sender.
    arrays : what it sent.
    number : which of its messages this is, as it counts them itself: a step, a round.
    seconds : how long it had worked since it last heard something.
    """

    rank: int
    arrays: tuple[np.ndarray, ...]
    number: int
    seconds: float


class Links:
    """The connections of this rank to all others.

    Parameters
    ----------
    tree : what joins the ranks already; all of them make links at the same point of a fit.

    Attributes
    ----------
    sent_bytes : what this rank has sent, with frames and without heartbeats.
    hosts : of all ranks.
    waited_seconds : of the thread that made the links, for what others sent.

    Raises
    ------
    EngineError
        When another rank fails, or cannot be reached in time.
    """

    def __init__(self, tree: Joined) -> None:
        self.rank, self.size, self.sent_bytes, self.waited_seconds = tree.rank, tree.size, 0, 0.0
        self.hosts = tree.hosts
        self._worked: dict[int, tuple[float, float]] = {}
        self._tree, self._owner = tree, threading.get_ident()
        self._counting = threading.Lock()
        self._closed = threading.Event()
        self._boxes: dict[tuple[int, int], SimpleQueue[Letter]] = {}
        self._shared: dict[int, SimpleQueue[Letter]] = {}
        self._gone: dict[int, str] = {}
        self._heard, self._busy, self._spoken = time.perf_counter(), 0.0, False
        self._lines = {
            rank: PeerConnection(line, rank, tree.hosts[rank], tree.deadline, self._lost, _Sorted(self, rank))
            for rank, line in connected(tree).items()
        }
        for line in self._lines.values():
            line.start()
        threading.Thread(target=self._beat, name="outgrow heartbeat", daemon=True).start()

    def share(self, channel: int) -> SimpleQueue[Letter]:
        """Let what comes on a channel wait for `any`, whoever sends it; called before anybody sends there.

        Parameters
        ----------
        channel : its number.

        Returns
        -------
        Where it waits; this rank may put something there itself.
        """
        return self._shared.setdefault(channel, SimpleQueue())

    def send(self, rank: int, *arrays: np.ndarray, channel: int = 0, number: int = 0) -> None:
        """Send arrays to a rank; this one goes on once the system has taken them.

        Parameters
        ----------
        rank : to whom.
        *arrays : of numbers.
        channel : on which it is waited for.
        number : see `Letter`.

        Raises
        ------
        EngineError
            When that rank is lost.
        """
        if not self._spoken:  # the first of what is said after something was heard
            self._busy, self._spoken = time.perf_counter() - self._heard, True
        message = Message.of([channel, number, self._busy, list(arrays)])
        if not self._lines[rank].send(message):
            raise self._error(rank)
        with self._counting:
            self._note(self.rank, self._busy)
            self.sent_bytes += _FRAME + len(message.text) + sum(array.nbytes for array in message.arrays)

    def receive(self, rank: int, channel: int = 0) -> Letter:
        """The next message of a rank on a channel, waited for.

        Parameters
        ----------
        rank : from whom.
        channel : on which.

        Raises
        ------
        EngineError
            When that rank is lost, or another has failed.
        """
        letter = self._next(self._box(rank, channel), rank, None)
        assert letter is not None
        return letter

    def any(self, channel: int, timeout: float | None = None) -> Letter | None:
        """The next message on a shared channel, from any rank; None when none came in time.

        Parameters
        ----------
        channel : see `share`.
        timeout : in seconds; None for as long as it takes.

        Raises
        ------
        EngineError
            When a rank has failed.
        """
        return self._next(self._shared[channel], None, timeout)

    def slowest(self) -> tuple[int, str, float] | None:
        """The rank that works far longer than others from one message to the next.

        Returns
        -------
        Its number, its host, and those seconds, in the mean of its last messages; None where there is none.
        """
        means = {rank: seconds / count for rank, (seconds, count) in dict(self._worked).items()}
        if len(means) < self.size:
            return None
        rank = max(means, key=lambda rank: (means[rank], -rank))
        others = [seconds for other, seconds in means.items() if other != rank]
        if means[rank] < SLOW * float(np.median(others)):
            return None
        return rank, self._tree.hosts[rank], means[rank]

    def check(self, *, wait: bool = False) -> None:
        """Raise where it is known that a rank has failed.

        Parameters
        ----------
        wait : for as long as it may take until it is known.

        Raises
        ------
        EngineError
            Which, and why.
        """
        if wait:
            self._tree.failed.wait(self._tree.deadline)
        self._tree.check()

    def close(self) -> None:
        """Say goodbye to all."""
        self._closed.set()
        for line in self._lines.values():
            line.close()

    def _next(self, box: SimpleQueue[Letter], rank: int | None, timeout: float | None) -> Letter | None:
        began = time.perf_counter()
        try:
            while True:
                left = _GLANCE if timeout is None else timeout - (time.perf_counter() - began)
                try:
                    return box.get(timeout=min(_GLANCE, left)) if left > 0 else box.get_nowait()
                except Empty:
                    self._tree.check()
                    if rank is not None and rank in self._gone and box.empty():
                        raise self._error(rank) from None
                    if timeout is not None and left <= _GLANCE:
                        return None
        finally:
            self._heard, self._spoken = time.perf_counter(), False
            if threading.get_ident() == self._owner:
                self.waited_seconds += self._heard - began

    def _note(self, rank: int, seconds: float) -> None:
        """Count how long a rank worked; what is long past counts less and less."""
        total, count = self._worked.get(rank, (0.0, 0.0))
        self._worked[rank] = _KEEP * total + seconds, _KEEP * count + 1.0

    def _box(self, rank: int, channel: int) -> SimpleQueue[Letter]:
        with self._counting:
            return self._boxes.setdefault((rank, channel), SimpleQueue())

    def _error(self, rank: int) -> EngineError:
        """Why nothing more comes from a rank: what the tree knows soon, else just that."""
        self._tree.failed.wait(min(2.0, self._tree.deadline))
        return self._tree.lost(rank, self._gone.get(rank, "has left before the end"))

    def _lost(self, cause: Cause) -> None:
        self._gone.setdefault(cause.rank, cause.reason)

    def _beat(self) -> None:
        while not self._closed.wait(min(10.0, self._tree.deadline / 4)):
            for line in self._lines.values():
                line.beat()


class _Sorted:
    """Where messages of one rank go: to who waits on their channel."""

    def __init__(self, links: Links, rank: int) -> None:
        self._links, self._rank = links, rank

    def put(self, message: Message | None) -> None:
        links = self._links
        if message is None:
            links._gone.setdefault(self._rank, "has left before the end")
            return
        channel, number, seconds, arrays = message.tree()
        letter = Letter(self._rank, tuple(arrays), int(number), float(seconds))
        links._note(self._rank, letter.seconds)
        box = links._shared.get(int(channel))
        (links._box(self._rank, int(channel)) if box is None else box).put(letter)
