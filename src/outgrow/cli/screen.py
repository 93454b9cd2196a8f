"""What commands print: lines, tables and progress."""

from __future__ import annotations

import os
from typing import Any

import typer

_PIPE_WIDTH = 1_000
"""Characters of a line that a file or another command gets, so that no table is cut."""


def complain(message: str) -> None:
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False, color=False if plain else None)
    typer.echo(message, err=True)


def say(message: str) -> None:
    typer.echo(message)


def console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    shown = Console(stderr=stderr, highlight=False)
    if not shown.is_terminal and "COLUMNS" not in os.environ:
        shown.width = _PIPE_WIDTH
    return shown


def progress() -> Any:
    from outgrow.job.progress import show_progress

    return show_progress(console(stderr=True))
