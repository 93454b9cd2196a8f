"""What commands print: lines, tables and progress."""

from __future__ import annotations

from typing import Any

import typer


def complain(message: str) -> None:
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(message, err=True)


def say(message: str) -> None:
    typer.echo(message)


def console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def progress() -> Any:
    from outgrow.job.progress import show_progress

    return show_progress(console(stderr=True))
