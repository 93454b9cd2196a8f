"""Ranks that a launcher has started as an engine: each process runs the same script, and fits are of all."""

from __future__ import annotations

import atexit
import hashlib
import hmac
import json
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import cloudpickle
import numpy as np

from outgrow import errors
from outgrow._settings import is_real, is_whole
from outgrow.artifact import pack, unpack
from outgrow.data.batch import Batch
from outgrow.data.scan import Scan, ScanPiece
from outgrow.engine.activity import paced
from outgrow.engine.collective import Alone, Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.journal import Identity
from outgrow.engine.local import Local
from outgrow.engine.memory import available_bytes, parse_size
from outgrow.engine.on_local import OnLocal
from outgrow.engine.peer import PeerFailedError
from outgrow.engine.protocol import Engine
from outgrow.engine.ranks.agreement import Agreement, checked
from outgrow.engine.ranks.launch import Launch, launched
from outgrow.engine.ranks.meeting import meet
from outgrow.engine.ranks.rank import FEW_BYTES, RankWork, facts, warn_again
from outgrow.engine.ranks.rendezvous import PORTS, join
from outgrow.engine.ranks.secret import Secret
from outgrow.engine.ranks.shares import cut_for, share_out
from outgrow.engine.record import FitRecord, Fitted, MemoryPlan
from outgrow.engine.shard import Shard
from outgrow.errors import EngineError, OutgrowError, ParameterError, RankLostError

R = TypeVar("R")
T = TypeVar("T")
JOINING = 120.0
"""Seconds for which ranks wait until all are there: a launcher may start them one after the other."""
_SIGNED = 32


class Ranks(OnLocal):
    """Fits on the processes that a launcher started: torchrun, mpirun, srun; each runs the same script.

    Every process calls the same fits and evaluations in the same order. A fit reads this rank's share of the
    rows, and every rank gets the same fitted model, to the bit. Everything else (`predict`, `to_arrow`,
    writing) each process does for itself, over all rows: let rank 0 alone write, `if engine.rank == 0`.
    Progress and warnings come from rank 0.

    Ranks of one machine share a secret through a file that only their user can read; those of several hosts
    find it in the environment variable OUTGROW_SECRET. Whoever does not know it is turned away.

    Parameters
    ----------
    rank, ranks : the number of this process, from 0, and how many there are; by default what the launcher
        says in the environment.
    rows : 'same' when every rank names the same rows, of which each takes its share; 'own' when the rows of
        each rank are its own.
    threads : of this process; by default its part of the cores of the machine.
    memory : the most it may hold, in bytes or like '2GiB'; by default its part of three quarters of what is
        available.
    spill_dir : the folder for rows past it.
    ports : range from which ranks choose the ports they listen on.
    joining : seconds within which all must come.
    deadline : seconds of silence after which a rank is taken for lost. It then ends the fit on all ranks with
        a `RankLostError` that names it: no other process can take its place.

    Examples
    --------
    `torchrun --nproc-per-node 4 train.py`, and in `train.py`:

    >>> import outgrow as og
    >>> flights = og.read("flights/*.parquet", engine=og.Ranks())    # doctest: +SKIP
    >>> model = og.LogisticRegression().fit(flights, "late")    # doctest: +SKIP

    One process alone is all ranks there are:

    >>> og.Ranks(rank=0, ranks=1).size
    1
    """

    name = "ranks"

    def __init__(
        self,
        rank: int | None = None,
        ranks: int | None = None,
        *,
        rows: str = "same",
        threads: int | None = None,
        memory: int | str | None = None,
        spill_dir: str | None = None,
        ports: tuple[int, int] = PORTS,
        joining: float = JOINING,
        deadline: float = 60.0,
    ) -> None:
        if rows not in ("same", "own"):
            raise ParameterError(f"rows={rows!r}: 'same' or 'own'.")
        whole = isinstance(ports, Sequence) and len(ports) == 2 and all(map(is_whole, ports))
        if not (whole and 1024 <= ports[0] < ports[1] <= 65_536):
            raise ParameterError(f"ports={ports!r}: give a range within 1024 to 65536.")
        for setting, seconds in (("joining", joining), ("deadline", deadline)):
            if not (is_real(seconds) and seconds > 0):
                raise ParameterError(f"{setting}={seconds!r}: seconds greater than 0 are needed.")
        self.rows = rows
        self.ports = ports
        self.joining = joining
        self.deadline = deadline
        self._launch = self._started(rank, ranks)
        here = max(1, self._launch.local_size)
        slots = Local(threads=threads).slots
        self.local = Local(threads=threads or max(1, slots // here), memory=memory, spill_dir=spill_dir)
        self._memory = None if memory is None else parse_size(memory)
        self._comm: Tcp | Alone | None = None
        self._met: tuple[list[str], bytes] | None = None
        self._joined = 0
        self._leads = False

    def _started(self, rank: int | None, ranks: int | None) -> Launch:
        if (rank is None) != (ranks is None):
            raise ParameterError(f"rank={rank}, ranks={ranks}: give both or none.")
        if rank is None or ranks is None:
            return launched()
        if not (is_whole(rank, 0) and is_whole(ranks) and rank < ranks):
            raise ParameterError(f"rank={rank!r} of ranks={ranks!r}: ranks are counted from 0.")
        return launched({"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)})

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self._launch.rank

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return self._launch.size

    def fit(
        self,
        fit: Callable[[Shard], T],
        scan: Scan,
        *,
        stage: str = "fit",
        keep: bool = True,
        identity: Identity | None = None,
    ) -> Fitted[T]:
        """Run `fit` on every rank over that rank's rows; every rank gets the result of rank 0.

        Parameters
        ----------
        fit : called once on each rank.
        scan : the rows.
        stage : what is under way, as events and messages call it.
        keep : hold the rows after the first pass, within the memory budget; else each pass reads them anew.
        identity : tells what is fitted, and how; all ranks must agree.

        Raises
        ------
        ParameterError
            When ranks are not about to fit the same.
        OutgrowError
            What the rank that failed first raised, with its rank.
        RankLostError
            When a rank is gone or stands still.
        """
        began = time.perf_counter()
        share = _Share(
            fit, stage, cut_for(scan, self.size * self.slots) if self.rows == "same" else scan, keep
        )
        result, reports = self._led(share) if self._leads else self._together(share, identity)
        record = FitRecord(
            self.name,
            self.size,
            1,
            max(each["passes"] for each in reports),
            time.perf_counter() - began,
            max((each["plan"] for each in reports if each["plan"] is not None), default=None),
            max(each["peak"] for each in reports),
            sum(each["spilled"] for each in reports),
        )
        paced(stage, [each["pace"] for each in reports])
        return Fitted(result, record)

    def lead(self) -> None:
        """Let rank 0 go on alone, with the others at its command: only it runs what follows in the script.

        On rank 0 this returns, and fits go to all ranks by themselves. On the others it does not return: they
        work for rank 0 until that ends, and then end, too.
        """
        if self.rank:
            self._follow()
        self._leads = True
        atexit.register(self._dismiss)

    def _together(self, share: _Share, identity: Identity | None) -> tuple[Any, list[dict[str, Any]]]:
        """A fit that every rank has called."""

        def work(comm: Tcp | Alone) -> tuple[Any, list[dict[str, Any]]]:
            pieces = share.scan.pieces()
            same = self.rows == "same"
            checked(comm, Agreement.of(share.stage, share.scan, pieces, identity, same_rows=same))
            own = share_out(pieces, self.size)[self.rank] if same else pieces
            return self._work(comm, share, own, share.scan.example())

        return self._guarded(work)

    def _led(self, share: _Share) -> tuple[Any, list[dict[str, Any]]]:
        """A fit that rank 0 alone has called: it sends it to the others."""

        def work(comm: Tcp | Alone) -> tuple[Any, list[dict[str, Any]]]:
            shares = share_out(share.scan.pieces(), self.size)
            comm.broadcast(self._signed(share.sent(shares)))
            return self._work(comm, share, shares[0], share.scan.example())

        return self._guarded(work)

    def _follow(self) -> None:
        """Work for rank 0 until it ends."""
        while True:
            try:
                self._guarded(self._ordered)
            except RankLostError as error:
                sys.exit(f"outgrow: {error}")
            except EndOfWorkError:
                sys.exit(0)
            except Exception:
                continue  # rank 0 raises it

    def _ordered(self, comm: Tcp | Alone) -> Any:
        message = comm.broadcast(None)
        if not message:
            raise EndOfWorkError
        share, shares, example = pickle.loads(self._verified(message))
        return self._work(comm, share, shares[self.rank], example)

    def _work(
        self, comm: Tcp | Alone, share: _Share, pieces: Sequence[ScanPiece], example: Batch
    ) -> tuple[Any, list[dict[str, Any]]]:
        """This rank's part of a fit; the result of rank 0, and what is recorded of all ranks."""
        sizes = np.array([float(sum(piece.nbytes for piece in pieces))])
        budget = self._memory or available_bytes() * 3 // 4 // max(1, self._launch.local_size)
        work = RankWork(
            share.fit,
            share.stage,
            pieces,
            example,
            share.keep,
            [],
            self.slots,
            budget,
            self.local.spill_dir or tempfile.gettempdir(),
            float(comm.allreduce(sizes)[0]) <= FEW_BYTES,
        )
        plan = MemoryPlan.of([pieces], budget, threads=self.slots, keep=share.keep)
        context: FitContext = work.begin(comm, None)
        value, said = work.run(context)
        own = json.dumps({**facts(context), "plan": plan.peak}).encode()
        reports = [json.loads(report) for report in comm.gather(own)]
        result = unpack(comm.broadcast(pack(value) if self.rank == 0 else None))
        if self.rank == 0:
            warn_again(said, stacklevel=7)
        return result, reports

    def _guarded(self, work: Callable[[Tcp | Alone], R]) -> R:
        """What all ranks do together; after a failure they meet anew before the next."""
        comm = self._connected()
        try:
            return work(comm)
        except PeerFailedError as error:
            self._leave(comm, None)
            raise _as_raised(error) from None
        except BaseException as error:
            cause = comm.cause if isinstance(comm, Tcp) else None
            self._leave(comm, None if cause is not None else error)
            if cause is not None and not isinstance(error, EngineError) and cause.lost:
                raise cause.error() from error  # a library noticed it in its own way
            raise

    def _leave(self, comm: Tcp | Alone, error: BaseException | None) -> None:
        if isinstance(comm, Tcp):
            if error is not None and not isinstance(error, EndOfWorkError):
                comm.abort(f"{type(error).__name__}: {error}")
            comm.close()
        self._comm = None

    def _connected(self) -> Tcp | Alone:
        if self._comm is None:
            self._comm = Alone() if self.size == 1 else self._join()
        self._comm.check()
        return self._comm

    def _join(self) -> Tcp:
        if self._met is None:
            self._met = self._meet()
        hosts, secret = self._met
        self._joined += 1
        once = hashlib.sha256(secret + str(self._joined).encode()).digest()
        return join(self.rank, hosts, once, ports=self.ports, joining=self.joining, deadline=self.deadline)

    def _meet(self) -> tuple[list[str], bytes]:
        return meet(self._launch, Secret(self._launch), self.ports, self.joining)

    def _dismiss(self) -> None:
        """Rank 0 ends: the others may."""
        with suppress(EngineError):
            self._connected().broadcast(b"")
            if isinstance(self._comm, Tcp):
                self._comm.close()

    def _signed(self, message: bytes) -> bytes:
        return self._signature(message) + message

    def _verified(self, message: bytes) -> bytes:
        if not hmac.compare_digest(message[:_SIGNED], self._signature(message[_SIGNED:])):
            raise EngineError("What came in the name of rank 0 is not from it.")
        return message[_SIGNED:]

    def _signature(self, message: bytes) -> bytes:
        assert self._met is not None or self.size == 1
        secret = b"" if self._met is None else self._met[1]
        return hmac.new(secret, message, hashlib.sha256).digest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank={self.rank}, ranks={self.size})"


class EndOfWorkError(Exception):
    """Rank 0 needs the others no more."""


@dataclass(frozen=True)
class _Share:
    """A fit, and the rows of all ranks; without them where it was sent."""

    fit: Callable[[Shard], Any]
    stage: str
    scan: Any
    keep: bool

    def sent(self, shares: list[list[Any]]) -> bytes:
        """The fit for the other ranks, pickled with what each of them reads."""
        try:
            return cloudpickle.dumps((replace(self, scan=None), shares, self.scan.example()))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise EngineError(f"The fit cannot be sent to the other ranks: {error}.") from error


def _as_raised(error: PeerFailedError) -> OutgrowError:
    """What another rank raised, as far as it told."""
    name, _, text = error.reason.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, OutgrowError) and kind is not RankLostError:
        return kind(f"{text} (rank {error.rank})")
    return EngineError(f"{error.reason} (rank {error.rank})")


if TYPE_CHECKING:
    _: Engine = Ranks()
