"""The stages of a job: each timed, with its rows and the most memory it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from outgrow.engine.events import Event, emit
from outgrow.engine.memory import resident_bytes

STAGE = "stage"
"""The unit of the events that open (step 0) and close (step 1) a stage."""
_LOOK_SECONDS = 0.02


@dataclass
class Stage:
    """What was done.

    Attributes
    ----------
    rows : how many rows went through; 0 where rows are not the point.
    seconds : how long it took.
    memory : the most memory this process held meanwhile, in bytes.
    """

    name: str
    rows: int = 0
    seconds: float = 0.0
    memory: int = 0

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds > 0 else 0.0


class Stages:
    """The stages done so far; `with stages("fit") as stage:` adds one."""

    def __init__(self) -> None:
        self.done: list[Stage] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[Stage]:
        stage = Stage(name)
        emit(Event(name, STAGE, 0, 1))
        began = time.perf_counter()
        with _peak_memory(stage):
            yield stage
        stage.seconds = time.perf_counter() - began
        self.done.append(stage)
        emit(Event(name, STAGE, 1, 1, stage.rows, stage.seconds, stage.seconds, memory=stage.memory))


@contextmanager
def _peak_memory(stage: Stage) -> Iterator[None]:
    """Note the most memory held inside the block; the system only knows the peak since the process began."""
    stop = threading.Event()

    def look() -> None:
        while True:
            stage.memory = max(stage.memory, resident_bytes())
            if stop.wait(_LOOK_SECONDS):
                return

    watcher = threading.Thread(target=look, name="outgrow-memory", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        stage.memory = max(stage.memory, resident_bytes())
