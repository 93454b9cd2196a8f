"""A process that works as one rank of fit after fit, for the process that started it.

What comes over its connection is unpickled: it is a pair of sockets that only the two processes have.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import nullcontext, suppress
from dataclasses import asdict
from io import BufferedReader
from queue import SimpleQueue
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
from outgrow.errors import RankLostError, RegroupError

READY, EVENT, STATE, DONE, FAILED, LOST, PEER = "ready", "event", "state", "done", "failed", "lost", "peer"
REGROUP = "regroup"
"""Kinds of what a rank says: the last five end its work on a fit."""
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
        threading.Thread(target=worker.hear, args=(stream,), daemon=True).start()
        while (task := worker.tasks.get()) is not None:
            worker.work(task)
    os._exit(0)  # threads of libraries that still run must not keep the process


class _Worker:
    """What a process does with one message after the other."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._saying = threading.Lock()
        self.tasks: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._regroups = threading.Event()
        self._between: tuple[str, dict[str, Any]] = "", {}

    def hear(self, stream: BufferedReader) -> None:
        """Take what the process that started this one says, until it says no more.

        Parameters
        ----------
        stream : of the connection.
        """
        with suppress(OSError, ValueError):
            while (head := Head.read(stream)) is not None:
                message = Message.read(head, stream).tree()
                if REGROUP in message:
                    self._regroups.set()
                else:
                    self.tasks.put(message)
        self.tasks.put(None)

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
        self._regroups.clear()
        try:
            work: RankWork = opened(task["work"])
            if work.elastic != self._between[0]:
                self._between = work.elastic, {}
            comm = join(
                rank,
                task["hosts"],
                task["secret"],
                ports=tuple(task["ports"]),
                joining=task["joining"],
                deadline=task["deadline"],
            )
            context = work.begin(comm, self._keep if rank == 0 else None)
            context.elastic, context.between = bool(work.elastic), self._between[1]
            context.regroups = self._regroups.is_set
            with listen(self._tell) if task["heard"] and rank == 0 else nullcontext():
                result, said = work.run(context)
            packed = pack(result) if rank == 0 else b""
        except RegroupError:
            self.say(REGROUP)
        except PeerFailedError:
            self.say(PEER)  # that rank reports the cause itself
        except RankLostError as error:
            self.say(LOST, rank=error.rank, message=str(error))
        except Exception as error:
            self._fail(error, rank, comm, context)
        else:
            self._between = "", {}
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
