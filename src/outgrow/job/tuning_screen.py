"""What a person sees while a search runs: the best trials so far, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from outgrow.engine.events import Event, listen
from outgrow.job.model import TuneSpec
from outgrow.job.record import MODEL, REPORT
from outgrow.job.tuning_record import BEST, BEST_FOLDER, SearchOutcome
from outgrow.page import format as say
from outgrow.tuning.study import best_first

_TRIALS_SHOWN = 5
_REDRAW_SECONDS = 0.25


@contextmanager
def show_search(console: Console, spec: TuneSpec | None) -> Iterator[Any]:
    """Show a search inside the block: as a table that is drawn anew, or as plain lines where no terminal is.

    Parameters
    ----------
    console : where; of standard error, so that standard output stays free.
    spec : its `trials` is shown as the total; None where that is not known.

    Yields
    ------
    What is to be called with the study after each trial.
    """
    screen = _Screen(None if spec is None else spec.trials)
    if not console.is_terminal:
        with listen(lambda event: _print_progress(console, event)):
            yield screen.note
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        screen.live = live
        with listen(screen.hear):
            yield screen.note


class _Screen:
    """The table of the best trials, drawn again at most four times a second."""

    def __init__(self, total: int | None) -> None:
        self.live: Live | None = None
        self._total = total
        self._began = self._drawn = time.monotonic()
        self._notes: list[str] = []

    def hear(self, event: Event) -> None:
        if event.note is not None:
            self._notes = [*self._notes, event.note][-3:]

    def note(self, study: Any) -> None:
        now = time.monotonic()
        if self.live is not None and now - self._drawn > _REDRAW_SECONDS:
            self._drawn = now
            self.live.update(self._picture(study))

    def _picture(self, study: Any) -> Group:
        trials = study.get_trials(deepcopy=False)
        states = [trial.state.name for trial in trials]
        counts = " · ".join(f"{states.count(state)} {state.lower()}" for state in dict.fromkeys(states))
        of = f" of {self._total}" if self._total else ""
        head = Text(f"search{of}: {counts} · {say.seconds(time.monotonic() - self._began)}", style="bold")
        notes = [Text(note, style="dim") for note in self._notes]
        return Group(head, trial_table(study), *notes)


def trial_table(study: Any, metrics: Sequence[str] = (), shown: int = _TRIALS_SHOWN) -> Table:
    """The best trials, the best first.

    Parameters
    ----------
    study : Optuna's.
    metrics : names for its values; empty for `value`.
    shown : how many trials at most.
    """
    metrics = metrics or ["value"] * len(study.directions)
    best = best_first(study)[:shown]
    names = list(dict.fromkeys(name for trial in best for name in trial.params))
    table = Table(box=SIMPLE_HEAD)
    for name in ("trial", *metrics, *names):
        table.add_column(escape(name.rpartition("__")[2]), justify="right")
    for rank, trial in enumerate(best):
        values = [f"{value:.5g}" for value in trial.values]
        chosen = [_value_text(trial.params.get(name)) for name in names]
        table.add_row(str(trial.number), *values, *chosen, style="bold" if rank == 0 else "")
    return table


def search_table(outcome: SearchOutcome) -> Table:
    """The metrics on the test rows, of the best settings and of those in the file."""
    table = Table(box=SIMPLE_HEAD, title="test rows", title_justify="left", title_style="bold")
    table.add_column("metric")
    table.add_column("best settings", justify="right")
    table.add_column("as it was", justify="right")
    for name, value in outcome.scores.items():
        table.add_row(say.metric_name(name), f"[bold]{say.score(value)}[/]", say.score(outcome.before[name]))
    return table


def next_steps(outcome: SearchOutcome) -> str:
    """What was written, and the command to type next."""
    folder = escape(str(outcome.folder / BEST_FOLDER))
    return "\n".join(
        [
            f"model   {folder}/{MODEL}",
            f"report  {folder}/{REPORT}",
            "",
            "Run the job with the best settings:",
            f"  [bold]outgrow run {folder}/{BEST} --overwrite[/]",
        ]
    )


def _value_text(value: Any) -> str:
    if value is None or isinstance(value, str | bool):
        return "" if value is None else escape(str(value))
    return f"{value:.4g}"


def _print_progress(console: Console, event: Event) -> None:
    """One plain line for each tenth of a search, and for what went wrong."""
    if event.unit not in ("trial", "retry"):
        return
    every = max(1, (event.total or 100) // 10)
    if event.note is not None:
        console.print(event.note, highlight=False, soft_wrap=True)
    elif event.step % every == 0:
        of = f"/{event.total}" if event.total else ""
        best = "" if event.loss is None else f", best {event.loss:.5g}"
        console.print(
            f"trial {event.step}{of}{best}, {say.seconds(event.elapsed)}", highlight=False, soft_wrap=True
        )
