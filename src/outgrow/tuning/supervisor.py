"""Keeps one worker process alive: on a thread of this process, or in a task of Spark."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from outgrow._process import UNRECORDED, usable_cores
from outgrow.engine.memory import available_bytes
from outgrow.errors import EngineError
from outgrow.tuning.staged_rows import StagedRows, on_this_machine
from outgrow.tuning.worker import ALONE_EXIT, DONE_EXIT, OBJECTIVE

_LOG = "worker-{}.log"
_IMPORT_SECONDS, _LEAVE_SECONDS = 60.0, 2.0
"""What a worker may take to begin, and to end."""
_BROKEN_EXIT = 1
"""The exit code of a worker that failed outside of trials: another would, too."""
_MEMORY = "OUTGROW_MEMORY"
_THREADS = ("OUTGROW_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class WorkerSupervisor:
    """What every worker of a search needs.

    Attributes
    ----------
    address : where the driver listens.
    secret : what proves that a worker is one of this search.
    name : of the folder that workers of one machine share.
    objective : what is tried, pickled.
    rows : what a trial learns from, or None.
    cores, memory, deadline : what one trial may take: threads, bytes, seconds.
    silence : seconds after which driver and worker take each other for lost.
    """

    address: tuple[str, int]
    secret: bytes
    name: str
    objective: bytes
    rows: StagedRows | None
    cores: int
    memory: int | None
    deadline: float | None
    silence: float

    def __call__(self, number: int) -> dict[str, int]:
        """Run worker `number` until the search is over; start it again when it dies."""
        with on_this_machine(self.name, self.rows) as (folder, reads):
            self._put_objective(folder, number)
            starts = 0
            while (code := self._run(number, folder, read=reads and not starts)) not in (
                DONE_EXIT,
                ALONE_EXIT,
            ):
                if code == _BROKEN_EXIT:
                    raise EngineError(f"Worker {number} cannot begin: {_last_words(folder, number)}")
                starts += 1
        return {"restarts": starts}

    def _run(self, number: int, folder: Path, *, read: bool) -> int:
        task = {
            "address": self.address,
            "secret": self.secret.hex(),
            "number": number,
            "folder": str(folder),
            "memory": self.memory,
            "deadline": self.deadline,
            "silence": self.silence,
            "read": read,
        }
        command = [sys.executable, "-m", "outgrow.tuning.worker"]
        heartbeats, beats = os.pipe()
        with open(folder / _LOG.format(number), "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment(),
                pass_fds=[beats],
            )
        os.close(beats)
        with process:
            assert process.stdin is not None
            try:
                with suppress(BrokenPipeError):  # it has died at once; its exit code says why
                    process.stdin.write(json.dumps({**task, "beats": beats}).encode() + b"\n")
                    process.stdin.flush()
                self._listen(heartbeats)
            finally:
                os.close(heartbeats)
                process.stdin.close()  # one that can, ends
                _end(process)
            return process.returncode

    def _listen(self, heartbeats: int) -> None:
        """Return when the worker has ended, or stands still."""
        patience = max(self.silence, _IMPORT_SECONDS)
        while select.select([heartbeats], [], [], patience)[0] and os.read(heartbeats, 1 << 10):
            patience = self.silence

    def _environment(self) -> Mapping[str, str]:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        threads = dict.fromkeys(_THREADS, str(self.cores))
        budget = {_MEMORY: str(self._budget())}
        return {**budget, **os.environ, **UNRECORDED, "PYTHONPATH": path, **threads}

    def _budget(self) -> int:
        """What rows may take: most of what a trial may, or this worker's share of what there is."""
        cores = usable_cores()
        return (self.memory or available_bytes() * min(self.cores, cores) // cores) * 3 // 4

    def _put_objective(self, folder: Path, number: int) -> None:
        draft = folder / f".{OBJECTIVE}.{number}"
        draft.write_bytes(self.objective)
        draft.rename(folder / OBJECTIVE)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_words(folder: Path, number: int) -> str:
    lines = (folder / _LOG.format(number)).read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing."
