"""One stream of progress: passes, rounds, files; progress bars, notebooks and reports listen to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something was done.

    Attributes
    ----------
    stage : what is under way, as a person would call it ("fit LogisticRegression").
    unit : what `step` counts ("pass", "round", "rows").
    step, total : how far; total is None where it cannot be known.
    rows : rows this step touched, over all ranks.
    seconds : what this step took.
    elapsed : seconds since the stage began.
    loss : the value being minimised, where there is one.
    memory : peak resident memory of the process so far, in bytes.
    slowest : of several ranks, the one that worked longest in the last pass.
    note : something to be read by a person, such as the memory a fit will need, or that a rank was lost.
    metrics : what else was measured, by name, such as the loss of rows held out.
    details : what else there is to say of the step, such as the settings of a trial.
    ranks : what each rank has done since the stage began, every few seconds, as `rank_paces.Pace`.
    """

    stage: str
    unit: str
    step: int
    total: int | None = None
    rows: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    loss: float | None = None
    memory: int = 0
    slowest: str | None = None
    note: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    ranks: Sequence[Mapping[str, Any]] = ()

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds still to go, from the pace so far."""
        if self.total is None or not self.step:
            return None
        return self.elapsed / self.step * max(0, self.total - self.step)


Listener = Callable[[Event], None]

_listeners: list[Listener] = []
_lock = threading.Lock()
_muted = ContextVar("muted", default=False)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call `listener` with every event inside the block, from whichever thread it happens in.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> seen = []
    >>> with og.listen(seen.append):
    ...     _ = og.KMeans(n_clusters=2, random_state=0).fit(np.array([[0.0], [0.1], [9.0], [9.1]]))
    >>> seen[-1].unit
    'pass'
    """
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


@contextmanager
def muted() -> Iterator[None]:
    """Nobody hears what happens on this thread inside the block: small work that is part of larger work."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def emit(event: Event) -> None:
    """Tell every listener."""
    for listener in () if _muted.get() else tuple(_listeners):
        listener(event)


def hears() -> bool:
    """Whether what happens on this thread may be heard: it is not inside `muted`."""
    return not _muted.get()


def heard() -> bool:
    """Whether anyone listens."""
    return bool(_listeners) and not _muted.get()
