"""A star of ranks: the coordinator, which has no rows, in the middle, and each site connected to it alone.

Sites send the statistics of a pass to the coordinator, which merges them in the order of the sites and sends
the answer back; so every fit that sees its rows through `reduce` runs on it as on any other ranks. What would
need more, messages of a rank's own or rows that change places, is refused.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from outgrow.artifact import Tree
from outgrow.engine.collective import Communicator
from outgrow.engine.frames import Message
from outgrow.engine.mesh import Post
from outgrow.engine.peer import Cause, PeerConnection
from outgrow.errors import EngineError, OutgrowError, PrivacyError, RankLostError
from outgrow.federation.additive import form_of, merged_form, numbers_of, state_of
from outgrow.federation.audit import AuditLog, message_bytes
from outgrow.federation.fixed_point import FixedPoint
from outgrow.federation.masks import MaskedSite, opened_sum, threshold
from outgrow.federation.policy import Policy, described
from outgrow.federation.reasons import raised_there, reason_of
from outgrow.stats.proposals import Proposals
from outgrow.stats.state import from_tree, merge, to_tree

MERGE, AGREE, RESULT, REPORT = "merge", "agree", "result", "report"
KEYS, SEALED, MASKED, UNMASKING = "keys", "sealed", "masked", "unmasking"
"""The messages of a secure sum, which takes four instead of one."""
POINT = FixedPoint()


class Star:
    """What both ends of a federation have in common.

    Attributes
    ----------
    stage : which fit is under way, for messages.
    sums_only : ranks tell each other what adds up, and nothing else.
    """

    sums_only = True
    rounds = False
    """Whether what is under way are rounds of averaging, which may go on without some of the sites."""

    rank: int
    size: int
    host: str
    stage = "fit"
    connects = False

    @property
    def secret(self) -> bytes:
        raise self._refusal("connections between the sites")

    @property
    def hosts(self) -> list[str]:
        raise self._refusal("connections between the sites")

    def gather(self, message: bytes) -> list[bytes]:
        raise self._refusal("messages of its own from each site")

    def broadcast(self, message: bytes | None) -> bytes:
        raise self._refusal("connections between the sites")

    def exchange(self, fill: Callable[[Post], None], take: Callable[[Any], None]) -> None:
        """Refused: it would move rows.

        Parameters
        ----------
        fill, take : as in `Communicator.exchange`; not called.

        Raises
        ------
        PrivacyError
            Always.
        """
        raise self._refusal("rows to change places")

    def _refusal(self, what: str) -> PrivacyError:
        return PrivacyError(
            f"{self.stage} needs {what}, which a federation does not allow. Choose an estimator whose passes "
            "add up, such as a linear model; see docs/federated.md."
        )


class Coordinator(Star):
    """Rank 0 of a federation, which merges what the sites send.

    Parameters
    ----------
    sites : the name of each and the connection to it, in the order in which they are merged.
    deadline : seconds of silence after which a site is taken for lost.
    patience : seconds within which all must answer, however long one of them computes.
    secure : sites send their statistics behind masks, which only cancel in the sum.
    quorum : the share of the sites without the rest of which rounds go on; 1 where all are needed.

    Attributes
    ----------
    missed : by name, how many merges went on without a site.
    does_without : whether rounds may go on without some of the sites.
    """

    rank = 0
    host = "coordinator"
    learned = False
    """Whether the model is there: what is still said of it goes on as rounds do."""

    def __init__(
        self,
        sites: Sequence[tuple[str, socket.socket]],
        deadline: float = 60.0,
        patience: float = 3600.0,
        *,
        secure: bool = False,
        quorum: float = 1.0,
    ) -> None:
        if secure:
            threshold(len(sites))
        self._least = math.ceil(quorum * len(sites) - 1e-9)
        self.does_without = quorum < 1
        self._gone: set[int] = set()
        self._behind: dict[int, deque[tuple[str, Any]]] = {}
        self._present: list[int] = []
        self._lost: dict[int, Cause] = {}
        self.secure = secure
        self.names, self.size = [name for name, _ in sites], len(sites) + 1
        self.received = dict.fromkeys(self.names, 0)
        self.missed: dict[str, int] = {}
        self.merges = 0
        self._patience = patience
        self._inbox: SimpleQueue[tuple[int, Tree | None]] = SimpleQueue()
        self._cause: Cause | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._lines = [
            PeerConnection(line, rank, name, deadline, self._fail)
            for rank, (name, line) in enumerate(sites, start=1)
        ]
        for line in self._lines:
            line.start()
            threading.Thread(target=partial(self._hear, line), name="outgrow site", daemon=True).start()
        threading.Thread(target=partial(_beat, self._lines, deadline, self._closed), daemon=True).start()

    def allreduce(self, state: Any) -> Any:
        self.merges += 1
        if self.secure:
            return self._secure_sum(state)
        for message in self._collected(MERGE):
            state = merge(state, from_tree(message["body"]))
        if isinstance(state, Proposals):
            state = state.settled()  # no site shall see what another one proposes
        self._answer(MERGE, to_tree(state))
        return state

    def _secure_sum(self, state: Any) -> Any:
        """The sum of all states; of that of a site nothing is seen."""
        begun = [message["body"] for message in self._collected(KEYS)]
        form = merged_form([form_of(state, self.stage), *(body["form"] for body in begun)])
        keys = {rank: body["keys"] for rank, body in enumerate(begun, start=1)}
        context = _context(self.stage, self.merges)
        self._answer(KEYS, {"form": form, "keys": [keys[rank] for rank in keys]})
        sealed = [message["body"] for message in self._collected(SEALED)]
        for rank, line in zip(keys, self._lines, strict=True):
            others = {str(other): sealed[other - 1][str(rank)] for other in keys if other != rank}
            line.send(Message.of({"kind": SEALED, "body": others}))
        masked = {rank: message["body"] for rank, message in enumerate(self._collected(MASKED), start=1)}
        self._answer(MASKED, list(masked))
        revealed = {
            rank: {int(of): share for of, share in message["body"].items()}
            for rank, message in enumerate(self._collected(UNMASKING), start=1)
        }
        total = opened_sum(masked, revealed, keys, len(keys), context)
        numbers = POINT.decoded(total) + numbers_of(state, form)
        self._answer(UNMASKING, numbers)
        return state_of(numbers, form)

    def agree(self, agreement: dict[str, str]) -> None:
        """Refuse a fit that a site would do otherwise.

        Parameters
        ----------
        agreement : what this fit is, which that of each site must equal.
        """
        messages = self._collected(AGREE)
        for name, message in zip(self._present_names, messages, strict=True):
            for key, value in agreement.items():
                if message["body"].get(key) != value:
                    raise EngineError(
                        f"Site {name!r} has other {key} than the coordinator: {message['body'].get(key)} and "
                        f"{value}. Give both the same model, target and columns."
                    )
        self._answer(AGREE, None)

    def finish(self, result: bytes) -> bytes:
        """Give every site the result of a fit, and return it.

        Parameters
        ----------
        result : packed.
        """
        self._collected(RESULT)
        self._answer(RESULT, result)
        return result

    def reports(self) -> dict[str, dict[str, Any]]:
        """What each site says of itself at the end, by its name."""
        messages = self._collected(REPORT)
        self._answer(REPORT, None)
        return {name: report["body"] for name, report in zip(self._present_names, messages, strict=True)}

    @property
    def _present_names(self) -> list[str]:
        """Those whose messages were collected last."""
        return [self.names[rank - 1] for rank in self._present]

    def check(self) -> None:
        if self._cause is not None:
            raise self._error(self._cause)

    def abort(self, error: BaseException) -> None:
        """Tell the sites that the fit ends, and why."""
        self._fail(Cause(0, self.host, reason_of(error)))

    def close(self) -> None:
        self._closed.set()
        for line in self._lines:
            line.close()
            line.wake()  # whoever hears it, whether or not the site says goodbye

    def _collected(self, kind: str) -> list[Tree]:
        """What each site sends next, in the order of the sites."""
        messages: dict[int, Tree] = {}
        until = time.monotonic() + self._patience
        while missing_ranks := self._awaited() - messages.keys():
            self.check()
            try:
                rank, message = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                if (self.rounds or self.learned) and len(messages) >= self._least:
                    for rank in missing_ranks:
                        self._behind.setdefault(rank, deque())
                    break
                missing = [name for rank, name in enumerate(self.names, start=1) if rank not in messages]
                late = RankLostError(
                    f"Site(s) {missing} did not answer within {self._patience:g} s in merge {self.merges} of "
                    f"{self.stage}. Look at the log there, or give more patience."
                )
                self.abort(late)
                raise late from None
            self.check()
            if rank in self._behind and message is not None:
                self._caught_up(rank, message)
                until = max(until, time.monotonic() + self._patience)
                continue
            if rank and message is None and self._does_without(rank):
                messages.pop(rank, None)
                continue
            if rank and message is None:
                left = Cause(rank, self.names[rank - 1], "left before the end", lost=True)
                left = self._lost.get(rank, left)
                self._end(left)
                raise self._error(left)
            if message is not None:
                if message["kind"] != kind or rank in messages:
                    raise EngineError(
                        f"Site {self.names[rank - 1]!r} is out of step: it sent {message['kind']!r} where "
                        f"{kind!r} was due. Does it run the same job?"
                    )
                messages[rank] = message
        self._present = sorted(messages)
        if kind in (MERGE, REPORT):
            for rank in self._gone | self._behind.keys():
                name = self.names[rank - 1]
                self.missed[name] = self.missed.get(name, 0) + 1
        return [messages[rank] for rank in self._present]

    def _awaited(self) -> set[int]:
        """Who must tell something before it goes on."""
        everybody = set(range(1, self.size)) - self._gone
        return everybody - self._behind.keys() if self.rounds else everybody

    def _does_without(self, rank: int) -> bool:
        """Whether the fit goes on without a site that is gone; it then is so for good."""
        if rank in self._gone:
            return True
        if not (self.rounds or self.learned) or self.size - 1 - len(self._gone) - 1 < self._least:
            return False
        self._gone.add(rank)
        self._behind.pop(rank, None)
        return True

    def _caught_up(self, rank: int, message: Tree) -> None:
        """Tell a site that comes too late what came of a merge without it."""
        kind, body = self._behind[rank].popleft()
        if message["kind"] != kind:
            raise EngineError(f"Site {self.names[rank - 1]!r} is out of step. Does it run the same job?")
        self._lines[rank - 1].send(Message.of({"kind": kind, "body": body, "late": True}))
        if not self._behind[rank]:
            del self._behind[rank]

    def _answer(self, kind: str, body: Any) -> None:
        message = Message.of({"kind": kind, "body": body})
        for rank, line in enumerate(self._lines, start=1):
            if rank in self._behind:
                self._behind[rank].append((kind, body))
            elif rank not in self._gone:
                line.send(message)
        self.check()

    def _hear(self, line: PeerConnection) -> None:
        while (message := line.receive()) is not None:
            self.received[self.names[line.rank - 1]] += message_bytes(message)
            self._inbox.put((line.rank, message.tree()))
        self._inbox.put((line.rank, None))

    def _fail(self, cause: Cause) -> None:
        if cause.lost and self.does_without:
            self._lost[cause.rank] = cause
            self._inbox.put((cause.rank, None))  # where it is missed is known whether that matters
        else:
            self._end(cause)

    def _end(self, cause: Cause) -> None:
        with self._lock:
            if self._cause is not None or self._closed.is_set():
                return
            self._cause = cause
        for line in self._lines:
            line.abort(cause)
            line.wake()
        self._inbox.put((0, None))

    def _error(self, cause: Cause) -> OutgrowError:
        if cause.lost:
            return RankLostError(
                f"Site {cause.host!r} {cause.reason} in merge {self.merges} of {self.stage}. Look at the log "
                "there.",
                rank=cause.rank,
                host=cause.host,
            )
        return raised_there(cause)


class SiteLink(Star):
    """A site's connection to the coordinator: its only one, and the only place where something leaves.

    Parameters
    ----------
    line : the connection.
    rank, size : its number, from 1, and how many ranks there are with the coordinator.
    name : of the site.
    policy : what may leave.
    audit : hears of everything that does.
    deadline : seconds of silence after which the coordinator is taken for lost.
    secure : send statistics behind masks, so that the coordinator sees their sum over the sites alone.
    """

    def __init__(
        self,
        line: socket.socket,
        rank: int,
        size: int,
        name: str,
        policy: Policy,
        audit: AuditLog,
        deadline: float = 60.0,
        *,
        secure: bool = False,
    ) -> None:
        self.rank, self.size, self.host = rank, size, name
        self.secure = secure
        self._policy, self._audit = policy, audit
        self._calls = 0
        self._cause: Cause | None = None
        self._closed = threading.Event()
        self._line = PeerConnection(line, 0, "the coordinator", deadline, self._fail)
        self._line.start()
        threading.Thread(target=partial(_beat, [self._line], deadline, self._closed), daemon=True).start()

    def allreduce(self, state: Any) -> Any:
        parts = self._policy.check(state, self.stage)
        self._calls += 1
        if self.secure:
            return self._secure_sum(state)
        return from_tree(self._asked(MERGE, to_tree(state), parts))

    def _secure_sum(self, state: Any) -> Any:
        """The sum over all sites, to which this one adds behind its masks."""
        form = form_of(state, self.stage)
        mine = MaskedSite(self.rank, self.size - 1, _context(self.stage, self._calls))
        body = {"form": form, "keys": mine.keys()}
        known = self._asked(
            KEYS, body, [described("form of the sum", str(form)), described("public keys", 2)]
        )
        keys = dict(enumerate(known["keys"], start=1))
        if keys[self.rank] != mine.keys() or len(keys) != self.size - 1:
            raise EngineError("The coordinator gives other keys than this site has. Nothing was told.")
        form = known["form"]
        values = POINT.encoded(numbers_of(state, form), self.size - 1)
        sealed = {str(other): content for other, content in mine.sealed(keys).items()}
        others = self._asked(SEALED, sealed, [described("sealed shares of masks", sealed)])
        masked = mine.masked(values, {int(other): content for other, content in others.items()})
        there = self._asked(MASKED, masked, [described("masked sum", masked)])
        shares = {str(of): share for of, share in mine.unmasking(there).items()}
        return state_of(self._asked(UNMASKING, shares, [described("shares of masks", shares)]), form)

    def agree(self, agreement: dict[str, str]) -> None:
        """Learn whether the coordinator is about to do the same.

        Parameters
        ----------
        agreement : what this site would fit.
        """
        self._asked(AGREE, agreement, [described(key, value) for key, value in agreement.items()])

    def finish(self) -> bytes:
        """The result of a fit, from the coordinator."""
        result: bytes = self._asked(RESULT, None, [])
        return result

    def report(self, report: dict[str, Any]) -> None:
        """Tell the coordinator how the model does here.

        Parameters
        ----------
        report : numbers by name.
        """
        self._asked(REPORT, report, [described(key, value) for key, value in report.items()])

    def check(self) -> None:
        if self._cause is not None:
            raise self._error(self._cause)

    def abort(self, error: BaseException) -> None:
        """Tell the coordinator that this site gives up, and why; of foreign errors only their kind."""
        if self._cause is None:
            self._audit.note("failure", 0, self.stage, len(reason_of(error)), [])
            self._line.abort(Cause(self.rank, self.host, reason_of(error)))

    def close(self) -> None:
        self._closed.set()
        self._line.close()

    def _asked(self, kind: str, body: Any, parts: list[dict[str, Any]]) -> Any:
        self.check()
        message = Message.of({"kind": kind, "body": body})
        merging = kind in (MERGE, KEYS, SEALED, MASKED, UNMASKING)
        self._audit.note(kind, self._calls if merging else 0, self.stage, message_bytes(message), parts)
        self._line.send(message)
        answer = self._line.receive()
        self.check()
        if answer is None:
            raise self._error(Cause(0, "the coordinator", "has left before the end", lost=True))
        tree = answer.tree()
        if tree.get("late"):
            self._audit.note("too late", self._calls, self.stage, 0, [])
        if tree["kind"] != kind:
            raise EngineError(f"The coordinator answered {tree['kind']!r} where {kind!r} was due.")
        return tree["body"]

    def _fail(self, cause: Cause) -> None:
        self._cause = self._cause or cause
        self._line.wake()

    def _error(self, cause: Cause) -> OutgrowError:
        if cause.lost:
            who = "The coordinator" if cause.rank == 0 else f"Site {cause.host!r}"
            return RankLostError(f"{who} {cause.reason}.", rank=cause.rank, host=cause.host)
        return raised_there(cause)


def _context(stage: str, merge: int) -> bytes:
    """What keys of a secure sum are for."""
    return f"outgrow {stage} {merge}".encode()


def _beat(lines: Sequence[PeerConnection], deadline: float, closed: threading.Event) -> None:
    while not closed.wait(min(10.0, deadline / 4)):
        for line in lines:
            line.beat()


if TYPE_CHECKING:
    _coordinator: Communicator = Coordinator([])
    _site: Communicator = SiteLink(socket.socket(), 1, 2, "", Policy(), AuditLog())
