"""`outgrow history`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import AsJson, Debug, Store
from outgrow.cli.screen import say


@app.command("history")
def _history(
    store: Store,
    alias: Annotated[str | None, typer.Argument(help="Of this alias alone.")] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Where the aliases pointed then; like 2026-11-01T14:30 (UTC)."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Who moved which alias, when, why, and from where to where; the chain of the log is checked."""
    from outgrow.registry.screen import json_lines, move_table, pointing_table
    from outgrow.registry.store import ModelStore

    versions = ModelStore.existing(store)
    versions.verify()
    if at is not None:
        pointing = versions.at(at)
        say(json_lines([pointing]) if as_json else pointing_table(pointing))
        return
    moves = versions.history(alias)
    say(json_lines(moves) if as_json else move_table(moves))
