"""The command `outgrow`, to which each file here adds a command."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow._version import __version__

INTERNAL_ERROR, USER_ERROR = 1, 2
"""Exit codes: a bug of outgrow, a mistake of its user."""

app = typer.Typer(
    name="outgrow",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"outgrow {__version__}")
        raise typer.Exit


@app.callback()
def _outgrow(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version it is.")
    ] = False,
) -> None:
    """Train, score and inspect models on one machine or on Apache Spark."""
