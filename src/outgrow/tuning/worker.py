"""`python -m outgrow.tuning.worker`: a process that takes trials from the driver until there are none.

What it is to do comes on standard input, as one line of JSON; when that is closed, whoever started it is
gone, and it ends.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from outgrow.errors import OutgrowError
from outgrow.tuning.channel import Channel, reach
from outgrow.tuning.staged_rows import mapped
from outgrow.tuning.trial import TrialContext, is_pruned

OBJECTIVE = "objective.pkl"
"""The file beside the rows that holds what is tried; written by the process that started this one."""
DONE_EXIT, LATE_EXIT, ALONE_EXIT = 0, 75, 76
"""Exit codes: no more trials; a trial took too long; the driver is gone."""
_MESSAGE_CHARACTERS = 4_000


def main() -> None:
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch_starter, daemon=True).start()
    threading.Thread(target=_beat, args=(task["beats"], task["silence"] / 4), daemon=True).start()
    _limit(task["memory"])
    folder = Path(task["folder"])
    objective, rows = _objective(folder), mapped(folder)
    address = (task["address"][0], task["address"][1])
    channel = reach(address, task["number"], bytes.fromhex(task["secret"]), task["silence"], _leave)
    if channel is None:
        sys.exit(ALONE_EXIT)
    channel.send(kind="ready", pid=os.getpid(), read=task["read"])
    worker = Worker(channel, objective, rows, task["deadline"])
    while (message := channel.receive()) is not None and message["kind"] == "trial":
        worker.run(message["number"], message["parameters"])
    channel.close()
    # threads of libraries that still run must not keep the process
    sys.stdout.flush()
    os._exit(DONE_EXIT if message is not None else ALONE_EXIT)


class Worker:
    """Runs trials one after the other and tells the driver how they went."""

    def __init__(self, channel: Channel, objective: Any, rows: Any, deadline: float | None) -> None:
        self._channel = channel
        self._objective = objective
        self._rows = rows
        self._deadline = deadline

    def run(self, number: int, parameters: dict[str, Any]) -> None:
        """Run a trial, and send the driver its values, its failure, or that it was pruned.

        A trial that takes longer than the deadline ends this process.

        Parameters
        ----------
        number : of the trial.
        parameters : its settings by name, as the driver sent them.
        """
        trial = TrialContext(number, parameters, self._rows, self._tell)
        timer = self._timer(number)
        began = time.perf_counter()
        try:
            values, details = self._objective(trial)
        except Exception as error:
            if is_pruned(error):
                self._channel.send(kind="pruned", seconds=time.perf_counter() - began)
            else:
                self._channel.send(kind="failed", **_cause(error))
        else:
            details = {"seconds": time.perf_counter() - began, **details}
            self._channel.send(kind="done", values=values, details=details)
        finally:
            if timer is not None:
                timer.cancel()

    def _tell(self, value: float, step: int) -> bool:
        """Report to the driver, and wait for its verdict."""
        self._channel.send(kind="report", value=value, step=step)
        verdict = self._channel.receive()
        return verdict is None or bool(verdict["prune"])

    def _timer(self, number: int) -> threading.Timer | None:
        if self._deadline is None:
            return None

        def end() -> None:  # nothing else stops code that computes outside of Python
            text = f"The trial took longer than its deadline of {self._deadline:g} s."
            self._channel.send(kind="failed", error=text, trace="", leaves=True)
            os._exit(LATE_EXIT)

        timer = threading.Timer(self._deadline, end)
        timer.daemon = True
        timer.start()
        return timer


def _objective(folder: Path) -> Any:
    import cloudpickle

    with open(folder / OBJECTIVE, "rb") as file:
        return cloudpickle.load(file)


def _cause(error: Exception) -> dict[str, Any]:
    kind = "" if isinstance(error, OutgrowError) else f"{type(error).__name__}: "
    return {
        "error": f"{kind}{error}"[:_MESSAGE_CHARACTERS],
        "trace": traceback.format_exc()[-_MESSAGE_CHARACTERS:],
        "leaves": False,
    }


def _limit(memory: int | None) -> None:
    """At most so much memory of its own for this process; what it maps from files does not count."""
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _watch_starter() -> None:
    sys.stdin.read()
    os._exit(ALONE_EXIT)


def _beat(pipe: int, every: float) -> None:
    """Let whoever started this process hear that it is alive."""
    while True:
        os.write(pipe, b".")
        time.sleep(min(every, 5.0))


def _leave(_: str) -> None:
    os._exit(ALONE_EXIT)


if __name__ == "__main__":
    main()
