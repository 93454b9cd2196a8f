"""Processes that stand ready as ranks: started once, kept for more fits, ended with this process."""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from outgrow._process import UNRECORDED
from outgrow.engine.frames import Head, Message, send
from outgrow.errors import ArtifactError, EngineError

IDLE_SECONDS = 60.0
"""For so long processes stand ready for another fit."""
_THREADS = ("OUTGROW_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_BEYOND_STREAMS = 3
_START = """
import sys
sys.path[:], sys.argv[:] = {path!r}, {argv!r}
from outgrow.engine.ranks.worker import main
main({handle}, {parent})
"""


class RankProcess:
    """One process, and the connection to it.

    Parameters
    ----------
    rank : its number, by which what it says is told from what others do.
    threads : on how many its libraries work.
    said : gets the process and each thing it says; None when it is gone.
    """

    def __init__(self, rank: int, threads: int, said: SimpleQueue[tuple[RankProcess, Any]]) -> None:
        self.rank = rank
        self.ready = False
        self._said = said
        self._line, theirs = (_beyond_streams(line) for line in socket.socketpair())
        with theirs:
            path = [str(Path(entry).resolve()) for entry in sys.path]
            code = _START.format(path=path, argv=sys.argv, handle=theirs.fileno(), parent=os.getpid())
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **UNRECORDED, **dict.fromkeys(_THREADS, str(threads))},
                start_new_session=True,  # Ctrl-C and Ctrl-Z are for this process alone
            )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, name=f"outgrow rank {rank}", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it runs; one whose threads are still ending does not."""
        return self._process.poll() is None and self._state() != "Z"

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped it, as SIGSTOP and debuggers do."""
        return self._state() in ("T", "t")

    def send(self, message: dict[str, Any]) -> None:
        """Say something; a process that is gone is noticed by what it says, which is nothing more."""
        with suppress(OSError):
            send(self._line, 0, Message.of(message))

    def ending(self) -> str:
        """How it ended, once it has."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"was ended by {name}" + (", as a system does that runs out of memory" if code == -9 else "")

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._line.close()

    def _state(self) -> str:
        """As the system calls it; '' where it does not tell."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def _read(self) -> None:
        with suppress(OSError, ArtifactError), self._line.makefile("rb") as stream:
            while (head := Head.read(stream)) is not None:
                self._said.put((self, Message.read(head, stream).tree()))
        self._said.put((self, None))


class RankProcesses:
    """As many processes as a fit has ranks.

    Attributes
    ----------
    said : what they say, in the order it came: the process, and a message or None.
    """

    def __init__(self, count: int, threads: int) -> None:
        self.said: SimpleQueue[tuple[RankProcess, Any]] = SimpleQueue()
        self._threads = threads
        self._closer: threading.Timer | None = None
        self._all: list[RankProcess] = []
        try:
            for rank in range(count):
                self._all.append(RankProcess(rank, threads, self.said))
        except OSError as error:
            self.close()
            raise EngineError(
                f"{count} processes cannot be started: {error}. Ask for fewer with og.Local(processes=...)."
            ) from error

    def __iter__(self) -> Iterator[RankProcess]:
        return iter(self._all)

    def __getitem__(self, rank: int) -> RankProcess:
        return self._all[rank]

    @property
    def alive(self) -> bool:
        return all(process.alive for process in self._all)

    def replace(self, rank: int) -> None:
        """End the process of a rank, and start another in its stead."""
        self._all[rank].end()
        self._all[rank] = RankProcess(rank, self._threads, self.said)

    def close(self) -> None:
        """End all of them."""
        if self._closer is not None:
            self._closer.cancel()
        for process in self._all:
            process.end()


_idle: dict[Any, list[RankProcesses]] = {}
_lock = threading.Lock()


@contextmanager
def rank_processes(count: int, threads: int) -> Iterator[RankProcesses]:
    """Processes for one fit: those of an earlier one where they still are, else new ones.

    They end with the block when it raises something; else they wait for the next fit.

    Parameters
    ----------
    count : how many.
    threads : on how many each of them works.
    """
    key = count, threads, tuple(sys.path), os.getcwd(), sys.executable
    processes = _taken(key) or RankProcesses(count, threads)
    try:
        yield processes
    except BaseException:
        processes.close()
        raise
    with _lock:
        _idle.setdefault(key, []).append(processes)
        processes._closer = threading.Timer(IDLE_SECONDS, _retire, (key, processes))
        processes._closer.daemon = True
        processes._closer.start()


def end_idle() -> None:
    """End all processes that wait for a fit."""
    with _lock:
        waiting = [processes for group in _idle.values() for processes in group]
        _idle.clear()
    for processes in waiting:
        processes.close()


def _taken(key: Any) -> RankProcesses | None:
    while True:
        with _lock:
            if not _idle.get(key):
                return None
            processes = _idle[key].pop()
        if processes._closer is not None:
            processes._closer.cancel()
        if processes.alive:
            return processes
        processes.close()


def _retire(key: Any, processes: RankProcesses) -> None:
    with _lock:
        if processes not in _idle.get(key, []):
            return  # a fit was quicker
        _idle[key].remove(processes)
    processes.close()


def _beyond_streams(line: socket.socket) -> socket.socket:
    """The same connection with a number that is not one of the standard streams, which may be closed here."""
    if line.fileno() >= _BEYOND_STREAMS:
        return line
    with line:
        return socket.socket(fileno=fcntl.fcntl(line.fileno(), fcntl.F_DUPFD_CLOEXEC, _BEYOND_STREAMS))


def _forget() -> None:
    """A fork has none: its parent ends them."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


atexit.register(end_idle)
os.register_at_fork(after_in_child=_forget)
