"""What a person sees while a job runs: a bar for each stage, or a line where there is no terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from outgrow.engine.events import Event, listen
from outgrow.engine.memory import describe_size
from outgrow.job.stages import STAGE
from outgrow.page import format as say

_STAGE_CHARACTERS = 16


@contextmanager
def show_progress(console: Console) -> Iterator[None]:
    """Show every stage and what goes on in it, inside the block."""
    if not console.is_terminal:
        with listen(_PlainProgress(console)):
            yield
        return
    with _bars(console) as progress, listen(_BarProgress(progress)):
        yield


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn(
            f"{{task.description:<{_STAGE_CHARACTERS}}}",
            table_column=Column(min_width=_STAGE_CHARACTERS, no_wrap=True),
        ),
        BarColumn(bar_width=18),
        TextColumn(
            "{task.fields[detail]}", style="dim", table_column=Column(no_wrap=True, overflow="ellipsis")
        ),
        console=console,
        refresh_per_second=8,
    )


class _PlainProgress:
    """One plain line for each stage, when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: Event) -> None:
        if event.unit == STAGE and event.step:
            self._console.print(
                f"{event.stage:<{_STAGE_CHARACTERS}} {_summary(event)}", highlight=False, soft_wrap=True
            )


class _BarProgress:
    """A bar for each stage, moved by the passes and rounds inside it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._lock = threading.Lock()
        self._last: dict[str, Event] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.unit != STAGE:
                self._step(event)
            elif event.step:
                self._end(event)
            else:
                self._task = self._progress.add_task(event.stage, total=None, detail="")

    def _step(self, event: Event) -> None:
        if event.note is not None:
            self._progress.console.print(f"  [dim]{event.note}[/]", highlight=False)
        elif self._task is not None:
            self._remember(event)
            shown = next((previous for previous in self._last.values() if previous.loss is not None), event)
            completed = shown.step if shown.total else 0
            pace = max((previous.rows_per_second for previous in self._last.values()), default=0.0)
            self._progress.update(
                self._task, total=shown.total, completed=completed, detail=_detail(shown, pace)
            )

    def _remember(self, event: Event) -> None:
        """Keep the last event of each unit: passes tell the pace, the steps made of them the loss."""
        if any(previous.stage != event.stage for previous in self._last.values()):
            self._last.clear()
        self._last[event.unit] = event

    def _end(self, event: Event) -> None:
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1, detail=_summary(event))
            self._task = None
            self._last.clear()


def _detail(event: Event, rows_per_second: float) -> str:
    total = f"/{event.total}" if event.total else ""
    parts = [event.stage.rpartition(": ")[2], f"{event.unit} {event.step}{total}"]
    if rows_per_second:
        parts.append(say.rate(rows_per_second))
    if event.loss is not None:
        parts.append(f"loss {say.number(event.loss)}")
    parts += [f"{name.replace('_', ' ')} {say.number(value)}" for name, value in event.metrics.items()]
    if event.slowest:
        parts.append(f"slowest {event.slowest}")
    if event.eta:
        parts.append(f"{say.seconds(event.eta)} to go")
    return " · ".join(parts)


def _summary(event: Event) -> str:
    parts = [f"{say.seconds(event.seconds):>8}"]
    if event.rows:
        parts += [f"{say.count(event.rows):>11} rows", f"{say.rate(event.rows_per_second):>12}"]
    else:
        parts += [" " * 16, " " * 12]
    return "  ".join([*parts, f"peak {describe_size(event.memory)}"])
