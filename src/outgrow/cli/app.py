"""The command `outgrow`, to which each file here adds a command."""

from __future__ import annotations

import typer

INTERNAL_ERROR, USER_ERROR = 1, 2
"""Exit codes: a bug of outgrow, a mistake of its user."""

app = typer.Typer(
    name="outgrow",
    help="Train, score and inspect models on one machine or on Apache Spark.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
