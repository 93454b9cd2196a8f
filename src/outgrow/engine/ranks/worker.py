"""A process that works as one rank of fit after fit, for the process that started it.

What comes over its connection is unpickled: it is a pair of sockets that only the two processes have.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from outgrow._process import end_with
from outgrow.artifact import pack
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.events import Event, listen
from outgrow.engine.frames import Head, Message, send
from outgrow.engine.peer import PeerFailedError
from outgrow.engine.ranks.parcel import opened
from outgrow.engine.ranks.rank import RankWork, cause_of, facts
from outgrow.engine.ranks.rendezvous import join
from outgrow.errors import RankLostError

READY, EVENT, STATE, DONE, FAILED, LOST, PEER = "ready", "event", "state", "done", "failed", "lost", "peer"
"""Kinds of what a rank says: the last four end its work on a fit."""
_ALONE_EXIT = 76


def main(handle: int, parent: int) -> None:
    """Work on fits until the other end of the connection is closed.

    Parameters
    ----------
    handle : file descriptor of the connection to the process that started this one.
    parent : its process id, with which this process ends.
    """
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    with socket.socket(fileno=handle) as line, line.makefile("rb") as stream:
        worker = _Worker(line)
        worker.say(READY, pid=os.getpid())
        while (head := Head.read(stream)) is not None:
            worker.work(Message.read(head, stream).tree())
    os._exit(0)  # threads of libraries that still run must not keep the process


class _Worker:
    """What a process does with one message after the other."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._saying = threading.Lock()

    def say(self, kind: str, **message: Any) -> None:
        try:
            with self._saying:
                send(self._line, 0, Message.of({"kind": kind, **message}))
        except OSError:
            os._exit(_ALONE_EXIT)

    def work(self, task: dict[str, Any]) -> None:
        """One fit, as one rank of it; the last message tells how it ended.

        Parameters
        ----------
        task : how the ranks meet, and the fit as a parcel.
        """
        comm: Tcp | None = None
        context: FitContext | None = None
        rank = task["rank"]
        try:
            work: RankWork = opened(task["work"])
            comm = join(
                rank,
                task["hosts"],
                task["secret"],
                ports=tuple(task["ports"]),
                joining=task["joining"],
                deadline=task["deadline"],
            )
            context = work.begin(comm, self._keep if rank == 0 else None)
            with listen(self._tell) if task["heard"] and rank == 0 else nullcontext():
                result, said = work.run(context)
            packed = pack(result) if rank == 0 else b""
        except PeerFailedError:
            self.say(PEER)  # that rank reports the cause itself
        except RankLostError as error:
            self.say(LOST, rank=error.rank, message=str(error))
        except Exception as error:
            self._fail(error, rank, comm, context)
        else:
            self.say(DONE, facts=facts(context), said=said if rank == 0 else [], result=packed)
        finally:
            if comm is not None:
                comm.close()

    def _fail(self, error: Exception, rank: int, comm: Tcp | None, context: FitContext | None) -> None:
        if comm is not None and comm.cause is not None and comm.cause.lost:
            self.say(LOST, rank=comm.cause.rank, message=str(comm.cause.error()))
            return
        if comm is not None:
            comm.abort(f"{type(error).__name__}: {error}")
        self.say(FAILED, **cause_of(error, rank, context))

    def _tell(self, event: Event) -> None:
        self.say(EVENT, event=asdict(event))

    def _keep(self, place: int, entry: bytes) -> None:
        self.say(STATE, place=place, entry=entry)
