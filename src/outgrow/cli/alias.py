"""`outgrow alias`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import By, Debug, Evidence, Run, Store, Why
from outgrow.cli.screen import say


@app.command("alias")
def _alias(
    store: Store,
    name: Annotated[str, typer.Argument(help="champion, challenger, canary, shadow, or any name.")],
    version: Annotated[
        str | None, typer.Argument(help="A number, latest, or another alias whose version it gets.")
    ] = None,
    percent: Annotated[
        float | None, typer.Option(help="Of the alias canary: the share of the requests that it answers.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Let the alias point to nothing.")] = False,
    why: Why = None,
    run: Run = None,
    evidence: Evidence = None,
    by: By = None,
    debug: Debug = False,
) -> None:
    """Let an alias point to a version; servers and streams that follow it take it up."""
    from outgrow.registry.store import ModelStore

    versions = ModelStore.existing(store)
    if delete == (version is not None):
        raise typer.BadParameter("give one of both: a version, or --delete.", param_hint="VERSION")
    if version is None:
        versions.delete_alias(name, why=why, by=by)
        say(f"{store}: {name} points to nothing now")
        return
    number = versions.number(version)
    versions.set_alias(name, number, percent=percent, why=why, run=run, evidence=evidence, by=by)
    say(f"{store}: {name} is version {number} now" + ("" if percent is None else f", for {percent:g} %"))
