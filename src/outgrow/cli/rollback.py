"""`outgrow rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import By, Debug, Evidence, Store, Why
from outgrow.cli.screen import say


@app.command("rollback")
def _rollback(
    store: Store,
    alias: Annotated[str, typer.Argument(help="The alias to move back.")] = "champion",
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|DATE",
            help="A number, or a time like 2026-11-01T14:30 (UTC); the version before if not given.",
        ),
    ] = None,
    why: Why = None,
    evidence: Evidence = None,
    by: By = None,
    debug: Debug = False,
) -> None:
    """Let an alias point to an earlier version again: servers and streams that follow it go back."""
    from outgrow.registry.store import ModelStore

    versions = ModelStore.existing(store)
    target = int(to) if to is not None and to.isdigit() else to
    number = versions.rollback(alias, to=target, why=why, evidence=evidence, by=by)
    say(f"{store}: {alias} is version {number} now")
