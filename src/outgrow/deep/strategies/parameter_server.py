"""Parameters are kept by servers, to which workers bring gradients when they have them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow._settings import is_whole
from outgrow.deep.codecs.codec import Memory
from outgrow.deep.strategies.strategy import Running, Strategy
from outgrow.deep.topologies import parts
from outgrow.engine.context import FitContext
from outgrow.engine.links import Letter, Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica

_PUSHED, _ANSWERED = 2, 3
_SETTLE = -1


@dataclass(frozen=True)
class ParameterServer(Strategy):
    """Workers bring gradients to servers and take the parameters back; none waits for one that is at most
    `staleness` steps behind (stale synchronous parallel, Ho et al. 2013).

    Every rank is a worker, and the first `shards` ranks serve, too: each keeps a part of the parameters with
    its optimizer. A server takes a step for as many gradients as there are ranks, whoever they come from
    (softsync, Zhang et al. 2016). `gradient_clip` shortens the gradient of each worker, before it is brought.

    Parameters
    ----------
    staleness : by how many steps a worker may be ahead of the slowest; 0 waits for all at every step, and
        is what `og.DDP` does; None for no bound (Hogwild and DOWNPOUR).
    shards : how many ranks serve; None for all.

    Raises
    ------
    ParameterError
        When a number does not fit.

    Examples
    --------
    >>> import outgrow as og
    >>> og.ParameterServer(staleness=4)
    ParameterServer(staleness=4, shards=None)
    """

    staleness: int | None = 4
    shards: int | None = None

    def __post_init__(self) -> None:
        if self.staleness is not None and not is_whole(self.staleness, 0):
            raise ParameterError(f"staleness={self.staleness!r}: steps, from 0, or None.")
        if self.shards is not None and not is_whole(self.shards):
            raise ParameterError(f"shards={self.shards!r}: ranks, from 1, or None.")

    @property
    def repeatable(self) -> bool:  # type: ignore[override]
        return self.staleness == 0

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.

        Raises
        ------
        ParameterError
            When the optimizer does not treat each number by itself.
        """
        assert links is not None
        owners = parts(len(replica.parameters), min(self.shards or links.size, links.size))
        mine = owners[links.rank] if links.rank < len(owners) else None
        server = None if mine is None else _Server(replica.shard(*mine), links, self.staleness)
        run.call(lambda: run.comm.gather(b""))  # nobody pushes before all servers listen
        return _Worker(replica, links, owners, server)


class _Worker(Running):
    def __init__(
        self, replica: Replica, links: Links, owners: list[tuple[int, int]], server: _Server | None
    ) -> None:
        super().__init__(replica, links)
        self._owners, self._server = owners, server
        self._sums = np.zeros(3)
        if server is not None:
            self.memory = server.memory

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        self._sums = sums
        return super().gradients(sums)

    def move(self, lr: float) -> None:
        self.replica.step += 1
        self._ask(self.replica.step, lr)

    def merge(self, weight: float) -> None:
        if not self._sums[1]:
            self._ask(
                self.replica.step, 0.0
            )  # no rows in this step: the others count on this rank all the same

    def shared(self) -> np.ndarray:
        self.settle()
        numbers = self.replica.numbers()
        size = len(self.replica.parameters)
        numbers[size:] = super().shared()[size:]
        return numbers

    def settle(self) -> None:
        self._sums = np.zeros(3)
        self._ask(_SETTLE, 0.0)
        if self._server is not None:
            self._server.note()

    def resume(self, memory: Memory) -> None:
        super().resume(memory)
        if self._server is not None:
            start, end = self._owners[self.links.rank]
            self._server.resume(self.replica.numbers()[start:end])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _ask(self, number: int, lr: float) -> None:
        """Bring the gradient to each server, and take its parameters."""
        weight = float(self._sums[1])
        gradient = self.replica.read_gradient() * np.float32(weight) if weight else None
        about = np.array([weight, lr])
        for owner, (start, end) in enumerate(self._owners):
            part = () if gradient is None else (gradient[start:end],)
            if owner == self.links.rank:
                assert self._server is not None
                self._server.inbox.put(Letter(owner, (about, *part), number, 0.0))
            else:
                self.links.send(owner, about, *part, channel=_PUSHED, number=number)
        numbers = self.replica.numbers()
        for owner, (start, end) in enumerate(self._owners):
            if owner == self.links.rank:
                assert self._server is not None
                numbers[start:end] = self._server.answer()
            else:
                numbers[start:end] = self.links.receive(owner, _ANSWERED).arrays[0]
        self.replica.put(numbers)


@dataclass
class _Server:
    """Serves a part of the parameters on a thread of its own.

    Attributes
    ----------
    shard : the part, with its optimizer.
    """

    shard: Replica
    links: Links
    staleness: int | None
    inbox: Any = None
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    _clocks: dict[int, int] = field(default_factory=dict)
    _pushed: list[Letter] = field(default_factory=list)
    _waiting: dict[int, int] = field(default_factory=dict)
    _settling: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._answers: SimpleQueue[np.ndarray | BaseException] = SimpleQueue()
        self._closed = threading.Event()
        self.inbox = self.links.share(_PUSHED)
        self._thread = threading.Thread(target=self._serve, name="outgrow server", daemon=True)
        self._thread.start()

    def answer(self) -> np.ndarray:
        """The parameters for the worker of this rank."""
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def note(self) -> None:
        """Write into the memory where the optimizer is."""
        self.memory.clear()
        for number, values in self.shard.optimizer_state().items():
            arrays = {name: np.asarray(value) for name, value in values.items() if value is not None}
            self.memory.update({f"{number} {name}": array for name, array in arrays.items()})

    def resume(self, parameters: np.ndarray) -> None:
        """Go on from a snapshot.

        Parameters
        ----------
        parameters : of this part.
        """
        self.shard.put(parameters)
        state: dict[str, dict[str, np.ndarray]] = {}
        for key, value in self.memory.items():
            number, name = key.split(" ", 1)
            state.setdefault(number, {})[name] = np.array(value)
        self.shard.restore_optimizer(state)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while not self._closed.is_set():
                letter = self.links.any(_PUSHED, timeout=0.05)
                if letter is not None:
                    self._take(letter)
        except BaseException as error:
            self._answers.put(error)

    def _take(self, letter: Letter) -> None:
        if letter.number == _SETTLE:
            self._settling.add(letter.rank)
            if len(self._settling) == self.links.size:
                self._step()
                for rank in sorted(self._settling):
                    self._tell(rank)
                self._settling.clear()
            return
        self._clocks[letter.rank] = letter.number
        self._waiting[letter.rank] = letter.number
        self._pushed.append(letter)
        if len(self._pushed) == self.links.size:
            self._step()
        self._let_go()

    def _let_go(self) -> None:
        """Answer those that need not wait for others."""
        slowest = min(self._clocks.get(rank, 0) for rank in range(self.links.size))
        for rank, clock in sorted(self._waiting.items()):
            if self.staleness is None or clock - slowest <= self.staleness:
                del self._waiting[rank]
                self._tell(rank)

    def _step(self) -> None:
        """Take a step for what was brought since the last one, in an order that says nothing of time."""
        letters = sorted(self._pushed, key=lambda letter: (letter.rank, letter.number))
        self._pushed.clear()
        weighing = [letter for letter in letters if letter.arrays[0][0] > 0]
        if not weighing:
            return
        total = np.zeros_like(weighing[0].arrays[1])
        for letter in weighing:
            total += letter.arrays[1]
        total /= np.float32(sum(letter.arrays[0][0] for letter in weighing))
        self.shard.put_gradient(total)
        self.shard.advance(max(float(letter.arrays[0][1]) for letter in weighing))

    def _tell(self, rank: int) -> None:
        parameters = self.shard.parameters.detach().cpu().numpy().copy()
        if rank == self.links.rank:
            self._answers.put(parameters)
        else:
            self.links.send(rank, parameters, channel=_ANSWERED)
