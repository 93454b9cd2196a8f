"""`outgrow promote`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import By, Debug, Evidence, Run, Why
from outgrow.cli.screen import say


@app.command("promote")
def _promote(
    store: Annotated[str, typer.Argument(help="A folder of versions; made if it is not there.")],
    model: Annotated[str, typer.Argument(help="A saved model to add, or the number of a version.")],
    why: Why = None,
    run: Run = None,
    evidence: Evidence = None,
    by: By = None,
    debug: Debug = False,
) -> None:
    """Make a version of a model the current one: servers and streams that follow it take it up."""
    from outgrow.ml.persistence import load
    from outgrow.registry.store import ModelStore

    versions = ModelStore(store)
    number = int(model) if model.isdigit() else versions.add(load(model), why=why, run=run, by=by)
    before = versions.current
    versions.promote(number, why=why, run=run, evidence=evidence, by=by)
    say(f"{store}: version {number} is current now" + ("" if before is None else f"; it was {before}"))
