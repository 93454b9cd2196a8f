"""The process of a task, and whether the executor that it belongs to still runs.

A task's Python process lives on when its executor is stopped (by a debugger, or an operator's SIGSTOP): it
beats and computes, and what it hands over is read by nobody. Spark notices after its network timeout, two
minutes by default.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK = 0.25
"""How often the executor is looked at, in deadlines."""


_modules_spared = 0


def spare_modules() -> None:
    """Leave what this process has imported out of collections of garbage, of which PySpark makes one a task.

    The next task would wait for it. Called as a task begins, when the garbage of those before it is gone.
    """
    global _modules_spared
    if len(sys.modules) > _modules_spared:
        gc.freeze()
        _modules_spared = len(sys.modules)


@contextmanager
def watched_executor(deadline: float, stands_still: Callable[[], None]) -> Iterator[None]:
    """Watch this process's executor, on a thread, for as long as the block runs.

    It is looked at for `deadline` seconds afterwards, too: what was handed over may still wait for it to be
    taken.

    Parameters
    ----------
    deadline : seconds for which the executor may be stopped.
    stands_still : called when it was, once, on that thread. Where the system does not tell, it never is.
    """
    executor, done = _executor(), threading.Event()
    if executor is not None:
        arguments = (executor, deadline, done, stands_still)
        threading.Thread(target=_watch, args=arguments, name="outgrow executor", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(executor: int, deadline: float, done: threading.Event, stands_still: Callable[[], None]) -> None:
    ran = time.monotonic()
    left = deadline
    while left > 0 and time.monotonic() - ran < deadline:
        time.sleep(_LOOK * deadline)
        if _state(executor) not in ("T", "t"):
            ran = time.monotonic()
            left -= _LOOK * deadline if done.is_set() else 0.0
    if left > 0:
        stands_still()


def _executor() -> int | None:
    """The Java process above this one; None where the system does not tell."""
    process = os.getppid()
    while process > 1:
        told = _stat(process)
        if told is None or told[0] == "java":
            return None if told is None else process
        process = int(told[1][1])
    return None


def _state(process: int) -> str:
    told = _stat(process)
    return "" if told is None else told[1][0]


def _stat(process: int) -> tuple[str, list[str]] | None:
    """The command of a process, and its state, parent and so on, as Linux tells them."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    before, _, after = text.rpartition(")")
    return before.partition("(")[2], after.split()
