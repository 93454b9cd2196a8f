"""`outgrow doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import USER_ERROR, app
from outgrow.cli.options import Debug
from outgrow.cli.screen import console


@app.command("doctor")
def _doctor(
    engine: Annotated[str | None, typer.Option(help="Also check that this Spark can be reached.")] = None,
    debug: Debug = False,
) -> None:
    """Check versions, Java, the extras, and whether Spark can be reached."""
    from outgrow.job.doctor import examine
    from outgrow.job.screen import findings_table

    findings = examine(engine)
    console().print(findings_table(findings))
    if engine is not None and any(
        f.good is False for f in findings if f.subject.startswith(("engine", "outgrow on"))
    ):
        raise typer.Exit(USER_ERROR)
