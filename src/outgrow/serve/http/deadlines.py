"""Deadlines of many tasks with one timer: thousands a second begin, hardly any passes."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType


class Deadline:
    """Around what a task does: past it the task is cancelled, and what it did ends with TimeoutError."""

    __slots__ = ("_deadlines", "due", "passed", "task")

    def __init__(self, deadlines: Deadlines, due: float) -> None:
        self._deadlines = deadlines
        self.due = due
        self.passed = False

    def __enter__(self) -> Deadline:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._deadlines.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._deadlines.drop(self)
        if self.passed and self.task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadlines:
    """The deadlines of the tasks of one event loop.

    Examples
    --------
    >>> import asyncio
    >>> async def wait() -> str:
    ...     try:
    ...         with Deadlines().within(0.01):
    ...             await asyncio.sleep(10)
    ...     except TimeoutError:
    ...         return "too late"
    >>> asyncio.run(wait())
    'too late'
    """

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._fires = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None

    def within(self, seconds: float) -> Deadline:
        """A deadline for what the current task does in a `with` block."""
        return Deadline(self, asyncio.get_running_loop().time() + seconds)

    def add(self, deadline: Deadline) -> None:
        self._open.add(deadline)
        if deadline.due < self._fires or self._loop is not asyncio.get_running_loop():
            self._arm(deadline.due)

    def drop(self, deadline: Deadline) -> None:
        self._open.discard(deadline)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = due
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Cancel what is past its deadline, and come back for the next one."""
        now = asyncio.get_running_loop().time()
        self._timer, self._fires = None, math.inf
        for deadline in [deadline for deadline in self._open if deadline.due <= now]:
            self._open.discard(deadline)
            deadline.passed = True
            deadline.task.cancel()
        if self._open:
            self._arm(min(deadline.due for deadline in self._open))
